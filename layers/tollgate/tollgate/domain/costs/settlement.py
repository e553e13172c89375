"""What a finished request cost, and what it avoided by not taking the baseline road.

Effective cost is the instance time the request held, or the tokens it took, at the road's price, plus the gateway's own
parts. The avoided cost compares fully loaded figures: both roads carry their idle time, so an endpoint that is kept up
day and night pays for its nights too, on either side of the comparison. The baseline has no gateway parts and no job
start-up.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tollgate.domain.catalogue import Deployment, InferenceType, Model, Road
from tollgate.domain.costs.avoided import AvoidedReason, add_reasons, avoided_by_reason
from tollgate.domain.costs.pricing import instance_cost
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO, plus, seconds, usd

if TYPE_CHECKING:
    from tollgate.domain.providers.backend import TokenBackend


class Settlement(NamedTuple):
    """Dollars of one finished request.

    Attributes:
        effective: running the model and the gateway's own work; None if the price is unknown and there is no ceiling.
        avoided: the baseline's cost minus this request's, both fully loaded; None if either is unknown. Negative if the
            baseline would have been cheaper.
        reasons: `avoided` by what avoided it; they sum to exactly `avoided`. Empty if that is None.
        instance: the part of `effective` that running the model cost, in instance time or tokens.
        held_seconds: instance seconds that `instance` pays for.
        loaded: the request's cost with the road's usual idle time, which `avoided` compares.
    """

    effective: Decimal | None
    avoided: Decimal | None
    reasons: Mapping[AvoidedReason, Decimal] = MappingProxyType({})
    instance: Decimal | None = None
    held_seconds: Decimal | None = None
    loaded: Decimal | None = None


def settle(
    model: Model,
    deployment: Deployment,
    road: Road,
    *,
    held_seconds: Decimal,
    usage: Usage,
    gateway: Decimal,
    untrimmed_input_tokens: int | None = None,
    reported: bool = True,
) -> Settlement:
    """Price a request that held one of the road's places for `held_seconds`.

    Args:
        model: for its baseline road.
        deployment: that served the request.
        road: that the request took.
        held_seconds: instance seconds; for batch, the record's share of the job's seconds times its instances.
        usage: tokens, for scaling to a baseline of another size.
        gateway: dollars of the gateway's own work.
        untrimmed_input_tokens: that the request had before it was trimmed; None if it was not trimmed.
        reported: whether the container or provider reported `usage`; otherwise it is an estimate, which prices no call
            that is paid by the token.
    """
    share = _share(road, held_seconds, usage if reported else Usage())
    if share is None:
        return Settlement(effective=None, avoided=None)
    loaded = usd(share / road.utilisation + gateway)
    effective = usd(share + gateway)
    baseline = model.baseline_deployment
    on_baseline = None
    if baseline is not None and not (road.usd_per_hour is None and road.tokens is None):
        on_baseline = _dollars_there(baseline, deployment, road, held_seconds, usage)
    if baseline is None or on_baseline is None:
        return Settlement(effective, None, {}, share, held_seconds, loaded)
    untrimmed = on_baseline
    if untrimmed_input_tokens is not None:
        untrimmed = usd(on_baseline * _growth(baseline, usage, untrimmed_input_tokens))
    own_tier = on_baseline
    if baseline.name != deployment.name:
        there = _dollars_there(deployment, deployment, road, held_seconds, usage)
        own_tier = on_baseline if there is None else there
    by_road = AvoidedReason.BATCH if road.inference_type is InferenceType.BATCH else AvoidedReason.ROAD
    steps = ((AvoidedReason.TRIM, on_baseline), (AvoidedReason.TIER, own_tier), (by_road, loaded))
    return Settlement(effective, untrimmed - loaded, avoided_by_reason(untrimmed, steps), share, held_seconds, loaded)


def together(first: Settlement, last: Settlement) -> Settlement:
    """Two calls for one answer: both are paid for, but only the last would have been made on the baseline road.

    The cost of the first counts against what choosing a size avoided. Instance share and seconds are those of the last
    call, because the first held another deployment.
    """
    if first.effective is None or last.effective is None:
        return Settlement(effective=None, avoided=None)
    avoided, reasons = None, {}
    if last.avoided is not None and first.loaded is not None:
        avoided = last.avoided - first.loaded
        reasons = add_reasons(last.reasons, {AvoidedReason.TIER: -first.loaded})
    return Settlement(
        effective=first.effective + last.effective,
        avoided=avoided,
        reasons=reasons,
        instance=last.instance,
        held_seconds=last.held_seconds,
        loaded=plus(first.loaded, last.loaded),
    )


def sum_of(settlements: Sequence[Settlement]) -> Settlement:
    """Several requests of one API call, each of which the baseline road would have run; unknown where one's is."""
    one, *others = settlements
    for other in others:
        avoided = plus(one.avoided, other.avoided)
        one = Settlement(
            effective=plus(one.effective, other.effective),
            avoided=avoided,
            reasons={} if avoided is None else add_reasons(one.reasons, other.reasons),
            instance=plus(one.instance, other.instance),
            held_seconds=plus(one.held_seconds, other.held_seconds),
            loaded=plus(one.loaded, other.loaded),
        )
    return one


def settle_cache_hit(worth: Decimal | None) -> Settlement:
    """Price an answer from the cache: free, and all of it avoided by the cache.

    Args:
        worth: dollars that running the request would have cost on the baseline road; None if unknown.
    """
    reasons = {} if worth is None else {AvoidedReason.CACHE: worth}
    return Settlement(ZERO, worth, reasons, ZERO, ZERO, ZERO)


def with_cached_part(settlement: Settlement, worth: Decimal | None) -> Settlement:
    """Add what a part that came from the cache avoided; unchanged if that, or what the rest avoided, is unknown."""
    if settlement.avoided is None or worth is None:
        return settlement
    reasons = add_reasons(settlement.reasons, {AvoidedReason.CACHE: worth})
    return settlement._replace(avoided=settlement.avoided + worth, reasons=reasons)


def _share(road: Road, held_seconds: Decimal, usage: Usage) -> Decimal | None:
    # Of a provider's call only the end may be known, so its time says nothing.
    if held_seconds == ZERO and (road.tokens is None or usage.output_tokens is None):
        return ZERO
    if road.tokens is not None:
        return _token_share(road.tokens, usage)
    if road.usd_per_hour is None:
        return road.ceiling_usd
    # A transform job's seconds are already divided among its records.
    places = 1 if road.inference_type is InferenceType.BATCH else road.concurrency
    return instance_cost(held_seconds, road.usd_per_hour, places)


def _token_share(backend: "TokenBackend", usage: Usage) -> Decimal | None:
    # Few roads are paid by the token.
    from tollgate.domain.providers.charges import charged_token_cost  # noqa: PLC0415 -- see above

    return charged_token_cost(backend, usage)


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
    return None if baseline is None else _dollars_there(baseline, deployment, taken, held_seconds, usage)


def _dollars_there(
    there: Deployment, deployment: Deployment, taken: Road, held_seconds: Decimal, usage: Usage
) -> Decimal | None:
    """Dollars on another deployment's real-time road, its idle time included; None where no price is known."""
    road = there.roads.get(InferenceType.REALTIME)
    if road is None:
        return None
    if road.tokens is not None:
        return _token_share(road.tokens, usage)
    if road.usd_per_hour is None:
        return None
    time = _seconds_there(there, deployment, taken, held_seconds, usage)
    return usd(instance_cost(time, road.usd_per_hour, road.concurrency) / road.utilisation)


def _seconds_there(
    there: Deployment, deployment: Deployment, taken: Road, held_seconds: Decimal, usage: Usage
) -> Decimal:
    """Seconds that the request would have held a place of another deployment's real-time road."""
    expected = _expected(there, usage)
    if taken.inference_type is InferenceType.BATCH:
        # The record's share contains the job's start-up, which an endpoint that is up does not have.
        return min(held_seconds, expected)
    if taken.tokens is not None:
        # How long a provider took says nothing about an instance.
        return expected
    if there.name == deployment.name:
        return held_seconds
    own = _expected(deployment, usage)
    return held_seconds * expected / own if own > ZERO else held_seconds


def _growth(deployment: Deployment, usage: Usage, input_tokens: int) -> Decimal:
    """How many times as much the request costs, or how many times as long it takes, with this many input tokens."""
    trimmed: Decimal | None
    whole: Decimal | None
    backend = deployment.tokens
    if backend is None:
        trimmed, whole = _expected(deployment, usage), _expected(deployment, usage, input_tokens)
    else:
        trimmed, whole = (_token_share(backend, u) for u in (usage, usage._replace(input_tokens=input_tokens)))
    return whole / trimmed if trimmed and whole is not None else Decimal(1)


def _expected(deployment: Deployment, usage: Usage, input_tokens: int | None = None) -> Decimal:
    tokens = (usage.input_tokens or 0) if input_tokens is None else input_tokens
    return seconds(deployment.timing.expected_seconds(tokens, usage.output_tokens))
