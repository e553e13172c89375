"""What a finished request cost, and what it would have cost on the baseline road.

Effective cost is the instance time the request held, at the road's price, plus the gateway's own parts. The avoided
cost compares fully loaded figures: both roads carry their idle time, so an endpoint that is kept up day and night pays
for its nights too, on either side of the comparison. The baseline has no gateway parts and no job start-up.
"""

from dataclasses import dataclass
from decimal import Decimal

from tollgate.domain.catalogue import Deployment, InferenceType, Model, Road
from tollgate.domain.jobs import Usage
from tollgate.domain.money import ZERO, seconds, usd
from tollgate.domain.pricing import instance_cost


@dataclass(frozen=True, slots=True)
class Settlement:
    """Dollars of one finished request.

    Attributes:
        effective: instance share and gateway parts; None when the price is unknown and there is no ceiling.
        avoided: baseline minus own, both fully loaded; None when either price is unknown. Negative when the baseline
            would have been cheaper.
        loaded: the request's own cost with the road's idle time in it; None when the price is unknown.
    """

    effective: Decimal | None
    avoided: Decimal | None
    loaded: Decimal | None = None

    def with_another(self, later: "Settlement") -> "Settlement":
        """Of a request that was tried twice: everything it cost, against one baseline."""
        if self.effective is None or later.effective is None:
            return Settlement(None, None)
        avoided = None if later.avoided is None else usd(later.avoided - self.effective)
        return Settlement(usd(self.effective + later.effective), avoided)


def settle(
    model: Model, deployment: Deployment, road: Road, *, held_seconds: Decimal, usage: Usage, gateway: Decimal
) -> Settlement:
    """Price a request that held one of the road's places for `held_seconds`.

    Args:
        model: for its baseline road.
        deployment: that served the request.
        road: that the request took.
        held_seconds: instance seconds; for batch the record's share of the job's seconds times its instances.
        usage: tokens, for scaling to a baseline of another size.
        gateway: dollars of the gateway's own parts.
    """
    share = _instance_share(road, held_seconds)
    if share is None:
        return Settlement(effective=None, avoided=None)
    baseline = baseline_cost(model, deployment, road, held_seconds=held_seconds, usage=usage)
    own_loaded = share / road.utilisation + gateway
    return Settlement(
        effective=usd(share + gateway),
        avoided=None if baseline is None or road.usd_per_hour is None else usd(baseline - own_loaded),
        loaded=usd(own_loaded),
    )


def together(first: Settlement, last: Settlement) -> Settlement:
    """Two calls for one answer: both are paid for, and only the last would have been made on the baseline road."""
    if first.effective is None or last.effective is None:
        return Settlement(effective=None, avoided=None)
    return Settlement(
        effective=first.effective + last.effective,
        avoided=None if last.avoided is None or first.loaded is None else last.avoided - first.loaded,
        loaded=None if first.loaded is None or last.loaded is None else first.loaded + last.loaded,
    )


def _instance_share(road: Road, held_seconds: Decimal) -> Decimal | None:
    if held_seconds == ZERO:
        return ZERO
    if road.usd_per_hour is None:
        return road.ceiling_usd
    # A transform job's seconds are already divided among its records.
    places = 1 if road.inference_type is InferenceType.BATCH else road.concurrency
    return instance_cost(held_seconds, road.usd_per_hour, places)


def baseline_cost(
    model: Model, deployment: Deployment, taken: Road, *, held_seconds: Decimal, usage: Usage
) -> Decimal | None:
    """Dollars that the request would have cost on the baseline road, with its idle time; None if no price is known.

    Args:
        model: for its baseline road.
        deployment: that served the request.
        taken: the road that it took.
        held_seconds: as for `settle`.
        usage: tokens, for scaling to a baseline of another size.
    """
    baseline = model.baseline_deployment
    if baseline is None:
        return None
    road = baseline.roads[InferenceType.REALTIME]
    if road.usd_per_hour is None:
        return None
    there = baseline.timing.expected_seconds(usage.input_tokens or 0, usage.output_tokens)
    seconds_there = held_seconds
    if taken.inference_type is InferenceType.BATCH:
        # The record's share contains the job's start-up, which an endpoint that is up does not have.
        seconds_there = min(held_seconds, seconds(there))
    elif baseline.name != deployment.name:
        own = deployment.timing.expected_seconds(usage.input_tokens or 0, usage.output_tokens)
        seconds_there = held_seconds * seconds(there) / seconds(own) if own > 0 else held_seconds
    return instance_cost(seconds_there, road.usd_per_hour, road.concurrency) / road.utilisation
