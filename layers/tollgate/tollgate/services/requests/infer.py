"""One inference request: routed, then answered now or accepted as a job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tollgate.domain.budgets.pressure import deferred, downgraded
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BodyTooLargeError,
    CapacityError,
    InvalidRequestError,
    NotCachedError,
    SpendStoppedError,
)
from tollgate.domain.prompt import estimate_input_tokens, without_marks
from tollgate.domain.roads.capabilities import offering
from tollgate.domain.roads.estimates import RequestSize, output_limit
from tollgate.domain.roads.routing import RoutingRequest, route
from tollgate.domain.selection import selector_of
from tollgate.services.requests.inference import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tollgate.domain.cache.entry import CachedAnswer, CacheOutcome
    from tollgate.domain.cache.ticket import CacheTicket
    from tollgate.domain.catalogue import Catalogue, Deployment, Model
    from tollgate.domain.roads.capacity import Capacity
    from tollgate.domain.roads.routing import RoutingDecision
    from tollgate.ports.dialects import Dialects, RenderedRequest
    from tollgate.ports.registry import CapacitySource, CatalogueSource
    from tollgate.ports.tokenizers import TokenizerSource
    from tollgate.services.cache.answer_cache import AnswerCache
    from tollgate.services.requests.accept_job import JobAcceptance
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.choosing import Choosing
    from tollgate.services.requests.deployment_health import DeploymentHealth
    from tollgate.services.requests.infer_all import Part
    from tollgate.services.requests.inference import Accepted, Completed, InferenceRequest
    from tollgate.services.requests.run_realtime import RealtimeRun
    from tollgate.services.requests.trail import Trail
    from tollgate.services.requests.wake_requests import WakeRequests


class InferenceService:
    """Routes requests, answers what it can from the cache, runs the urgent ones and writes the others down.

    `cache` gives the cache when the first request for a model that has one comes.
    """

    def __init__(
        self,
        *,
        catalogues: CatalogueSource,
        capacities: CapacitySource,
        dialects: Dialects,
        admission: Admission,
        realtime: RealtimeRun,
        acceptance: JobAcceptance,
        wakes: Callable[[], WakeRequests],
        health: DeploymentHealth,
        choosing: Callable[[], Choosing],
        cache: Callable[[], AnswerCache] | None = None,
        tokenizers: Callable[[], TokenizerSource] | None = None,
    ) -> None:
        self._catalogues = catalogues
        self._capacities = capacities
        self._dialects = dialects
        self._admission = admission
        self._realtime = realtime
        self._acceptance = acceptance
        self._wakes = wakes
        self._health = health
        self._choosing = choosing
        self._cache = cache
        self._tokenizers = tokenizers

    def catalogue(self) -> Catalogue:
        """The catalogue in force.

        Raises:
            CatalogueError, StorageError.
        """
        return self._catalogues.current()

    def decide(self, request: InferenceRequest, trail: Trail) -> RoutingDecision:
        """The decision for a request, without running anything.

        Raises:
            InvalidRequestError, UnknownModelError, DeadlineImpossibleError, PriceUnknownError, CapacityError.
        """
        return self._plan(request, trail).decision

    def infer(self, request: InferenceRequest, trail: Trail) -> Completed | Accepted:
        """Answer the request, or accept it as a job.

        Raises:
            InvalidRequestError, UnknownModelError, DeadlineImpossibleError: nothing was run or written.
            PriceUnknownError, CapacityError, BudgetExceededError: as above.
            BackendError: the model's side failed; its time is on the trail's settlement.
            NotCachedError, CacheDownError: see `AnswerCache.answer`.
            StorageError: the job could not be written down.
        """
        return self._carry_out(self._plan(request, trail), trail)

    def _carry_out(self, plan: Plan, trail: Trail) -> Completed | Accepted:
        request = plan.request
        if plan.model.cache is None or self._cache is None:
            if request.cache is not None and request.cache.only_if_cached:
                raise NotCachedError(f"Model '{plan.model.name}' has no cache, and the request may not run without.")
            return self._dispatch(plan, trail)
        cache = self._cache()
        try:
            by_text = cache.embeddings(plan, trail, lambda less: self._run_now(less, plan, trail))
        except (CapacityError, BackendThrottledError):
            by_text = None  # The whole list may still become a job.
        if by_text is not None:
            return by_text
        return cache.answer(plan, trail, lambda how: self._dispatch(how, trail))

    def infer_all(self, requests: Sequence[InferenceRequest], trail: Trail) -> Sequence[Part]:
        """Answer or accept several requests of one call. Raises as `infer`; see `InferAll`."""
        from tollgate.services.requests.infer_all import InferAll  # noqa: PLC0415 -- few calls have several

        together = InferAll(
            plan=self._plan,
            carry_out=self._carry_out,
            call_off=self._acceptance.call_off,
            admission=self._admission,
            realtime=self._realtime,
        )
        return together.run(requests, trail)

    def _run_now(self, request: InferenceRequest, whole: Plan, trail: Trail) -> Completed:
        """Run a part of a request where the whole would have run.

        Raises:
            CapacityError: the part by itself would go elsewhere.
        """
        part = self._plan(request, trail)
        chosen = part.decision
        if (
            chosen.inference_type is not InferenceType.REALTIME
            or chosen.deferred
            or part.chosen is not None
            or chosen.deployment.name != whole.decision.deployment.name
        ):
            raise CapacityError("A part of the request would be served elsewhere.")
        return self._realtime.run(part, trail)

    def lookup(self, request: InferenceRequest, trail: Trail) -> tuple[str, CacheOutcome, CachedAnswer | None]:
        """The key of a request, how the cache would answer it, and with what; see `AnswerCache.lookup`.

        Raises:
            InvalidRequestError: also where the model has no cache.
            UnknownModelError, DeadlineImpossibleError, PriceUnknownError, CapacityError, StorageError
        """
        plan = self._plan(request, trail)
        if plan.model.cache is None or self._cache is None:
            raise InvalidRequestError(f"Model '{plan.model.name}' has no cache.", param="model")
        return self._cache().lookup(plan, trail)

    def refresh(self, request: InferenceRequest, trail: Trail, ticket: CacheTicket) -> bool:
        """Run a request again for the cache, now or not at all; see `AnswerCache.refreshed`. Raises as `infer`.

        Nobody waits for it, so it is worth neither a job nor an endpoint's start. The lease is left to its end
        then, so that not every reader orders again.
        """
        plan = self._plan(request, trail)
        later = plan.decision.deferred or plan.decision.inference_type is not InferenceType.REALTIME
        if plan.model.cache is None or self._cache is None or later:
            return False
        return self._cache().refreshed(plan, trail, lambda how: self._dispatch(how, trail, or_later=False), ticket)

    def _dispatch(self, plan: Plan, trail: Trail, *, or_later: bool = True) -> Completed | Accepted:
        if plan.chosen is not None:
            self._choosing().begin(plan.model.name, plan.chosen)
        if plan.decision.deferred or plan.decision.inference_type is not InferenceType.REALTIME:
            return self._accept(plan.request, plan, plan.decision.inference_type, trail, plan.decision.sleeping)
        try:
            return self._run(plan, trail)
        except (CapacityError, BackendThrottledError) as error:
            if error.answer_begun or not or_later:
                raise  # A job would answer, and cost, once more; or nobody would see its answer.
            fallback = plan.decision.fallback
            if fallback is None and plan.decision.deployment.sleep is not None:
                # It may have gone to sleep since this gateway read otherwise; then it is woken.
                fallback = InferenceType.REALTIME
            if fallback is None:
                raise
            trail.route_reason += f";{fallback}_fallback=no_capacity"
            try:
                return self._accept(plan.request, plan, fallback, trail, (InferenceType.REALTIME, fallback))
            except BodyTooLargeError:
                # It cannot wait as a job. As it is it may go through a little later.
                raise error from None

    def _accept(
        self,
        request: InferenceRequest,
        plan: Plan,
        inference_type: InferenceType,
        trail: Trail,
        sleeping: Iterable[InferenceType],
    ) -> Accepted:
        accepted = self._acceptance.accept(request, plan, inference_type, trail)
        deployment = plan.decision.deployment
        if deployment.sleep is None or not sleeping:
            return accepted
        # With a deadline it may wait for company; then the keeper wakes the endpoint in time.
        deadline = request.deadline_seconds
        if not deployment.sleep.gathers(None if deadline is None else deadline - accepted.expected_seconds):
            self._wakes().want(deployment.roads[t] for t in sleeping)
        return accepted

    def _run(self, plan: Plan, trail: Trail) -> Completed:
        try:
            return self._first_run(plan, trail)
        except BackendError as error:
            if not plan.offered.health.fallback:
                raise
            # Few requests need it, so the others do not pay for the import.
            from tollgate.services.requests.second_try import SecondTry  # noqa: PLC0415 -- see above

            again = SecondTry(
                realtime=self._realtime, dialects=self._dialects, capacities=self._capacities, health=self._health
            )
            return again.run(plan, error, trail)

    def _first_run(self, plan: Plan, trail: Trail) -> Completed:
        if plan.chosen is None:
            return self._realtime.run(plan, trail)
        return self._choosing().run.run(
            plan,
            plan.chosen,
            trail,
            capacity=self._capacity(),
            larger=lambda: self._larger(plan, trail),
            rendered=self._rendered,
        )

    def _capacity(self) -> Capacity:
        return self._health.seen_by(self._capacities.snapshot())

    def _larger(self, plan: Plan, trail: Trail) -> Plan:
        """The same request, for the size that is asked after the first answer was not good enough."""
        larger = plan.chosen.larger if plan.chosen else ()
        offered = replace(plan.model, deployments=larger)
        decision = route(plan.routing, offered, self._capacity(), plan.catalogue.gateway_prices)
        if decision.deferred or decision.inference_type is not InferenceType.REALTIME:
            raise CapacityError("The larger deployment cannot answer now.")
        trail.resource = decision.deployment.resource
        return replace(plan, decision=decision, rendered=self._rendered(plan.request, decision.deployment))

    def _plan(self, request: InferenceRequest, trail: Trail) -> Plan:
        catalogue = self._catalogues.current()
        trail.catalogue = catalogue
        model = catalogue.model(request.model)
        if request.needs is not None:
            model = offering(model, request.needs)
        priority = request.priority
        try:
            admitted = trail.admitted = self._admission.admit(catalogue, trail.owner, request.model, trail.run)
            offered, brake = self._admission.offered(catalogue, model)
        except SpendStoppedError:
            trail.route_reason = "brake=stop"
            raise
        pressure = self._admission.pressure(admitted)
        if pressure.downgrade or brake.downgrade:
            offered = downgraded(offered)
        if (pressure.defer or brake.defer) and request.deadline_seconds is None:
            priority = deferred(priority or model.default_priority)
        request = self._to_send(request, catalogue, model, trail)
        # Deployments of a model take the same input, and most the same dialect, so the first one's can measure it.
        measuring = model.deployments[0]
        if any(deployment.tokens is not None for deployment in offered.deployments):
            # Few models are paid by the token, and the others need not pay for the import.
            from tollgate.domain.providers.requests import bounded_offer  # noqa: PLC0415 -- see above

            offered = bounded_offer(offered, request.input, request.parameters)
            measuring = offered.deployments[0]
        rendered = self._rendered(request, measuring)
        size = RequestSize(
            body_bytes=len(rendered.body),
            input_tokens=_input_tokens(request, trail),
            output_tokens=output_limit(request.parameters),
        )
        routing = RoutingRequest(size, priority, request.deadline_seconds, selector_of(trail.request_id))
        capacity, chosen = self._capacity(), None
        if model.choice is not None or (request.wishes is not None and request.wishes.chooses):
            chosen = self._choosing().choose(
                request, trail, offered, routing, capacity=capacity, prices=catalogue.gateway_prices
            )
            routing, decision = chosen.routing, chosen.decision
        else:
            decision = route(routing, offered, capacity, catalogue.gateway_prices)
        trail.inference_type = decision.inference_type
        trail.resource = decision.deployment.resource
        trail.route_reason = decision.reason + pressure.reason + brake.reason + _choice_reason(trail)
        trail.estimated_cost = decision.estimated_cost
        taken = decision.deployment
        if taken.dialect != measuring.dialect or taken.tokens is not measuring.tokens:
            rendered = self._rendered(request, taken)
        return Plan(request, catalogue, model, offered, routing, decision, rendered, admitted, chosen)

    def _to_send(self, request: InferenceRequest, catalogue: Catalogue, model: Model, trail: Trail) -> InferenceRequest:
        if (
            catalogue.input_budgets
            or model.trimming is not None
            or (request.wishes and request.wishes.trim is not None)
        ):
            # Few requests are trimmed, and the others must not pay for importing how.
            from tollgate.services.requests.trim_request import trimmed  # noqa: PLC0415 -- see above

            return trimmed(request, catalogue, model, trail, self._tokenizers)
        plain = without_marks(request.input)
        return request if plain is request.input else replace(request, input=plain)

    def _rendered(self, request: InferenceRequest, deployment: Deployment) -> RenderedRequest:
        return self._dialects.of(deployment).render(request.input, request.parameters)


def _input_tokens(request: InferenceRequest, trail: Trail) -> int:
    """Of what is sent: counted where the model's own tokenizer did so, otherwise estimated."""
    if trail.trimmed is not None and trail.tokens == "exact":
        return trail.trimmed.input_tokens_after
    return estimate_input_tokens(request.input)


def _choice_reason(trail: Trail) -> str:
    reason = f";{trail.chosen.reason}" if trail.chosen and trail.chosen.reason else ""
    if trail.trimmed is not None and trail.trimmed.input_tokens_saved:
        reason += f";trimmed={trail.trimmed.input_tokens_saved}"
    if trail.tokens:
        reason += f";tokens={trail.tokens}"
    return reason
