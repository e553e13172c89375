"""Answers that were paid for already, given again; and one run at a time for those that are missing.

A request that finds a fresh answer costs one read. One that finds none takes the key's lease and runs; those that come
meanwhile wait for it (`cache.turn`). Whoever holds the lease and dies is replaced when it ends. Where the table does
not answer, a share of the requests runs without it and the others are refused, so that an outage of the cache costs no
more than that share (docs/cache.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.cache.control import NO_WISHES
from tollgate.domain.cache.entry import (
    EMPTY_SLOT,
    CacheOutcome,
    saves_from_error,
    usable,
)
from tollgate.domain.cache.policy import WhenDown
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.settlement import settle_cache_hit, together
from tollgate.domain.errors import (
    BackendError,
    CacheDownError,
    ModelFailedError,
    NotCachedError,
    StorageError,
)
from tollgate.domain.money import ZERO
from tollgate.services.cache.breaker import may_go_on
from tollgate.services.cache.cached_run import CachedRun, run_of
from tollgate.services.cache.reader import RETRY_SECONDS, CacheReader
from tollgate.services.cache.turn import NOT_KEPT, WITHOUT_LEASE, Turn, Turns
from tollgate.services.requests.inference import Accepted, Completed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.cache.entry import CachedAnswer, CacheSlot
    from tollgate.domain.cache.ticket import CacheTicket
    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.system import Clock, IdSource, Telemetry
    from tollgate.services.cache.near_answers import NearAnswers
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.inference import InferenceRequest, Plan
    from tollgate.services.requests.trail import Trail


class AnswerCache:
    """Stands between a plan and its run.

    Args:
        store: the answers.
        admission: counts the calls of workflow runs, which hits are as well.
        refresh: has a stale answer made anew elsewhere, with this ticket; None where nothing can.
        near: looks for answers to other words of a question, where a model's policy allows them.
        pause: sleeps for so many seconds.
        time_limit_seconds: that a caller can be kept waiting.
    """

    def __init__(
        self,
        *,
        store: AnswerStore,
        admission: Admission,
        clock: Clock,
        ids: IdSource,
        telemetry: Telemetry,
        pause: Callable[[float], None],
        time_limit_seconds: float,
        refresh: Callable[[CachedRun, CacheTicket], None] | None = None,
        near: Callable[[], NearAnswers] | None = None,
    ) -> None:
        self._store = store
        self._admission = admission
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self._time_limit = time_limit_seconds
        self._refresh = refresh
        self._near = near
        self._reader = CacheReader(store, clock)
        self._turns = Turns(
            store=store,
            reader=self._reader,
            clock=clock,
            telemetry=telemetry,
            pause=pause,
            time_limit_seconds=time_limit_seconds,
        )

    def answer(
        self,
        plan: Plan,
        trail: Trail,
        dispatch: Callable[[Plan], Completed | Accepted],
    ) -> Completed | Accepted:
        """The answer from the cache, or that of a run, which is kept.

        Raises:
            NotCachedError: there is no answer, and the request may not run.
            CacheDownError: the table is down, and enough requests run without it.
            TollgateError: what `dispatch` raises, or what the model said of the input before.
        """
        run = run_of(plan, trail, dispatch, limit_seconds=self._time_limit)
        if run is None:
            trail.cache = CacheOutcome.BYPASS.value
            return dispatch(plan)
        trail.cache = CacheOutcome.MISS.value
        if not run.is_realtime:
            return self._later(run)
        try:
            slot = self._reader.look(run) if run.control.read else EMPTY_SLOT
            found = self._found(run, slot) or self._found_near(run, slot)
            if found is not None:
                return found
            if run.control.only_if_cached:
                raise NotCachedError("The cache has no answer to this request.")
            turn = self._turns.take(run, slot, lambda there: self._found(run, there))
        except StorageError as error:
            return self._without(run, error)
        return turn if isinstance(turn, Completed) else self._lead(run, turn)

    def lookup(self, plan: Plan, trail: Trail) -> tuple[str, CacheOutcome, CachedAnswer | None]:
        """The key of a request, how it would be answered now, and with what. Nothing is run and nothing written.

        Raises:
            StorageError: the table does not answer.
        """
        wishes = replace(plan.request.cache or NO_WISHES, only_if_cached=False)
        asked = replace(plan, request=replace(plan.request, cache=wishes))
        run = run_of(asked, trail, _never, limit_seconds=self._time_limit)
        if run is None:
            return "", CacheOutcome.BYPASS, None
        answer = self._reader.look(run).answer
        outcome = None if answer is None else usable(answer, run.control, run.policy, self.now_ms())
        if outcome is None and self._near is not None and run.policy.near is not None and run.control.read:
            search = self._near().search(run, self._reader)
            if search is not None:
                trail.near, answer = search
                outcome = CacheOutcome.NEAR if answer is not None and trail.near.guard.bound.serves else None
        return run.key, outcome or CacheOutcome.MISS, None if outcome is None else answer

    def refreshed(
        self,
        plan: Plan,
        trail: Trail,
        dispatch: Callable[[Plan], Completed | Accepted],
        ticket: CacheTicket,
    ) -> bool:
        """Make a stale answer anew, under the lease that was taken for that.

        Returns:
            False where the lease is another's by now, or the catalogue gives the request another key.

        Raises:
            TollgateError: as `answer`.
        """
        run = run_of(plan, trail, dispatch, limit_seconds=self._time_limit)
        slot, _ = self._store.read(ticket.key)
        if slot.fence != ticket.fence or not slot.is_led(self.now_ms()):
            return False
        if run is None or run.key != ticket.key:
            self._released(ticket)
            return False
        trail.cache = CacheOutcome.MISS.value
        self._lead(run, Turn(ticket.fence, EMPTY_SLOT))
        return True

    def embeddings(
        self,
        plan: Plan,
        trail: Trail,
        run: Callable[[InferenceRequest], Completed],
    ) -> Completed | None:
        """The vectors of a list, text by text; None where the request is to be treated as a whole.

        Raises:
            TollgateError: what `run` raises.
        """
        if plan.model.cache is None or not plan.model.cache.per_text:
            return None
        from tollgate.services.cache.embedding_cache import EmbeddingCache, texts_to_look_up  # noqa: PLC0415 -- few need it

        texts = texts_to_look_up(plan)
        if texts is None:
            return None
        by_text = EmbeddingCache(store=self._store, reader=self._reader, clock=self._clock, ids=self._ids)
        return by_text.answer(texts, plan, trail, run)

    def _found(self, run: CachedRun, slot: CacheSlot) -> Completed | None:
        """The answer in a slot, if it suits the request."""
        now = self.now_ms()
        outcome = None if slot.answer is None else usable(slot.answer, run.control, run.policy, now)
        if slot.answer is None or outcome is None:
            return None
        if outcome is CacheOutcome.STALE and not slot.is_led(now):
            self._have_refreshed(run, slot, now)
        return self._given(run, slot.answer, outcome)

    def _found_near(self, run: CachedRun, slot: CacheSlot) -> Completed | None:
        """The answer to other words of the same question, where the model's policy allows that.

        Args:
            run: whose own entry does not suit it.
            slot: that entry.
        """
        if self._near is None or run.policy.near is None or not run.control.read:
            return None
        near = self._near()
        search = near.search(run, self._reader)
        if search is None:
            return None
        run.trail.near, answer = search
        if answer is None or not run.trail.near.guard.bound.serves:
            return None
        near.sample(run, slot, answer)
        return self._given(run, answer, CacheOutcome.NEAR)

    def _given(self, run: CachedRun, answer: CachedAnswer, outcome: CacheOutcome) -> Completed:
        """An answer from the cache, at no cost.

        Raises:
            ModelFailedError: the answer was that the model does not take the input.
        """
        trail, failed = run.trail, run.trail.settlement
        trail.cache, trail.cache_age = outcome.value, answer.age_seconds(self.now_ms())
        trail.usage = answer.usage
        trail.estimated_cost = ZERO
        settled = settle_cache_hit(answer.worth)
        if failed is not None:
            # The answer helps out after a run that is paid for; all that was held was held by that.
            both = together(failed, settled)
            settled = both._replace(instance=failed.instance, held_seconds=failed.held_seconds)
        trail.settlement = settled
        inference_id = self._ids.new("inf")
        if run.plan.admitted is not None and trail.run.workflow:
            # A run that goes round in circles is stopped whether or not its calls are hits.
            free = self._admission.reserve(run.plan.admitted, (Ask(ZERO),), inference_id=inference_id)
            self._admission.settle(free, ZERO, "completed")
        if answer.refusal is not None:
            raise ModelFailedError(answer.refusal.message, original_status=answer.refusal.status)
        return Completed(inference_id, self._clock.now(), answer.output)

    def _lead(self, run: CachedRun, turn: Turn) -> Completed | Accepted:
        """Run the request, and keep what comes of it."""
        ticket = run.ticket(max(WITHOUT_LEASE, turn.fence), self.now_ms())
        keeps = turn.fence != NOT_KEPT and run.control.store
        held = keeps and turn.fence != WITHOUT_LEASE
        seen = turn.seen
        try:
            result = run.dispatch(run.plan)
            if keeps and isinstance(result, Completed):
                answer = run.kept_answer(result, ticket, self.now_ms())
                if answer is not None and self._kept(ticket, answer):
                    held = False
                    if self._near is not None and run.policy.near is not None:
                        self._near().kept(run, answer)
        except BackendError as error:
            if error.answer_begun:
                raise
            if isinstance(error, ModelFailedError) and keeps:
                refusal = run.kept_refusal(error, ticket, self.now_ms())
                if refusal is not None:
                    held = not self._kept(ticket, refusal) and held
                    raise
            if seen.answer is not None and saves_from_error(seen.answer, run.control, run.policy, self.now_ms()):
                return self._given(run, seen.answer, CacheOutcome.STALE)
            raise
        finally:
            if held:
                self._released(ticket)
        return result

    def _kept(self, ticket: CacheTicket, answer: CachedAnswer) -> bool:
        try:
            return self._store.store(ticket, answer)
        except (StorageError, ValueError):
            # The caller has the answer; the next one runs again.
            self._telemetry.count("CacheWriteFailed")
            return False

    def _released(self, ticket: CacheTicket) -> None:
        try:
            self._store.release(ticket)
        except StorageError:
            return  # The lease ends by itself.

    def _have_refreshed(self, run: CachedRun, slot: CacheSlot, now: int) -> None:
        """Have a stale answer made anew, once however many ask: whoever gets the lease sees to it."""
        if self._refresh is None or run.request.wishes is not None:
            # An order does not carry wishes; without them it would be another request.
            return
        ticket = run.ticket(slot.fence + 1, now)
        try:
            until = now + run.order_lease_ms
            if self._store.lead(run.key, slot, scope=run.scope, now_ms=now, until_ms=until) is None:
                self._refresh(run, ticket)
        except StorageError:
            # Nobody refreshes until the lease ends; the answer is as stale as it was.
            self._telemetry.count("CacheRefreshFailed")

    def _later(self, run: CachedRun) -> Completed | Accepted:
        """A request that would become a job: answered now if that is possible, otherwise a job that knows its key.

        The job looks again when its turn comes, so that of equal jobs only one runs. A job that has to call a webhook
        ends like any other, even if its answer is there already.
        """
        if run.control.read and run.request.webhook_url is None:
            try:
                slot = self._reader.look(run)
                found = self._found(run, slot) or self._found_near(run, slot)
            except StorageError:
                found = None
            if found is not None:
                return found
        if run.control.only_if_cached:
            raise NotCachedError("The cache has no answer to this request.")
        ticket = self._job_ticket(run)
        return run.dispatch(replace(run.plan, ticket=ticket))

    def _job_ticket(self, run: CachedRun) -> CacheTicket | None:
        """What a job needs to keep its answer, and to have it found by other words."""
        if not run.control.store:
            return None
        ticket = run.ticket(0, self.now_ms())
        context = None if self._near is None or run.policy.near is None else self._near().context(run)
        return ticket if context is None else replace(ticket, context=context.context_key, prompt=context.prompt)

    def _without(self, run: CachedRun, error: StorageError) -> Completed | Accepted:
        """What becomes of a request whose entry cannot be read or leased.

        Raises:
            NotCachedError, CacheDownError
        """
        if isinstance(error, CacheDownError):
            raise error
        if run.control.only_if_cached:
            raise NotCachedError("The cache cannot be read now.", retry_after=RETRY_SECONDS) from error
        run.trail.cache = CacheOutcome.BYPASS.value
        if may_go_on(run.trail.request_id, run.policy.uncached_share):
            self._telemetry.count("CacheDown")
            return run.dispatch(run.plan)
        if run.policy.when_down is WhenDown.ASYNC and InferenceType.ASYNC in run.plan.decision.deployment.roads:
            run.trail.route_reason += ";async_fallback=cache_down"
            decision = run.plan.decision._replace(inference_type=InferenceType.ASYNC)
            ticket = self._job_ticket(run)
            return run.dispatch(replace(run.plan, decision=decision, ticket=ticket))
        self._telemetry.count("CacheDownRefused")
        raise CacheDownError(
            "The cache is down, and enough requests run without it. Try again.", retry_after=RETRY_SECONDS
        ) from error

    def now_ms(self) -> int:
        """The present moment in the entries' time."""
        return int(self._clock.now().timestamp() * 1000)


def _never(_plan: Plan) -> Completed | Accepted:
    raise NotCachedError("A lookup runs nothing.")
