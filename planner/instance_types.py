"""Instance types side by side: the same traffic on each, with the design that suits it best there.

How fast a type is for the owner's model only a measurement tells (`tollgate calibrate`). Where none is given, GPUs are
compared by their half-precision TFLOPS and processors by their number (`tollgate.domain.places.instance_shapes`). An
instance is taken to serve as many requests at a time.
"""

from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from planner.comparison import cheapest_in_time
from planner.designs import designs_for
from planner.outcome import replay
from planner.trace import Trace
from planner.world import World, price_book
from tollgate.domain.catalogue import Timing
from tollgate.domain.errors import PriceUnknownError
from tollgate.domain.places.instance_shapes import SHAPES


class SpeedUnknownError(Exception):
    """Nothing tells how fast a type is against the one that was planned with."""


@dataclass(frozen=True, slots=True)
class OnType:
    """What one type does.

    Attributes:
        speed: against the planned type.
        measured: whether the speed was given, not taken from data sheets.
        design: the cheapest without a missed deadline; None if each missed one.
        total: dollars of that design, None without one.
        always_on: dollars of one instance that never sleeps.
    """

    instance_type: str
    usd_per_hour: Decimal
    speed: float
    measured: bool
    design: str | None
    total: Decimal | None
    always_on: Decimal


class Beside(NamedTuple):
    """A type to put beside the planned one: its price, its speed against it, and whether that was measured."""

    name: str
    usd_per_hour: Decimal
    speed: float
    measured: bool


def types_beside(planned: str, region: str, others: Mapping[str, float | None]) -> list[Beside]:
    """What is known of the other types, before anything is replayed on them.

    Args:
        planned: the type that speeds are against.
        region: of the prices.
        others: speed of each other type; None where data sheets have to tell.

    Raises:
        PriceUnknownError: the price book does not have a type.
        SpeedUnknownError: no speed is given, and the two cannot be compared.
    """
    book, found = price_book(), []
    for name, given in others.items():
        price = book.instance_hour(region, name)
        if price is None:
            raise PriceUnknownError(f"The price book has no hour of {name} in {region}.")
        found.append(Beside(name, price.usd, given or speed_by_shape(planned, name), given is not None))
    return found


def side_by_side(
    trace: Trace, world: World, planned: str, region: str, others: Mapping[str, float | None], *, horizon: float
) -> list[OnType]:
    """The planned type first, then the others.

    Args:
        trace: with deadlines.
        world: of the planned type.
        planned: its name.
        region: of the prices.
        others: speed of each other type against the planned one; None where data sheets have to tell.
        horizon: seconds that are billed.

    Raises:
        PriceUnknownError: the price book does not have a type.
        SpeedUnknownError: no speed is given, and the two cannot be compared.
    """
    beside = types_beside(planned, region, others)
    found = [_on(trace, world, planned, (1.0, True), horizon)]
    for name, usd_per_hour, speed, measured in beside:
        timing = world.timing
        other = replace(
            world,
            usd_per_hour=usd_per_hour,
            timing=Timing(
                timing.base_seconds / speed,
                timing.seconds_per_input_token / speed,
                timing.seconds_per_output_token / speed,
            ),
        )
        found.append(_on(_faster(trace, speed), other, name, (speed, measured), horizon))
    return found


def speed_by_shape(planned: str, other: str) -> float:
    """How fast a type should be against another, from what it has.

    Raises:
        SpeedUnknownError: a type is not listed, or only one of them has GPUs.
    """
    shapes = SHAPES.get(planned), SHAPES.get(other)
    first, second = shapes
    if first is None or second is None or (first.gpu_power > 0) is not (second.gpu_power > 0):
        raise SpeedUnknownError(f"How fast {other} is against {planned} must be given, as in {other}=0.5.")
    return second.gpu_power / first.gpu_power if first.gpu_power else second.vcpus / first.vcpus


def _faster(trace: Trace, speed: float) -> Trace:
    """Durations that the trace gives were measured on the planned type."""
    changed = trace.copy()
    for position, seconds in enumerate(changed.durations):
        if seconds >= 0:
            changed.durations[position] = seconds / speed
    return changed


def _on(trace: Trace, world: World, name: str, speed: tuple[float, bool], horizon: float) -> OnType:
    held, designs = world.held(trace), designs_for(trace, world).values()
    outcomes = [replay(trace, one, world, held=held, horizon=horizon) for one in designs if not one.sharing]
    chosen = cheapest_in_time(outcomes, world.possible(trace, held).count(0))
    return OnType(
        instance_type=name,
        usd_per_hour=world.usd_per_hour,
        speed=speed[0],
        measured=speed[1],
        design=chosen.design if chosen else None,
        total=chosen.total if chosen else None,
        always_on=outcomes[0].total,
    )
