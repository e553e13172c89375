"""All designs on one trace, with the bound below them and the cheapest one that keeps every deadline."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from planner.bound import least_instance_seconds
from planner.designs import body_bytes, standard_designs
from planner.outcome import Outcome, replay
from planner.trace import Trace
from planner.world import World
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.gateway_parts import gateway_rates
from tollgate.domain.money import seconds, usd
from tollgate.domain.pricing import instance_cost

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `tollgate plan` prints.

    Attributes:
        outcomes: the baseline first.
        least: dollars that no design can go below, its gateway parts included.
        horizon: seconds that are billed.
    """

    outcomes: tuple[Outcome, ...]
    least: Decimal
    horizon: float

    @property
    def baseline(self) -> Outcome:
        """One real-time instance that is never turned off."""
        return self.outcomes[0]

    @property
    def recommended(self) -> Outcome | None:
        """The cheapest that missed no deadline; None when each missed one."""
        return min((o for o in self.outcomes if not o.missed), key=lambda o: o.total, default=None)

    def saved(self, outcome: Outcome) -> Decimal:
        """Share of the baseline's bill that this design saves; negative where it costs more."""
        return 1 - outcome.total / self.baseline.total if self.baseline.total else Decimal(0)


def compare(
    trace: Trace, world: World, *, horizon: float = 0.0, progress: Callable[[str], None] = lambda _: None
) -> Comparison:
    """Replay the trace by every standard design.

    Args:
        trace: not empty, in order of arrival, with its deadlines.
        world: in which it is served.
        horizon: seconds that are billed; the trace's length in whole hours when that is longer.
        progress: called with each design's name after it was replayed.
    """
    held = world.held(trace)
    horizon = max(horizon, math.ceil(trace.seconds / _HOUR) * _HOUR)
    outcomes = []
    for design in standard_designs(world, sum(held) / len(held), set(trace.deadlines)):
        outcomes.append(replay(trace, design, world, held=held, horizon=horizon))
        progress(design.name)
    least = least_instance_seconds(
        trace.arrivals,
        held,
        trace.deadlines,
        concurrency=world.concurrency,
        startup=min(world.endpoint_startup, world.job_startup),
        horizon=horizon,
    )
    return Comparison(
        outcomes=tuple(outcomes),
        least=instance_cost(seconds(least), world.usd_per_hour, 1) + _least_gateway(trace, world),
        horizon=horizon,
    )


def _least_gateway(trace: Trace, world: World) -> Decimal:
    """Every request at the gateway's cheapest road, without waiting and without storing its input."""
    rates = gateway_rates(world.prices)
    cheapest = min(rates.expected(road, body_bytes(0), 0.0) for road in InferenceType)
    return usd(cheapest * len(trace))
