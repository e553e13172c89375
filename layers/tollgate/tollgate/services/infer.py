"""One inference request: routed, then answered now or accepted as a job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tollgate.domain.budget_pressure import deferred, downgraded
from tollgate.domain.capabilities import offering
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import BackendThrottledError, CapacityError
from tollgate.domain.prompt import estimate_input_tokens, without_marks
from tollgate.domain.road_estimates import RequestSize
from tollgate.domain.routing import RoutingRequest, route
from tollgate.domain.selection import selector_of
from tollgate.services.inference import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tollgate.domain.catalogue import Catalogue, Deployment, Model
    from tollgate.domain.routing import RoutingDecision
    from tollgate.ports.dialects import Dialects, RenderedRequest
    from tollgate.ports.registry import CapacitySource, CatalogueSource
    from tollgate.services.accept_job import JobAcceptance
    from tollgate.services.admission import Admission
    from tollgate.services.choosing import Choosing
    from tollgate.services.inference import Accepted, Completed, InferenceRequest
    from tollgate.services.run_realtime import RealtimeRun
    from tollgate.services.trail import Trail
    from tollgate.services.wake_requests import WakeRequests

_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_new_tokens")


class InferenceService:
    """Routes requests, runs the urgent ones and writes the others down."""

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
        choosing: Callable[[], Choosing],
    ) -> None:
        self._catalogues = catalogues
        self._capacities = capacities
        self._dialects = dialects
        self._admission = admission
        self._realtime = realtime
        self._acceptance = acceptance
        self._wakes = wakes
        self._choosing = choosing

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
            StorageError: the job could not be written down.
        """
        plan = self._plan(request, trail)
        if plan.chosen is not None:
            self._choosing().begin(plan.model.name, plan.chosen)
        if plan.decision.deferred or plan.decision.inference_type is not InferenceType.REALTIME:
            return self._accept(plan.request, plan, plan.decision.inference_type, trail, plan.decision.sleeping)
        try:
            return self._run(plan, trail)
        except (CapacityError, BackendThrottledError):
            fallback = plan.decision.fallback
            if fallback is None and plan.decision.deployment.sleep is not None:
                # It may have gone to sleep since this gateway read otherwise; then it is woken.
                fallback = InferenceType.REALTIME
            if fallback is None:
                raise
            trail.route_reason += f";{fallback}_fallback=no_capacity"
            return self._accept(plan.request, plan, fallback, trail, (InferenceType.REALTIME, fallback))

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
        if deployment.sleep is not None and sleeping:
            self._wakes().want(deployment.roads[t] for t in sleeping)
        return accepted

    def _run(self, plan: Plan, trail: Trail) -> Completed:
        if plan.chosen is None:
            return self._realtime.run(plan, trail)
        return self._choosing().run.run(
            plan, plan.chosen, trail, capacity=self._capacities.snapshot(), larger=lambda: self._larger(plan, trail)
        )

    def _larger(self, plan: Plan, trail: Trail) -> Plan:
        """The same request, for the size that is asked after the first answer was not good enough."""
        larger = plan.chosen.larger if plan.chosen else ()
        offered = replace(plan.model, deployments=larger)
        decision = route(plan.routing, offered, self._capacities.snapshot(), plan.catalogue.gateway_prices)
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
        offered, priority = model, request.priority
        admitted = self._admission.admit(catalogue, trail.owner, request.model, trail.run)
        pressure = self._admission.pressure(admitted)
        if pressure.downgrade:
            offered = downgraded(model)
        if pressure.defer and request.deadline_seconds is None:
            priority = deferred(priority or model.default_priority)
        request = _to_send(request, catalogue, model, trail)
        # All deployments of a model take the same input, so the first one's dialect can measure it.
        rendered = self._rendered(request, model.deployments[0])
        size = RequestSize(
            body_bytes=len(rendered.body),
            input_tokens=estimate_input_tokens(request.input),
            output_tokens=_output_limit(request.parameters),
        )
        routing = RoutingRequest(size, priority, request.deadline_seconds, selector_of(trail.request_id))
        capacity, chosen = self._capacities.snapshot(), None
        if model.choice is not None or (request.wishes is not None and request.wishes.chooses):
            chosen = self._choosing().choose(
                request, trail, offered, routing, capacity=capacity, prices=catalogue.gateway_prices
            )
            routing, decision = chosen.routing, chosen.decision
        else:
            decision = route(routing, offered, capacity, catalogue.gateway_prices)
        trail.inference_type = decision.inference_type
        trail.resource = decision.deployment.resource
        trail.route_reason = decision.reason + pressure.reason + _choice_reason(trail)
        trail.estimated_cost = decision.estimated_cost
        if decision.deployment is not model.deployments[0]:
            rendered = self._rendered(request, decision.deployment)
        return Plan(request, catalogue, model, routing, decision, rendered, admitted, chosen)

    def _rendered(self, request: InferenceRequest, deployment: Deployment) -> RenderedRequest:
        return self._dialects.of(deployment).render(request.input, request.parameters)


def _to_send(request: InferenceRequest, catalogue: Catalogue, model: Model, trail: Trail) -> InferenceRequest:
    if catalogue.input_budgets or model.trimming is not None or (request.wishes and request.wishes.trim is not None):
        # Few requests are trimmed, and the others must not pay for importing how.
        from tollgate.services.trim_request import trimmed  # noqa: PLC0415 -- see above

        return trimmed(request, catalogue, model, trail)
    plain = without_marks(request.input)
    return request if plain is request.input else replace(request, input=plain)


def _choice_reason(trail: Trail) -> str:
    reason = f";{trail.chosen.reason}" if trail.chosen and trail.chosen.reason else ""
    if trail.trimmed is not None and trail.trimmed.input_tokens_saved:
        reason += f";trimmed={trail.trimmed.input_tokens_saved}"
    return reason


def _output_limit(parameters: Mapping[str, Any]) -> int | None:
    for name in _OUTPUT_LIMITS:
        value = parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
