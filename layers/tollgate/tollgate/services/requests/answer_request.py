"""One inference request: planned, then answered from the cache or by the model, or accepted as a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BodyTooLargeError,
    CapacityError,
    InvalidRequestError,
    NotCachedError,
    OverLimitError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tollgate.domain.cache.entry import CachedAnswer, CacheOutcome
    from tollgate.domain.cache.ticket import CacheTicket
    from tollgate.domain.catalogue import Catalogue
    from tollgate.domain.roads.routing import RoutingDecision
    from tollgate.services.cache.answer_cache import AnswerCache
    from tollgate.services.requests.accept_job import JobAcceptance
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.answer_all import Part
    from tollgate.services.requests.deployment_health import DeploymentHealth
    from tollgate.services.requests.plan import Accepted, Completed, InferenceRequest, Plan
    from tollgate.services.requests.plan_request import RequestPlanner
    from tollgate.services.requests.run_chosen import ChosenRun
    from tollgate.services.requests.run_realtime import RealtimeRun
    from tollgate.services.requests.trail import Trail
    from tollgate.services.requests.wake_requests import WakeRequests


class InferenceService:
    """Answers requests from the cache, runs the urgent ones and writes the others down.

    `chosen_run`, `wakes` and `cache` are asked for when the first request comes that needs them.
    """

    def __init__(
        self,
        *,
        planner: RequestPlanner,
        admission: Admission,
        realtime: RealtimeRun,
        acceptance: JobAcceptance,
        health: DeploymentHealth,
        chosen_run: Callable[[], ChosenRun],
        wakes: Callable[[], WakeRequests | None],
        cache: Callable[[], AnswerCache],
    ) -> None:
        self._planner = planner
        self._admission = admission
        self._realtime = realtime
        self._acceptance = acceptance
        self._health = health
        self._chosen_run = chosen_run
        self._wakes = wakes
        self._cache = cache

    def catalogue(self) -> Catalogue:
        """The catalogue in force; see `RequestPlanner.catalogue`."""
        return self._planner.catalogue()

    def decide(self, request: InferenceRequest, trail: Trail) -> RoutingDecision:
        """The decision for a request, without running anything. Raises as `RequestPlanner.plan`."""
        return self._planner.plan(request, trail).decision

    def infer(self, request: InferenceRequest, trail: Trail) -> Completed | Accepted:
        """Answer the request, or accept it as a job.

        Raises:
            InvalidRequestError, UnknownModelError, DeadlineImpossibleError: nothing was run or written.
            PriceUnknownError, CapacityError, BudgetExceededError: as above.
            BackendError: the backend failed; its time is on the trail's settlement.
            NotCachedError, CacheDownError: see `AnswerCache.answer`.
            StorageError: the job could not be written down.
        """
        return self._carry_out(self._planner.plan(request, trail), trail)

    def infer_all(self, requests: Sequence[InferenceRequest], trail: Trail) -> Sequence[Part]:
        """Answer or accept several requests of one call. Raises as `infer`; see `AnswerAll`."""
        from tollgate.services.requests.answer_all import AnswerAll  # noqa: PLC0415 -- few calls have several

        together = AnswerAll(
            plan=self._planner.plan,
            carry_out=self._carry_out,
            call_off=self._acceptance.call_off,
            admission=self._admission,
            realtime=self._realtime,
        )
        return together.run(requests, trail)

    def lookup(self, request: InferenceRequest, trail: Trail) -> tuple[str, CacheOutcome, CachedAnswer | None]:
        """The key of a request, how the cache would answer it, and with what; see `AnswerCache.lookup`.

        Raises:
            InvalidRequestError: also where the model has no cache.
            UnknownModelError, DeadlineImpossibleError, PriceUnknownError, CapacityError, StorageError
        """
        plan = self._planner.plan(request, trail)
        if plan.model.cache is None:
            raise InvalidRequestError(f"Model '{plan.model.name}' has no cache.", param="model")
        return self._cache().lookup(plan, trail)

    def refresh(self, request: InferenceRequest, trail: Trail, ticket: CacheTicket) -> bool:
        """Run a request again for the cache, now or not at all; see `AnswerCache.refreshed`. Raises as `infer`.

        Nobody waits for it, so it is worth neither a job nor an endpoint's start. The lease is then left to its end, so
        that not every reader orders again.
        """
        plan = self._planner.plan(request, trail)
        later = plan.decision.deferred or plan.decision.inference_type is not InferenceType.REALTIME
        if plan.model.cache is None or later:
            return False
        return self._cache().refreshed(plan, trail, lambda how: self._dispatch(how, trail, or_later=False), ticket)

    def _carry_out(self, plan: Plan, trail: Trail) -> Completed | Accepted:
        """Answer from the cache what it can answer, and dispatch the rest."""
        request = plan.request
        if plan.model.cache is None:
            if request.cache is not None and request.cache.only_if_cached:
                raise NotCachedError(f"Model '{plan.model.name}' has no cache, and the request may not run without.")
            return self._dispatch(plan, trail)
        cache, earlier = self._cache(), None
        try:
            by_text = cache.embeddings(plan, trail, lambda less: self._run_part(less, plan, trail))
        except (CapacityError, BackendThrottledError):
            by_text = None  # The whole list may still become a job.
            earlier = trail.settlement
            trail.begin_again()
        if by_text is not None:
            return by_text
        try:
            return cache.answer(plan, trail, lambda how: self._dispatch(how, trail))
        finally:
            trail.add_earlier(earlier)

    def _run_part(self, request: InferenceRequest, whole: Plan, trail: Trail) -> Completed:
        """Run a part of a request where the whole would have run.

        Raises:
            CapacityError: the part by itself would go elsewhere.
        """
        part = self._planner.plan(request, trail)
        decision = part.decision
        if (
            decision.inference_type is not InferenceType.REALTIME
            or decision.deferred
            or part.chosen is not None
            or decision.deployment.name != whole.decision.deployment.name
        ):
            raise CapacityError("A part of the request would be served elsewhere.")
        return self._realtime.run(part, trail)

    def _dispatch(self, plan: Plan, trail: Trail, *, or_later: bool = True) -> Completed | Accepted:
        """Run the request now, or accept it as a job: as planned, or, if that will do, because there is no room now."""
        self._planner.begin(plan)
        if plan.decision.deferred or plan.decision.inference_type is not InferenceType.REALTIME:
            return self._accept(plan, plan.decision.inference_type, trail, plan.decision.sleeping)
        try:
            return self._run(plan, trail)
        except (CapacityError, BackendThrottledError) as error:
            if error.answer_begun or not or_later:
                raise  # A job would answer, and cost, once more; or nobody would see its answer.
            plan = self._planner.later(plan, trail)
            fallback = plan.decision.fallback
            if fallback is None and plan.decision.deployment.sleep is not None:
                # It may have gone to sleep since this gateway read otherwise; then it is woken.
                fallback = InferenceType.REALTIME
            if fallback is None:
                raise
            trail.route_reason += f";{fallback}_fallback=no_capacity"
            try:
                return self._accept(plan, fallback, trail, (InferenceType.REALTIME, fallback))
            except (BodyTooLargeError, OverLimitError):
                # It cannot wait as a job. As it is it may go through a little later.
                raise error from None

    def _run(self, plan: Plan, trail: Trail) -> Completed:
        """Run the request now; where its deployment fails, on those of the model's fallback chain."""
        try:
            if plan.chosen is None:
                return self._realtime.run(plan, trail)
            return self._chosen_run().run(plan, plan.chosen, trail)
        except BackendError as error:
            if not plan.offered.health.fallback:
                raise
            # Few requests need it, so the others do not pay for the import.
            from tollgate.services.requests.fallback_chain import FallbackChain  # noqa: PLC0415 -- see above

            chain = FallbackChain(planner=self._planner, realtime=self._realtime, retries=self._health.tokens)
            return chain.run(plan, error, trail)

    def _accept(
        self, plan: Plan, inference_type: InferenceType, trail: Trail, sleeping: Iterable[InferenceType]
    ) -> Accepted:
        """Accept the request as a job, and have the roads woken that sleep."""
        accepted = self._acceptance.accept(plan, inference_type, trail)
        deployment = plan.decision.deployment
        if deployment.sleep is None or not sleeping:
            return accepted
        # With a deadline it may wait for company; then the keeper wakes the endpoint in time.
        deadline = plan.request.deadline_seconds
        gathers = deployment.sleep.gathers(None if deadline is None else deadline - accepted.expected_seconds)
        if not gathers and (wakes := self._wakes()) is not None:
            wakes.want(deployment.roads[t] for t in sleeping)
        return accepted
