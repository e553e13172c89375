"""Serves answers that were paid for before, and lets one request at a time run for an answer that is missing.

A request that finds a fresh answer costs one read. One that finds none takes the key's lease and runs; equal requests
that arrive meanwhile wait for its answer (`cache.turn`). If the holder of the lease dies, another takes over when the
lease ends. While the table does not answer, a share of the requests runs without it and the others are refused, so an
outage of the cache costs no more than that share (docs/cache.md).
"""

from __future__ import annotations

from copy import replace
from typing import TYPE_CHECKING

from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.cache.control import NO_WISHES
from tollgate.domain.cache.entry import EMPTY_SLOT, CacheOutcome, epoch_ms, saves_from_error, usable
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
from tollgate.services.requests.plan import Accepted, Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tollgate.domain.cache.entry import CachedAnswer, CacheSlot
    from tollgate.domain.cache.ticket import CacheTicket
    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.system import Clock, IdSource, Telemetry
    from tollgate.services.cache.embedding_cache import EmbeddingCache
    from tollgate.services.cache.near_answers import NearAnswers
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.plan import InferenceRequest, Plan
    from tollgate.services.requests.trail import Trail


class AnswerCache:
    """Stands between a plan and its run.

    Args:
        store: the answers.
        admission: counts the calls of workflow runs; a hit is a call too.
        pause: sleeps for the given seconds.
        time_limit_seconds: how long a caller may be kept waiting.
        refresh: has a stale answer made anew elsewhere, under the given ticket; None where nothing can.
        near: finds answers to the same question in other words, where a model's policy allows them.
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
        """The kept answer, or else that of a run, which is then kept.

        Raises:
            NotCachedError: there is no answer, and the request may not run.
            CacheDownError: the table is down, and enough other requests run without it.
            ModelFailedError: an earlier run found that the model does not take this input.
            TollgateError: whatever `dispatch` raises.
        """
        run = run_of(plan, trail, dispatch, limit_seconds=self._time_limit)
        if run is None:
            trail.cache = CacheOutcome.BYPASS.value
            return dispatch(plan)
        trail.cache = CacheOutcome.MISS.value
        if not run.is_realtime:
            return self._as_job(run)
        try:
            slot = self._reader.look(run) if run.control.read else EMPTY_SLOT
            found = self._found(run, slot) or self._found_near(run, slot)
            if found is not None:
                return found
            if run.control.only_if_cached:
                raise NotCachedError("The cache has no answer to this request.")
            turn = self._turns.take(run, slot, lambda there: self._found(run, there))
        except StorageError as error:
            return self._without_table(run, error)
        return turn if isinstance(turn, Completed) else self._run_and_keep(run, turn)

    def lookup(self, plan: Plan, trail: Trail) -> tuple[str, CacheOutcome, CachedAnswer | None]:
        """The key of a request, how it would be answered now, and with what. Nothing is run or written.

        Raises:
            StorageError: the table does not answer.
        """
        wishes = replace(plan.request.cache or NO_WISHES, only_if_cached=False)
        asked = replace(plan, request=replace(plan.request, cache=wishes))
        run = run_of(asked, trail, _never, limit_seconds=self._time_limit)
        if run is None:
            return "", CacheOutcome.BYPASS, None
        by_text = self._by_text(asked)
        if by_text is not None:
            texts, embeddings = by_text
            answer = embeddings.lookup(texts, asked, trail)
            return run.key, CacheOutcome.MISS if answer is None else CacheOutcome.HIT, answer
        answer = self._reader.look(run).answer
        outcome = None if answer is None else usable(answer, run.control, run.policy, epoch_ms(self._clock.now()))
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
        """Make a stale answer anew, under the lease that was taken for it.

        Returns:
            False if somebody else has the lease by now, or if a newer catalogue gives the request another key.

        Raises:
            TollgateError: as `answer`.
        """
        run = run_of(plan, trail, dispatch, limit_seconds=self._time_limit)
        slot, _ = self._store.read(ticket.key)
        if slot.fence != ticket.fence or not slot.is_led(epoch_ms(self._clock.now())):
            return False
        if run is None or run.key != ticket.key:
            self._release(ticket)
            return False
        trail.cache = CacheOutcome.MISS.value
        self._run_and_keep(run, Turn(ticket.fence, EMPTY_SLOT))
        return True

    def embeddings(
        self,
        plan: Plan,
        trail: Trail,
        run: Callable[[InferenceRequest], Completed],
    ) -> Completed | None:
        """The vectors of a list, looked up text by text; None if the request has to be treated as a whole.

        Raises:
            TollgateError: what `run` raises.
        """
        by_text = self._by_text(plan)
        if by_text is None:
            return None
        texts, embeddings = by_text
        return embeddings.answer(texts, plan, trail, run)

    def _by_text(self, plan: Plan) -> tuple[Sequence[str], EmbeddingCache] | None:
        """The texts of a request that is answered text by text, and their vectors; None for any other."""
        if plan.model.cache is None or not plan.model.cache.per_text:
            return None
        from tollgate.services.cache.embedding_cache import EmbeddingCache, texts_to_look_up  # noqa: PLC0415 -- few need it

        texts = texts_to_look_up(plan)
        if texts is None:
            return None
        return texts, EmbeddingCache(store=self._store, reader=self._reader, clock=self._clock, ids=self._ids)

    def _found(self, run: CachedRun, slot: CacheSlot) -> Completed | None:
        """The answer in a slot, if it suits the request. A stale one is served while a refresh is ordered."""
        now = epoch_ms(self._clock.now())
        outcome = None if slot.answer is None else usable(slot.answer, run.control, run.policy, now)
        if slot.answer is None or outcome is None:
            return None
        if outcome is CacheOutcome.STALE and not slot.is_led(now):
            self._order_refresh(run, slot, now)
        return self._serve(run, slot.answer, outcome)

    def _found_near(self, run: CachedRun, slot: CacheSlot) -> Completed | None:
        """The answer to the same question in other words, where the model's policy allows that.

        Args:
            run: the request, whose own entry does not suit it.
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
        return self._serve(run, answer, CacheOutcome.NEAR)

    def _serve(self, run: CachedRun, answer: CachedAnswer, outcome: CacheOutcome) -> Completed:
        """Give an answer from the cache, which costs nothing.

        Raises:
            ModelFailedError: the kept answer is that the model does not take this input.
        """
        trail, failed = run.trail, run.trail.settlement
        trail.cache, trail.cache_age = outcome.value, answer.age_seconds(epoch_ms(self._clock.now()))
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
            # A workflow that goes round in circles is stopped even if all its calls are hits.
            free = self._admission.reserve(run.plan.admitted, (Ask(ZERO),), inference_id=inference_id)
            self._admission.settle(free, ZERO, "completed")
        if answer.refusal is not None:
            raise ModelFailedError(answer.refusal.message, original_status=answer.refusal.status)
        return Completed(inference_id, self._clock.now(), answer.output)

    def _run_and_keep(self, run: CachedRun, turn: Turn) -> Completed | Accepted:
        """Run the request and keep its answer, or the model's refusal; the lease ends with it.

        Raises:
            TollgateError: whatever `dispatch` raises, unless a stale answer can be served instead.
        """
        ticket = run.ticket(max(WITHOUT_LEASE, turn.fence), epoch_ms(self._clock.now()))
        keeps = turn.fence != NOT_KEPT and run.control.store
        leased = keeps and turn.fence != WITHOUT_LEASE
        try:
            result = run.dispatch(run.plan)
            if keeps and isinstance(result, Completed):
                answer = run.kept_answer(result, ticket, epoch_ms(self._clock.now()))
                if answer is not None and self._store_answer(ticket, answer):
                    leased = False  # Storing ended the lease.
                    if self._near is not None and run.policy.near is not None:
                        self._near().kept(run, answer)
        except BackendError as error:
            if error.answer_begun:
                raise
            if isinstance(error, ModelFailedError) and keeps:
                refusal = run.kept_refusal(error, ticket, epoch_ms(self._clock.now()))
                if refusal is not None:
                    leased = not self._store_answer(ticket, refusal) and leased
                    raise
            stale, now = turn.seen.answer, epoch_ms(self._clock.now())
            if stale is not None and saves_from_error(stale, run.control, run.policy, now):
                return self._serve(run, stale, CacheOutcome.STALE)
            raise
        finally:
            if leased:
                self._release(ticket)
        return result

    def _store_answer(self, ticket: CacheTicket, answer: CachedAnswer) -> bool:
        """Whether the answer was stored. Never raises."""
        try:
            return self._store.store(ticket, answer)
        except (StorageError, ValueError):
            # The caller has the answer; the next one runs again.
            self._telemetry.count("CacheWriteFailed")
            return False

    def _release(self, ticket: CacheTicket) -> None:
        try:
            self._store.release(ticket)
        except StorageError:
            return  # The lease ends by itself.

    def _order_refresh(self, run: CachedRun, slot: CacheSlot, now: int) -> None:
        """Have a stale answer made anew, once however many requests find it: whoever gets the lease orders it."""
        if self._refresh is None or run.request.wishes is not None:
            # An order does not carry wishes, and without them it would be another request.
            return
        ticket = run.ticket(slot.fence + 1, now)
        try:
            until = now + run.order_lease_ms
            if self._store.lead(run.key, slot, scope=run.scope, now_ms=now, until_ms=until) is None:
                self._refresh(run, ticket)
        except StorageError:
            # Nobody refreshes until the lease ends; the answer is as stale as it was.
            self._telemetry.count("CacheRefreshFailed")

    def _as_job(self, run: CachedRun) -> Completed | Accepted:
        """Answer a request that would become a job now if the cache can; otherwise accept a job that knows its key.

        The job looks again when its turn comes, so only one of several equal jobs runs. A request with a webhook
        becomes a job even if its answer is there already, so that the webhook is called.
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
        """What a job needs to keep its answer, and to have it found when the question is asked in other words."""
        if not run.control.store:
            return None
        ticket = run.ticket(0, epoch_ms(self._clock.now()))
        context = None if self._near is None or run.policy.near is None else self._near().context(run)
        return ticket if context is None else replace(ticket, context=context.context_key, prompt=context.prompt)

    def _without_table(self, run: CachedRun, error: StorageError) -> Completed | Accepted:
        """Run, defer or refuse a request whose entry cannot be read or leased.

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


def _never(_plan: Plan) -> Completed | Accepted:
    raise NotCachedError("A lookup runs nothing.")
