"""Fully loaded cost: what an endpoint cost in an hour, idle time included, spread over what ran on it.

A request's effective cost has the instance time it held. The bill has every minute that an instance was up. The
difference is idle time, and it belongs to those for whom the endpoint is kept up: in proportion to the instance time
they held. Where nothing ran, there is no request to bear it, so it gets a row of its own with no requests. Loaded costs
of an hour therefore sum to exactly the endpoints' price plus the other parts of the requests.
"""

from collections.abc import Mapping, Sequence
from copy import replace
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.costs.usage import Dimensions, RollUp, Totals
from tollgate.domain.money import SECONDS_PER_HOUR, ZERO, usd

UP_ROADS = (InferenceType.REALTIME, InferenceType.ASYNC)
"""Roads whose instances stay up between requests. A transform job's instances end with it, so it has no idle time."""

type RoadName = tuple[str, str, str]
"""Model, deployment and inference type."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of the catalogue; several roads may lead to one.

    Attributes:
        roads: that lead to it, the first of which names it in metrics.
        usd_per_hour: of one instance.
        concurrency: requests that one instance serves at the same time.
    """

    target: str
    variant: str
    roads: tuple[RoadName, ...]
    usd_per_hour: Decimal
    concurrency: int


@dataclass(frozen=True, slots=True)
class EndpointHour:
    """What an endpoint cost in an hour, and how much of it was used.

    Attributes:
        instance_hours: time up, of all its instances together.
        paid: dollars for them.
        used: dollars of the instance time that requests held.
        held_seconds: instance places that they held, times seconds.
    """

    endpoint: Endpoint
    instance_hours: Decimal
    paid: Decimal
    used: Decimal
    held_seconds: Decimal

    @property
    def idle(self) -> Decimal:
        """Dollars of unused time.

        Negative when requests were charged more than the endpoint cost: then the concurrency in the catalogue is lower
        than the one really shared.
        """
        return self.paid - self.used

    @property
    def utilisation(self) -> Decimal | None:
        """Average share of the places in use; None while no instance was up."""
        places = self.instance_hours * SECONDS_PER_HOUR * self.endpoint.concurrency
        return self.held_seconds / places if places else None


def endpoints_of(catalogue: Catalogue) -> tuple[Endpoint, ...]:
    """All endpoints with a known price, each once, in the order of the catalogue."""
    found: dict[tuple[str, str], Endpoint] = {}
    for model in catalogue.models.values():
        for deployment in model.deployments:
            for kind in UP_ROADS:
                road = deployment.roads.get(kind)
                if road is None or road.usd_per_hour is None:
                    continue
                key, name = (road.target, road.target_variant or ""), (model.name, deployment.name, kind.value)
                before = found.get(key)
                found[key] = (
                    Endpoint(*key, (name,), road.usd_per_hour, road.concurrency)
                    if before is None
                    else replace(before, roads=(*before.roads, name))
                )
    return tuple(found.values())


def load_hour(
    roll_ups: Sequence[RollUp], start: datetime, hours: Mapping[Endpoint, Decimal | None]
) -> tuple[tuple[RollUp, ...], tuple[EndpointHour, ...]]:
    """The roll-ups of an hour with their loaded cost, and the breakdown of each endpoint's price.

    Args:
        roll_ups: of the hour.
        start: of the hour.
        hours: instance hours of each endpoint that may have been up; None where unknown, which leaves the loaded cost
            unknown there.

    Returns:
        Roll-ups, idle rows among them; endpoints whose hours are known.
    """
    loaded: dict[Dimensions, Decimal | None] = {each.dimensions: each.totals.effective for each in roll_ups}
    idle_rows: list[RollUp] = []
    seen: list[EndpointHour] = []
    for endpoint, up in hours.items():
        on_it = [each for each in roll_ups if _road_of(each.dimensions) in endpoint.roads]
        if up is None:
            loaded |= {each.dimensions: None for each in on_it if each.totals.instance}
            continue
        paid = usd(up * endpoint.usd_per_hour)
        used = sum((each.totals.instance for each in on_it), ZERO)
        held = sum((each.totals.held_seconds for each in on_it), ZERO)
        seen.append(EndpointHour(endpoint, up, paid, used, held))
        idle = paid - used
        if used == ZERO:
            if idle:
                idle_rows.append(_idle_row(endpoint, start, idle))
            continue
        _spread(idle, used, on_it, loaded)
    rows = [replace(each, totals=replace(each.totals, loaded=loaded[each.dimensions])) for each in roll_ups]
    return (*rows, *idle_rows), tuple(seen)


def _road_of(dimensions: Dimensions) -> RoadName:
    return dimensions.model, dimensions.deployment, dimensions.inference_type


def _spread(idle: Decimal, used: Decimal, on_it: Sequence[RollUp], loaded: dict[Dimensions, Decimal | None]) -> None:
    """Add each row's share of the idle time; the last takes the rounding remainder, so the parts sum to the whole."""
    bearing = [each for each in on_it if each.totals.instance]
    left = idle
    for each in bearing[:-1]:
        part = usd(idle * each.totals.instance / used)
        left -= part
        loaded[each.dimensions] = each.totals.effective + part
    last = bearing[-1]
    loaded[last.dimensions] = last.totals.effective + left


def _idle_row(endpoint: Endpoint, start: datetime, idle: Decimal) -> RollUp:
    model, deployment, kind = endpoint.roads[0]
    dimensions = Dimensions("", "", "", model, kind, deployment, endpoint.variant)
    return RollUp(start, dimensions, Totals(loaded=idle))
