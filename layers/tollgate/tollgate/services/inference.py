"""An inference request as a caller makes it, how it is planned, and the two ways it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tollgate.domain.gateway_parts import gateway_rates
from tollgate.domain.reserving import asks_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from tollgate.domain.capabilities import Needs
    from tollgate.domain.catalogue import Catalogue, InferenceType, Model, Priority
    from tollgate.domain.jobs import Job
    from tollgate.domain.reserving import Ask
    from tollgate.domain.routing import RoutingDecision
    from tollgate.ports.dialects import RenderedRequest
    from tollgate.services.admission import Admitted


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a caller asks for, checked for shape but not yet against the catalogue.

    `needs` is what the model must offer, where the caller's route says so.
    """

    model: str
    input: Any
    priority: Priority | None = None
    deadline_seconds: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    webhook_url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    needs: Needs | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """Answered now."""

    inference_id: str
    created_at: datetime
    output: Any


@dataclass(frozen=True, slots=True)
class Accepted:
    """To be answered later.

    Attributes:
        expected_seconds: from now until the answer is expected.
    """

    job: Job
    expected_seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done for a request: the catalogue it was read with, the decision, and the body to send.

    `offered` is the model with the deployments that this request may use. `admitted` is None where no budget stands in
    the way.
    """

    catalogue: Catalogue
    model: Model
    offered: Model
    decision: RoutingDecision
    rendered: RenderedRequest
    admitted: Admitted | None

    def asks(self, inference_type: InferenceType, *, limit_seconds: float, memory_gb: Decimal) -> tuple[Ask, ...]:
        """What to ask of the budgets for going down a road, dearest first.

        Args:
            inference_type: the road, which need not be the one decided for.
            limit_seconds: the longest that the request may hold its place.
            memory_gb: of the function that runs the request.
        """
        return asks_for(
            self.decision.estimates[inference_type],
            self.decision.deployment.roads[inference_type],
            self.model,
            gateway_rates(self.catalogue.gateway_prices),
            limit_seconds=max(0.1, limit_seconds),
            memory_gb=memory_gb,
            body_bytes=len(self.rendered.body),
        )
