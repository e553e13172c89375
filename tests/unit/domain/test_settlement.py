"""What a finished request cost: each rule of the settlement by itself, with figures that can be reckoned by hand."""

from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.examples import make_catalogue
from tollgate.domain.catalogue import Deployment, InferenceType, Model, Road, Tier, Timing
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.settlement import (
    Settlement,
    baseline_cost,
    settle,
    settle_cache_hit,
    sum_of,
    together,
    with_cached_part,
)
from tollgate.domain.jobs.job import Usage
from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.providers.prices import BucketRates

_HOUR = Decimal(3600)
_UNKNOWN = Settlement(effective=None, avoided=None)
# A dollar for each million input tokens, two for each million output tokens.
_BACKEND = TokenBackend(Provider.BEDROCK, BucketRates(Decimal(1), Decimal(2)), 100)


def _deployment(**road_changes: Any) -> Deployment:
    """At a dollar an hour on every road."""
    deployment = make_catalogue().model("echo").deployments[0]
    changes = {"usd_per_hour": Decimal(1), "utilisation": Decimal(1)} | road_changes
    return replace(deployment, roads={kind: replace(road, **changes) for kind, road in deployment.roads.items()})


def _model(*deployments: Deployment) -> Model:
    return replace(make_catalogue().model("echo"), deployments=deployments)


def _settled(deployment: Deployment, kind: InferenceType, model: Model | None = None, **changes: Any) -> Settlement:
    values: dict[str, Any] = {"held_seconds": _HOUR, "usage": Usage(), "gateway": Decimal(0)} | changes
    return settle(model or _model(deployment), deployment, deployment.roads[kind], **values)


@pytest.mark.parametrize(
    ("kind", "share"),
    [(InferenceType.REALTIME, "0.25"), (InferenceType.ASYNC, "0.25"), (InferenceType.BATCH, "1")],
)
def test_places_of_an_instance_share_its_price(kind: InferenceType, share: str) -> None:
    """Only a transform job's seconds are divided among its records already."""
    assert _settled(_deployment(concurrency=4), kind).instance == Decimal(share)


def test_idle_time_is_in_the_loaded_cost_alone() -> None:
    """The gateway's own work has none."""
    settled = _settled(_deployment(utilisation=Decimal("0.5")), InferenceType.REALTIME, gateway=Decimal("0.125"))
    assert (settled.effective, settled.loaded) == (Decimal("1.125"), Decimal("2.125"))
    assert (settled.instance, settled.held_seconds) == (Decimal(1), _HOUR)


def test_a_road_without_a_price_costs_its_ceiling_and_avoids_what_nobody_knows() -> None:
    """Unless it held nothing, which costs nothing."""
    deployment = _deployment(usd_per_hour=None, ceiling_usd=Decimal("0.5"))
    priced = replace(_deployment(), name="priced", tier=Tier.LARGE)
    settled = _settled(deployment, InferenceType.ASYNC, _model(deployment, priced))
    assert (settled.effective, settled.avoided, settled.reasons) == (Decimal("0.5"), None, {})
    assert _settled(deployment, InferenceType.ASYNC, held_seconds=Decimal(0)).instance == 0


def test_a_baseline_without_a_price_leaves_only_what_was_avoided_unknown() -> None:
    """What was paid is known all the same."""
    baseline = replace(_deployment(usd_per_hour=None), name="large", tier=Tier.LARGE)
    deployment = _deployment()
    settled = _settled(deployment, InferenceType.ASYNC, _model(deployment, baseline))
    assert (settled.effective, settled.avoided, settled.reasons) == (Decimal(1), None, {})
    road = deployment.roads[InferenceType.ASYNC]
    model = _model(deployment, baseline)
    assert baseline_cost(model, deployment, road, held_seconds=_HOUR, usage=Usage()) is None


def test_a_model_without_a_real_time_road_has_no_baseline() -> None:
    """So there is nothing to compare with."""
    deployment = _deployment()
    road = deployment.roads[InferenceType.ASYNC]
    deployment = replace(deployment, roads={InferenceType.ASYNC: road})
    model = _model(deployment)
    assert baseline_cost(model, deployment, road, held_seconds=_HOUR, usage=Usage()) is None
    assert _settled(deployment, InferenceType.ASYNC).avoided is None


def test_a_size_whose_timing_says_nothing_holds_another_one_as_long() -> None:
    """There is no other measure."""
    deployment = replace(_deployment(), timing=Timing(0.0))
    large = replace(_deployment(), name="large", tier=Tier.LARGE, timing=Timing(2.0))
    model = _model(deployment, large)
    road = deployment.roads[InferenceType.ASYNC]
    assert baseline_cost(model, deployment, road, held_seconds=_HOUR, usage=Usage()) == 1
    known = replace(deployment, timing=Timing(1.0))
    assert baseline_cost(_model(known, large), known, road, held_seconds=_HOUR, usage=Usage()) == 2


@pytest.mark.parametrize(("timing", "avoided"), [(Timing(0.0), 0), (Timing(0.0, seconds_per_input_token=1.0), 3)])
def test_trimming_saves_what_the_tokens_would_have_taken(timing: Timing, avoided: int) -> None:
    """Nothing, where the timing does not depend on them."""
    deployment = replace(_deployment(), timing=timing)
    settled = _settled(deployment, InferenceType.REALTIME, usage=Usage(100, 1), untrimmed_input_tokens=400)
    assert settled.avoided == avoided
    assert settled.reasons == ({AvoidedReason.TRIM: Decimal(3)} if avoided else {})


def _paid_by_the_token() -> Deployment:
    road = Road(InferenceType.REALTIME, "", "", usd_per_hour=None, tokens=_BACKEND)
    return replace(_deployment(), roads={InferenceType.REALTIME: road})


def test_tokens_are_paid_for_whatever_the_time() -> None:
    """Of a provider's call only the end may be known, and then its seconds are zero."""
    deployment = _paid_by_the_token()
    for held in (Decimal(0), Decimal(9)):
        settled = _settled(deployment, InferenceType.REALTIME, held_seconds=held, usage=Usage(1_000_000, 1_000_000))
        assert settled.instance == 3
    # A call that took no time and said nothing of its tokens was not made.
    assert _settled(deployment, InferenceType.REALTIME, held_seconds=Decimal(0)).instance == 0
    assert _settled(deployment, InferenceType.REALTIME) == _UNKNOWN


def test_an_estimate_of_the_tokens_is_no_bill() -> None:
    """If the provider did not say, the cost is unknown."""
    usage = Usage(1_000_000, 1_000_000)
    assert _settled(_paid_by_the_token(), InferenceType.REALTIME, usage=usage, reported=False) == _UNKNOWN


def test_trimming_saves_the_tokens_of_a_provider() -> None:
    """At its rates: a million fewer of input are a dollar."""
    usage = Usage(1_000_000, 1_000_000)
    settled = _settled(_paid_by_the_token(), InferenceType.REALTIME, usage=usage, untrimmed_input_tokens=2_000_000)
    assert settled.reasons == {AvoidedReason.TRIM: Decimal(1)}


_FIRST = Settlement(Decimal(1), Decimal(9), {AvoidedReason.ROAD: Decimal(9)}, Decimal(1), Decimal(7), Decimal(2))
_LAST = Settlement(Decimal(3), Decimal(8), {AvoidedReason.ROAD: Decimal(8)}, Decimal(4), Decimal(5), Decimal(6))


def test_two_calls_for_one_answer_are_both_paid_for() -> None:
    """What the first cost counts against the choice of a size; what it avoided would never have been asked."""
    assert together(_FIRST, _LAST) == Settlement(
        effective=Decimal(4),
        avoided=Decimal(6),
        reasons={AvoidedReason.TIER: Decimal(-2), AvoidedReason.ROAD: Decimal(8)},
        instance=Decimal(4),
        held_seconds=Decimal(5),
        loaded=Decimal(8),
    )
    assert together(_UNKNOWN, _LAST) == together(_FIRST, _UNKNOWN) == _UNKNOWN
    for one, other in ((_FIRST._replace(loaded=None), _LAST), (_FIRST, _LAST._replace(avoided=None, reasons={}))):
        both = together(one, other)
        assert (both.effective, both.avoided, both.reasons) == (Decimal(4), None, {})


def test_requests_of_one_call_add_up() -> None:
    """Whatever is unknown of one is unknown of all."""
    assert sum_of([_FIRST]) == _FIRST
    assert sum_of([_FIRST, _LAST]) == Settlement(
        Decimal(4), Decimal(17), {AvoidedReason.ROAD: Decimal(17)}, Decimal(5), Decimal(12), Decimal(8)
    )
    assert sum_of([_FIRST, _UNKNOWN, _LAST]) == _UNKNOWN


def test_a_hit_is_worth_what_it_avoided() -> None:
    """Which may be unknown, but it is free in any case."""
    zero = Decimal(0)
    assert settle_cache_hit(Decimal(2)) == Settlement(
        zero, Decimal(2), {AvoidedReason.CACHE: Decimal(2)}, zero, zero, zero
    )
    assert settle_cache_hit(None) == Settlement(zero, None, {}, zero, zero, zero)
    partly = with_cached_part(_FIRST, Decimal(2))
    assert partly == _FIRST._replace(
        avoided=Decimal(11), reasons={AvoidedReason.ROAD: Decimal(9), AvoidedReason.CACHE: Decimal(2)}
    )
