"""What only models with several deployments need: the choice among them, and the run that follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.services.requests.choose_tier import Offer, TierChooser
from tollgate.services.requests.run_chosen import ChosenRun

if TYPE_CHECKING:
    from tollgate.domain.catalogue import Model
    from tollgate.domain.costs.pricing import GatewayPrices
    from tollgate.domain.roads.capacity import Capacity
    from tollgate.domain.roads.routing import RoutingRequest
    from tollgate.ports.outcomes import OutcomeStore
    from tollgate.ports.system import Clock
    from tollgate.services.requests.accept_job import JobAcceptance
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.choose_tier import Chosen
    from tollgate.services.requests.inference import InferenceRequest
    from tollgate.services.requests.run_realtime import RealtimeRun
    from tollgate.services.requests.trail import Trail


class Choosing:
    """The choice and the run, made when the first such model is asked for."""

    def __init__(self, *, chooser: TierChooser, run: ChosenRun) -> None:
        self._chooser = chooser
        self.run = run

    def choose(
        self,
        request: InferenceRequest,
        trail: Trail,
        offered: Model,
        routing: RoutingRequest,
        *,
        capacity: Capacity,
        prices: GatewayPrices,
    ) -> Chosen:
        """The size and variant for a request, noted on its trail.

        Raises:
            CapacityError, DeadlineImpossibleError, PriceUnknownError, InvalidRequestError: no size can serve it.
        """
        chosen = self._chooser.choose(request, trail.owner, Offer(offered, routing, capacity, prices))
        trail.chosen = chosen
        return chosen

    def begin(self, model: str, chosen: Chosen) -> None:
        """Note that a choice is acted upon; a preview is not."""
        self._chooser.begin(model, chosen)


def choosing_among(
    outcomes: OutcomeStore,
    *,
    realtime: RealtimeRun,
    acceptance: JobAcceptance,
    admission: Admission,
    clock: Clock,
    time_limit_seconds: float,
) -> Choosing:
    """Put the parts together.

    Args:
        outcomes: where records are read and kept.
        realtime: runs one plan.
        acceptance: takes copies for shadows.
        admission: what these have to pass.
        clock: of the function.
        time_limit_seconds: that a request may take in all.
    """
    run = ChosenRun(
        realtime=realtime,
        acceptance=acceptance,
        admission=admission,
        outcomes=outcomes,
        clock=clock,
        time_limit_seconds=time_limit_seconds,
    )
    return Choosing(chooser=TierChooser(outcomes), run=run)
