"""An inference request as a caller makes it, the plan for it, and the two ways it can be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.domain.budgets.reserving import asks_for
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.money import seconds
from tollgate.domain.roads.estimates import choices_made

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from tollgate.domain.budgets.reserving import Ask
    from tollgate.domain.cache.control import CacheControl
    from tollgate.domain.cache.ticket import CacheTicket
    from tollgate.domain.catalogue import Catalogue, InferenceType, Model, Priority
    from tollgate.domain.jobs.job import Job
    from tollgate.domain.roads.capabilities import Needs
    from tollgate.domain.roads.routing import RoutingDecision, RoutingRequest
    from tollgate.ports.dialects import RenderedRequest
    from tollgate.services.requests.admission import Admitted
    from tollgate.services.requests.choose_tier import Chosen
    from tollgate.services.requests.wishes import Wishes


class InferenceRequest(NamedTuple):
    """What a caller asks for, checked for shape but not yet against the catalogue.

    Attributes:
        needs: what the model must be able to do; None where the route does not say.
        cache: what the caller asks of the cache; None for the model's own rules.
        wishes: what else the caller wants; None for the model's own rules.
    """

    model: str
    input: Any
    priority: Priority | None = None
    deadline_seconds: float | None = None
    parameters: Mapping[str, Any] = {}
    webhook_url: str | None = None
    metadata: Mapping[str, str] = {}
    needs: Needs | None = None
    cache: CacheControl | None = None
    wishes: Wishes | None = None


class Completed(NamedTuple):
    """Answered now."""

    inference_id: str
    created_at: datetime
    output: Any


class Accepted(NamedTuple):
    """To be answered later.

    Attributes:
        expected_seconds: from now until the answer should be there.
    """

    job: Job
    expected_seconds: float


class Plan(NamedTuple):
    """What will be done for a request.

    Attributes:
        request: as it will be sent, trimmed where that is wanted.
        catalogue: that the plan was made with.
        offered: `model`, with only those deployments that the request may use.
        routing: what the decision was made from.
        rendered: the body to send.
        admitted: what to reserve; None where no budget counts the request.
        chosen: how the size was chosen; None where there was nothing to choose.
        ticket: under which a job keeps its answer in the cache; None where it keeps none.
    """

    request: InferenceRequest
    catalogue: Catalogue
    model: Model
    offered: Model
    routing: RoutingRequest
    decision: RoutingDecision
    rendered: RenderedRequest
    admitted: Admitted | None
    chosen: Chosen | None = None
    ticket: CacheTicket | None = None

    def name(self, new_id: str, tenant: str) -> str:
        """The inference's id: `new_id`, marked where feedback will have to find out which deployment answered."""
        if self.chosen is None:
            return new_id
        # Already imported with what chose.
        from tollgate.domain.choice.outcomes import marked  # noqa: PLC0415 -- see above

        return marked(
            new_id,
            tenant=tenant,
            model=self.model.name,
            deployment=self.decision.deployment.name,
            topic=self.chosen.topic,
            seal=self.catalogue.seal,
        )

    def asks(self, inference_type: InferenceType, *, limit_seconds: float, memory_gb: Decimal) -> tuple[Ask, ...]:
        """What to ask of the budgets for taking a road, dearest first.

        Args:
            inference_type: the road, which need not be the one that was decided on.
            limit_seconds: how long the request may hold its place at most.
            memory_gb: of the function that runs the request.
        """
        road = self.decision.deployment.roads[inference_type]
        rates = gateway_rates(self.catalogue.gateway_prices)
        if road.tokens is not None:
            # Few roads are paid by the token.
            from tollgate.domain.providers.charges import SETTLING_SECONDS, token_ask  # noqa: PLC0415 -- see above

            held = memory_gb * seconds(max(0.1, limit_seconds) + SETTLING_SECONDS)
            return (token_ask(road, self.rendered.most, rates, len(self.rendered.body), lambda_gb_seconds=held),)
        return asks_for(
            self.decision.estimates[inference_type],
            road,
            self.model,
            rates,
            limit_seconds=max(0.1, limit_seconds),
            memory_gb=memory_gb,
            body_bytes=len(self.rendered.body),
            choices=choices_made(self.request.parameters),
        )
