"""What somebody who knows every request ahead would pay: a bound that nobody can go below, and a schedule near it."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import compress

from planner.bound import Prices, Windows, foreseen_schedule, least_dollars
from planner.gateway_share import cheapest_job, instance_parts, token_parts
from planner.trace import Trace
from planner.world import World
from tollgate.domain.money import ZERO, usd
from tollgate.domain.roads.estimates import TOKEN_JOB_SECONDS


@dataclass(frozen=True, slots=True)
class Bounds:
    """Dollars, the gateway's own parts included.

    Attributes:
        least: that no schedule can go below.
        without_jobs: that none can go below which wakes endpoints only, as the gateway's own rule does.
        foreseen: by part, of a schedule made with all requests known, that pays its work and its waiting apart and
            never runs out of places; the true optimum lies near or below it, and not below `least`.
        starts: of endpoints in that schedule.
        impossible: requests that take longer than their deadline wherever they are served; they are left out of the
            dollars, as a gateway refuses them.
    """

    least: Decimal
    without_jobs: Decimal
    foreseen: Mapping[str, Decimal]
    starts: int
    impossible: int = 0

    @property
    def foreseen_usd(self) -> Decimal:
        """The whole bill of the schedule made with all requests known."""
        return sum(self.foreseen.values(), ZERO)


def find_bounds(trace: Trace, world: World, held: "array[float]", horizon: float) -> Bounds:
    """The bounds of all designs of this world.

    Args:
        trace: not empty, in order of arrival, with its deadlines.
        world: with or without a backend that is paid by the token.
        held: place-seconds of each request.
        horizon: seconds for which an instance that never sleeps is billed.
    """
    possible = world.possible(trace, held)
    impossible = possible.count(0)
    if impossible == len(trace):
        return Bounds(ZERO, ZERO, {}, 0, impossible)
    if impossible:
        trace, held = trace.chosen(possible), array("d", compress(held, possible))
    windows = Windows(trace.arrivals, held, trace.deadlines, _prices(trace, world, held))
    cheapest_gateway = usd(Decimal(sum(instance_parts(held, world))))
    found = least_dollars(windows)
    # Instances that never sleep would do for all, if there are as many as the work takes.
    always = max(sum(held) / world.concurrency, horizon) * world.usd_per_second
    foreseen = foreseen_schedule(windows)
    instances = usd(Decimal(foreseen.instance_dollars))
    bill = {"instances": instances}
    if world.tokens is not None:
        bill["tokens"] = usd(Decimal(sum(compress(world.token_dollars(trace), foreseen.elsewhere))))
    rest = usd(Decimal(foreseen.dollars)) - sum(bill.values(), ZERO)
    return Bounds(
        least=usd(Decimal(min(found.dollars, always))) + cheapest_gateway,
        without_jobs=usd(Decimal(min(found.without_jobs, always))) + cheapest_gateway,
        foreseen=bill | {"gateway": cheapest_gateway + rest},
        starts=foreseen.starts,
        impossible=impossible,
    )


def _prices(trace: Trace, world: World, held: "array[float]") -> Prices:
    """Prices of the bound; the gateway's parts of a request that meets an instance up are added to both sides."""
    per_second = world.usd_per_second
    by_instance = instance_parts(held, world)
    later = array("d", [cheapest_job(world) - less for less in by_instance])
    if world.tokens is None:
        elsewhere = array("d", [math.inf]) * len(held)
    else:
        there = world.token_seconds(trace)
        own = zip(there, world.token_dollars(trace), token_parts(there, world), by_instance, strict=True)
        # Nobody waits longer than that for a provider, so that an instance has to do it.
        elsewhere = array(
            "d",
            [tokens + more - less if seconds <= TOKEN_JOB_SECONDS else math.inf for seconds, tokens, more, less in own],
        )
    return Prices(
        elsewhere_usd=elsewhere,
        later_usd=later,
        place_second_usd=per_second / world.concurrency,
        start_usd=per_second * world.endpoint_startup,
        instance_second_usd=per_second,
        job_usd=per_second * world.job_startup,
        job_seconds=world.job_startup,
    )
