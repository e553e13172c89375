"""What will be done for a request, before any of it is done: what is sent, to which deployment, down which road."""

from __future__ import annotations

from copy import replace
from typing import TYPE_CHECKING

from tollgate.domain.budgets.pressure import deferred, downgraded
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import CapacityError, SpendStoppedError, TollgateError
from tollgate.domain.prompt import estimate_input_tokens, without_marks
from tollgate.domain.roads.capabilities import offering
from tollgate.domain.roads.estimates import RequestSize, output_limit
from tollgate.domain.roads.routing import RoutingRequest, route
from tollgate.domain.selection import selector_of
from tollgate.services.requests.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.catalogue import Catalogue, Deployment, Model
    from tollgate.domain.roads.capacity import Capacity
    from tollgate.ports.dialects import Dialects, RenderedRequest
    from tollgate.ports.registry import CapacitySource, CatalogueSource
    from tollgate.ports.tokenizers import TokenizerSource
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.choose_tier import TierChooser
    from tollgate.services.requests.deployment_health import DeploymentHealth
    from tollgate.services.requests.plan import InferenceRequest
    from tollgate.services.requests.trail import Trail


class RequestPlanner:
    """Plans requests: what may be spent, what is left of the input, which size, which deployment and road.

    Nothing is run, reserved or written, so a plan that nobody carries out costs nothing.

    Args:
        chooser: chooses among sizes; asked for when the first request comes for a model that has several.
        tokenizers: the models' own, where they name one; None estimates tokens.
    """

    def __init__(
        self,
        *,
        catalogues: CatalogueSource,
        capacities: CapacitySource,
        dialects: Dialects,
        admission: Admission,
        health: DeploymentHealth,
        chooser: Callable[[], TierChooser],
        tokenizers: Callable[[], TokenizerSource] | None = None,
    ) -> None:
        self._catalogues = catalogues
        self._capacities = capacities
        self._dialects = dialects
        self._admission = admission
        self._health = health
        self._chooser = chooser
        self._tokenizers = tokenizers

    def catalogue(self) -> Catalogue:
        """The catalogue in force.

        Raises:
            CatalogueError, StorageError
        """
        return self._catalogues.current()

    def capacity(self) -> Capacity:
        """What is known now of the deployments, with what this environment has seen of them itself."""
        return self._health.seen_by(self._capacities.snapshot())

    def rendered(self, request: InferenceRequest, deployment: Deployment) -> RenderedRequest:
        """The body that the deployment's container takes.

        Raises:
            InvalidRequestError: it cannot be said in the container's dialect.
        """
        return self._dialects.of(deployment).render(request.input, request.parameters)

    def plan(self, request: InferenceRequest, trail: Trail) -> Plan:
        """Decide what to do for a request; what is found on the way is noted on the trail.

        Raises:
            UnknownModelError, InvalidRequestError, InputBudgetError: the request cannot be served as it is.
            SpendStoppedError, BudgetExceededError: brakes or budgets refuse it.
            DeadlineImpossibleError, PriceUnknownError, CapacityError: as `route`.
            CatalogueError, StorageError: what the plan depends on cannot be read.
        """
        catalogue = trail.catalogue = self._catalogues.current()
        model = catalogue.model(request.model)
        if request.needs is not None:
            model = offering(model, request.needs)

        # Budgets and brakes: they refuse, or ask for a smaller model or a slower road.
        try:
            admitted = trail.admitted = self._admission.admit(catalogue, trail.owner, request.model, trail.run)
            offered, brake = self._admission.offered(catalogue, model)
        except SpendStoppedError:
            trail.route_reason = "brake=stop"
            raise
        pressure = self._admission.pressure(admitted)
        if pressure.downgrade or brake.downgrade:
            offered = downgraded(offered)
        priority = request.priority
        if (pressure.defer or brake.defer) and request.deadline_seconds is None:
            priority = deferred(priority or model.default_priority)

        # The input: trimmed where that is wanted, and measured as a deployment will get it.
        asked, request = request, self._to_send(request, catalogue, model, trail)
        # Deployments of a model take the same input, and most the same dialect, so the first one's can measure it.
        measuring = model.deployments[0]
        if any(deployment.tokens is not None for deployment in offered.deployments):
            # Few models are paid by the token, and the others need not pay for the import.
            from tollgate.domain.providers.requests import bounded_offer  # noqa: PLC0415 -- see above

            offered = bounded_offer(offered, request.input, request.parameters)
            measuring = offered.deployments[0]
        rendered = self.rendered(request, measuring)
        size = RequestSize(
            body_bytes=len(rendered.body),
            input_tokens=_input_tokens(request, trail),
            output_tokens=output_limit(request.parameters, request.input),
        )

        # Size, deployment and road.
        routing = RoutingRequest(size, priority, request.deadline_seconds, selector_of(trail.request_id))
        capacity, chosen = self.capacity(), None
        if model.choice is not None or (request.wishes is not None and request.wishes.chooses):
            # By the caller's own words: what is dropped or put before the question changes from turn to turn.
            chosen = trail.chosen = self._chooser().choose(
                asked, trail.owner, offered, routing, capacity=capacity, prices=catalogue.gateway_prices
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
            rendered = self.rendered(request, taken)
        return Plan(request, catalogue, model, offered, routing, decision, rendered, admitted, chosen)

    def larger(self, plan: Plan, trail: Trail) -> Plan:
        """The same request for the larger size, which is asked where the first answer was not good enough.

        Raises:
            CapacityError: it cannot answer now.
            DeadlineImpossibleError, PriceUnknownError, InvalidRequestError: as `route`.
        """
        larger = plan.chosen.larger if plan.chosen else ()
        offered = replace(plan.model, deployments=larger)
        decision = route(plan.routing, offered, self.capacity(), plan.catalogue.gateway_prices)
        if decision.deferred or decision.inference_type is not InferenceType.REALTIME:
            raise CapacityError("The larger deployment cannot answer now.")
        trail.resource = decision.deployment.resource
        return replace(plan, decision=decision, rendered=self.rendered(plan.request, decision.deployment))

    def later(self, plan: Plan, trail: Trail) -> Plan:
        """The plan for a job, which is answered once: by the size that was chosen, not by one to be asked before it.

        Only where the chosen one has no road for jobs is it the other's.
        """
        if plan.chosen is None or not plan.chosen.asks_below:
            return plan
        offered = replace(plan.model, deployments=plan.chosen.larger)
        try:
            decision = route(plan.routing, offered, self.capacity(), plan.catalogue.gateway_prices)
            rendered = self.rendered(plan.request, decision.deployment)
        except TollgateError:
            decision, rendered = plan.decision, plan.rendered
        if decision.inference_type is not InferenceType.REALTIME:
            # Its real-time road went down after the choice, so the decision is the detour.
            decision = decision._replace(fallback=decision.inference_type)
        elif decision.fallback is None and decision.deployment.sleep is None:
            decision, rendered = plan.decision, plan.rendered
        trail.resource, trail.estimated_cost = decision.deployment.resource, decision.estimated_cost
        return replace(plan, decision=decision, rendered=rendered)

    def begin(self, plan: Plan) -> None:
        """Note that a plan is carried out; until then its choice of a size is remembered and charged nowhere."""
        if plan.chosen is not None:
            self._chooser().begin(plan.model.name, plan.chosen)

    def _to_send(self, request: InferenceRequest, catalogue: Catalogue, model: Model, trail: Trail) -> InferenceRequest:
        if (
            catalogue.input_budgets
            or model.trimming is not None
            or (request.wishes and request.wishes.trim is not None)
        ):
            # Few requests are trimmed, and the others must not pay for importing how.
            from tollgate.services.requests.trim_request import trimmed  # noqa: PLC0415 -- see above

            request = trimmed(request, catalogue, model, trail, self._tokenizers)
        plain = without_marks(request.input)
        return request if plain is request.input else replace(request, input=plain)


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
