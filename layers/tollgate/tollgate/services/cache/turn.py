"""Who may run now when an answer is missing, and who waits for whose answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tollgate.domain.cache.entry import epoch_ms
from tollgate.domain.errors import CacheDownError
from tollgate.services.cache.reader import RETRY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.cache.entry import CacheSlot
    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.system import Clock, Telemetry
    from tollgate.services.cache.cached_run import CachedRun
    from tollgate.services.cache.reader import CacheReader
    from tollgate.services.requests.plan import Completed

WITHOUT_LEASE = 0
"""The fence of a run without a lease: its answer is kept only if nobody else has kept one."""

NOT_KEPT = -1
"""The fence of a run whose answer is not kept at all."""

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5
_PAUSE_GROWTH = 1.5
_ANSWERING_SECONDS = 3.0
"""Of API Gateway's 29 s, left for what follows the wait."""


class Turn(NamedTuple):
    """The right to run.

    Attributes:
        fence: of the lease that was taken, or `WITHOUT_LEASE` or `NOT_KEPT`.
        seen: what the key's slot held then.
    """

    fence: int
    seen: CacheSlot


class Turns:
    """Gives one of several equal requests the key's lease; the others wait for its answer.

    When the wait is over without one, a few of them run as well.

    Args:
        store: the answers.
        reader: of the same store.
        pause: sleeps for the given seconds.
        time_limit_seconds: how long a caller may be kept waiting.
    """

    def __init__(
        self,
        *,
        store: AnswerStore,
        reader: CacheReader,
        clock: Clock,
        telemetry: Telemetry,
        pause: Callable[[float], None],
        time_limit_seconds: float,
    ) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._telemetry = telemetry
        self._pause = pause
        self._time_limit = time_limit_seconds

    def take(self, run: CachedRun, slot: CacheSlot, found: Callable[[CacheSlot], Completed | None]) -> Completed | Turn:
        """Wait for the answer of somebody else's run, or get this request's turn to run.

        Args:
            run: the request.
            slot: what its key holds.
            found: gives the answer in a slot, if it suits the request.

        Raises:
            CacheDownError: the wait is over, and enough others already run without the lease.
            StorageError: the table does not answer.
        """
        if not run.policy.coalesce or not run.control.store:
            return Turn(WITHOUT_LEASE, slot)
        waits_until = self._clock.monotonic() + self._longest_wait(run)
        pause = _FIRST_PAUSE_SECONDS
        while True:
            now = epoch_ms(self._clock.now())
            if not slot.is_led(now):
                there = self._taken(run, slot, now)
                if there is None:
                    return Turn(slot.fence + 1, slot)
                slot = there
                if not run.control.read:
                    if slot.is_led(now):
                        return Turn(NOT_KEPT, slot)
                    continue
            else:
                left = waits_until - self._clock.monotonic()
                # A job may take minutes; nobody waits for it with the connection open.
                if left <= 0 or slot.job_id:
                    return self._stray(run, slot)
                self._pause(min(pause, left))
                pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)
                slot = self._reader.look(run)
            answer = found(slot)
            if answer is not None:
                return answer

    def _taken(self, run: CachedRun, seen: CacheSlot, now: int) -> CacheSlot | None:
        """Try for the lease: None if it is this request's now, otherwise what the slot holds by now."""
        until = now + run.lease_ms
        return self._reader.asked(lambda: self._store.lead(run.key, seen, scope=run.scope, now_ms=now, until_ms=until))

    def _stray(self, run: CachedRun, slot: CacheSlot) -> Turn:
        """The right to run although somebody else has the lease; the answer is not kept.

        Raises:
            CacheDownError: enough others do so already.
        """
        if not self._reader.asked(lambda: self._store.stray(run.key, run.policy.strays)):
            raise CacheDownError(
                "The same request is running, and has not ended in time. Try again.", retry_after=RETRY_SECONDS
            )
        self._telemetry.count("CacheStrays")
        return Turn(NOT_KEPT, slot)

    def _longest_wait(self, run: CachedRun) -> float:
        spent = self._clock.monotonic() - run.trail.started
        left = self._time_limit - _ANSWERING_SECONDS - spent - run.plan.decision.expected_seconds
        return max(0.0, min(run.policy.wait_seconds, left))
