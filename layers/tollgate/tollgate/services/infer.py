"""One inference request: routed, then answered now or accepted as a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tollgate.domain.budget_pressure import deferred, downgraded
from tollgate.domain.capabilities import offering
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import BackendError, BackendThrottledError, CapacityError, SpendStoppedError
from tollgate.domain.road_estimates import RequestSize
from tollgate.domain.routing import RoutingRequest, route
from tollgate.domain.selection import selector_of
from tollgate.services.inference import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tollgate.domain.catalogue import Catalogue
    from tollgate.domain.routing import RoutingDecision
    from tollgate.ports.dialects import Dialects, RenderedRequest
    from tollgate.ports.registry import CapacitySource, CatalogueSource
    from tollgate.services.accept_job import JobAcceptance
    from tollgate.services.admission import Admission
    from tollgate.services.deployment_health import DeploymentHealth
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
        health: DeploymentHealth,
    ) -> None:
        self._catalogues = catalogues
        self._capacities = capacities
        self._dialects = dialects
        self._admission = admission
        self._realtime = realtime
        self._acceptance = acceptance
        self._wakes = wakes
        self._health = health

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
        if plan.decision.deferred or plan.decision.inference_type is not InferenceType.REALTIME:
            return self._accept(request, plan, plan.decision.inference_type, trail, plan.decision.sleeping)
        try:
            return self._run(request, plan, trail)
        except (CapacityError, BackendThrottledError):
            fallback = plan.decision.fallback
            if fallback is None and plan.decision.deployment.sleep is not None:
                # It may have gone to sleep since this gateway read otherwise; then it is woken.
                fallback = InferenceType.REALTIME
            if fallback is None:
                raise
            trail.route_reason += f";{fallback}_fallback=no_capacity"
            return self._accept(request, plan, fallback, trail, (InferenceType.REALTIME, fallback))

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

    def _run(self, request: InferenceRequest, plan: Plan, trail: Trail) -> Completed:
        try:
            return self._realtime.run(plan, trail)
        except BackendError as error:
            if not plan.offered.health.fallback:
                raise
            # Few requests need it, so the others do not pay for the import.
            from tollgate.services.second_try import SecondTry  # noqa: PLC0415 -- see above

            again = SecondTry(
                realtime=self._realtime, dialects=self._dialects, capacities=self._capacities, health=self._health
            )
            return again.run(request, plan, _size(plan.rendered, request), error, trail)

    def _plan(self, request: InferenceRequest, trail: Trail) -> Plan:
        catalogue = self._catalogues.current()
        trail.catalogue = catalogue
        model = catalogue.model(request.model)
        if request.needs is not None:
            model = offering(model, request.needs)
        priority = request.priority
        try:
            admitted = self._admission.admit(catalogue, trail.owner, request.model, trail.run)
            offered, brake = self._admission.offered(catalogue, model)
        except SpendStoppedError:
            trail.route_reason = "brake=stop"
            raise
        pressure = self._admission.pressure(admitted)
        if pressure.downgrade or brake.downgrade:
            offered = downgraded(offered)
        if (pressure.defer or brake.defer) and request.deadline_seconds is None:
            priority = deferred(priority or model.default_priority)
        # All deployments of a model take the same input, so the first one's dialect can measure it.
        rendered = self._dialects.of(model.deployments[0]).render(request.input, request.parameters)
        decision = route(
            RoutingRequest(_size(rendered, request), priority, request.deadline_seconds, selector_of(trail.request_id)),
            offered,
            self._health.seen_by(self._capacities.snapshot()),
            catalogue.gateway_prices,
        )
        trail.inference_type = decision.inference_type
        trail.resource = decision.deployment.resource
        trail.route_reason = decision.reason + pressure.reason + brake.reason
        trail.estimated_cost = decision.estimated_cost
        if decision.deployment is not model.deployments[0]:
            rendered = self._dialects.of(decision.deployment).render(request.input, request.parameters)
        return Plan(catalogue, model, offered, decision, rendered, admitted)


def _size(rendered: RenderedRequest, request: InferenceRequest) -> RequestSize:
    return RequestSize(
        body_bytes=len(rendered.body),
        input_tokens=max(1, len(rendered.body) // 4),
        output_tokens=_output_limit(request.parameters),
    )


def _output_limit(parameters: Mapping[str, Any]) -> int | None:
    for name in _OUTPUT_LIMITS:
        value = parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
