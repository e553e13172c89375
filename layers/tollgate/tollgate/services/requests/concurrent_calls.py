"""Model calls for one API call, made at the same time by threads of their own.

A thread only sends its call and waits. Counting, settling and caching are done afterwards, in the order of the requests
and by the thread that serves the caller, so none of that code has to be thread-safe.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tollgate.domain.catalogue import InferenceType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from tollgate.ports.backends import ModelAnswer
    from tollgate.ports.system import Clock
    from tollgate.services.requests.plan import Plan
    from tollgate.services.requests.run_realtime import RealtimeRun
    from tollgate.services.requests.trail import Trail

MOST_AT_ONCE = 8
"""Threads. Each holds a connection and a stack, in a function with little memory."""


class ConcurrentCall:
    """A model call that another thread makes.

    Attributes:
        left: seconds that its caller had left when it began.
        began: on the monotonic clock, in seconds.
        ended: likewise.
    """

    def __init__(self, call: Callable[[float], ModelAnswer], left: Callable[[], float], clock: Clock) -> None:
        self._call = call
        self._left = left
        self._clock = clock
        self._future: Future[ModelAnswer]
        self.left = self.began = self.ended = 0.0

    def begin(self, pool: ThreadPoolExecutor) -> None:
        """Make it as soon as a thread is free."""
        self._future = pool.submit(self._made)

    def _made(self) -> ModelAnswer:
        self.left, self.began = self._left(), self._clock.monotonic()
        try:
            return self._call(self.left)
        finally:
            self.ended = self._clock.monotonic()

    def call_off(self) -> bool:
        """Cancel it; False if it has begun already."""
        return self._future.cancel()

    def wait(self) -> None:
        """Wait until it has ended, one way or another."""
        self._future.exception()

    def answer(self) -> ModelAnswer:
        """What the model answered.

        Raises:
            BackendError: what the call raised.
        """
        return self._future.result()


class ConcurrentCalls:
    """The model calls of several requests, as many at a time as an instance of their deployment serves.

    Only when all of them are certain to be made as planned: not if a cache may have the answer, if a request becomes a
    job, if a first answer has to pass a check, or if the caller watches the answer arrive.
    """

    def __init__(self, realtime: RealtimeRun, plans: Sequence[Plan], trails: Sequence[Trail]) -> None:
        self._realtime = realtime
        self._plans = plans
        self._trails = trails
        self._pool: ThreadPoolExecutor | None = None

    def begin(self) -> None:
        """Begin them, and note each on its request's trail."""
        at_once = min(MOST_AT_ONCE, len(self._plans), *map(_places, self._plans))
        if at_once < 2 or any(trail.live is not None for trail in self._trails):
            return
        self._pool = ThreadPoolExecutor(at_once)
        for plan, trail in zip(self._plans, self._trails, strict=True):
            trail.under_way = self._realtime.concurrent_call(plan, trail)
            trail.under_way.begin(self._pool)

    def close(self) -> None:
        """End the threads; calls that have not begun are never made."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _places(plan: Plan) -> int:
    decision = plan.decision
    certain = (
        decision.inference_type is InferenceType.REALTIME
        and not decision.deferred
        and plan.chosen is None
        and plan.model.cache is None
        and plan.request.cache is None
    )
    return decision.deployment.roads[InferenceType.REALTIME].concurrency if certain else 1
