"""What was avoided is told in parts whose sum is the whole."""

from copy import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.examples import make_catalogue
from tollgate.domain.catalogue import Deployment, InferenceType, Model, Tier, Timing
from tollgate.domain.costs.avoided import AvoidedReason, add_reasons, avoided_by_reason
from tollgate.domain.costs.settlement import Settlement, baseline_cost, settle, settle_cache_hit, with_cached_part
from tollgate.domain.jobs.job import Usage

GATEWAY = Decimal("0.000004")
DOLLARS = st.decimals(min_value=0, max_value=100, places=12)
MEASURES = st.lists(
    st.tuples(st.sampled_from(AvoidedReason), DOLLARS), min_size=1, unique_by=lambda measure: measure[0]
)
SECONDS = st.decimals(min_value=0, max_value=900, places=6)
ROADS = st.sampled_from(InferenceType)
TOKENS = st.none() | st.integers(0, 20_000)


def two_sizes() -> tuple[Model, Deployment, Deployment]:
    """A model with a small and a large deployment; one token costs the large one four times as long."""
    model = make_catalogue().model("echo")
    small = replace(model.deployments[0], timing=Timing(0.1, seconds_per_input_token=0.001))
    roads = {
        kind: replace(road, usd_per_hour=Decimal("1.2"), target=f"{road.target}-l")
        for kind, road in small.roads.items()
    }
    timing = Timing(0.4, seconds_per_input_token=0.004)
    large = replace(small, name="large", tier=Tier.LARGE, roads=roads, timing=timing)
    return replace(model, deployments=(small, large)), small, large


@given(DOLLARS, MEASURES)
def test_the_parts_sum_to_the_whole(baseline: Decimal, costs: list[tuple[AvoidedReason, Decimal]]) -> None:
    """To the last decimal place, whatever the measures did; what changed nothing is no part."""
    parts = avoided_by_reason(baseline, costs)
    assert sum(parts.values()) == baseline - costs[-1][1]
    assert all(parts.values())


@given(ROADS, st.booleans(), SECONDS, TOKENS, TOKENS)
def test_every_settlement_explains_what_it_avoided(
    road: InferenceType, large: bool, held: Decimal, tokens: int | None, before: int | None
) -> None:
    """On every road, in every size, trimmed or not; and again when its answer comes from the cache."""
    model, *sizes = two_sizes()
    deployment = sizes[large]
    settled = settle(
        model,
        deployment,
        deployment.roads[road],
        held_seconds=held,
        usage=Usage(tokens, 10),
        gateway=GATEWAY,
        untrimmed_input_tokens=before,
    )
    assert sum(settled.reasons.values()) == settled.avoided
    worth = baseline_cost(model, deployment, deployment.roads[road], held_seconds=held, usage=Usage(tokens, 10))
    hit = settle_cache_hit(worth)
    assert sum(hit.reasons.values()) == hit.avoided == worth
    partly = with_cached_part(settled, worth)
    assert sum(partly.reasons.values()) == partly.avoided


def test_each_measure_has_its_reason() -> None:
    """Half the tokens, the small size and a transform job: three reasons, and the road has none of it."""
    model, small, _ = two_sizes()
    road = small.roads[InferenceType.BATCH]
    settled = settle(
        model,
        small,
        road,
        held_seconds=Decimal("0.6"),
        usage=Usage(500, 10),
        gateway=GATEWAY,
        untrimmed_input_tokens=1_000,
    )
    assert set(settled.reasons) == {AvoidedReason.TRIM, AvoidedReason.TIER, AvoidedReason.BATCH}
    # Large, real-time, utilisation a quarter: min(0.6, 2.4 s) x 1.2 / 3600 / 0.25, of which trimming saved 2.0 / 2.4.
    assert settled.reasons[AvoidedReason.TRIM] == Decimal("0.000666666667")
    assert settled.reasons[AvoidedReason.TIER] == Decimal("0.000723333332")  # the share is rounded first


def test_on_the_baseline_itself_only_the_gateway_is_left() -> None:
    """It costs what it adds, and says so under `road`."""
    model, _, large = two_sizes()
    road = large.roads[InferenceType.REALTIME]
    settled = settle(model, large, road, held_seconds=Decimal(1), usage=Usage(), gateway=GATEWAY)
    assert settled.reasons == {AvoidedReason.ROAD: -GATEWAY}


def test_a_size_without_a_real_time_road_is_not_told_apart() -> None:
    """What its smaller size saves there cannot be known, so the road has both."""
    model, small, large = two_sizes()
    only_async = replace(small, roads={InferenceType.ASYNC: small.roads[InferenceType.ASYNC]})
    model = replace(model, deployments=(only_async, large))
    road = only_async.roads[InferenceType.ASYNC]
    settled = settle(model, only_async, road, held_seconds=Decimal(1), usage=Usage(100, 1), gateway=GATEWAY)
    assert set(settled.reasons) == {AvoidedReason.ROAD}


@pytest.mark.parametrize("price", [None, Decimal("0.115")])
def test_unknown_is_not_zero(price: Decimal | None) -> None:
    """Without a price there is neither a sum nor a part; a hit on such an answer avoids what is known."""
    model, small, _ = two_sizes()
    road = replace(small.roads[InferenceType.REALTIME], usd_per_hour=price, ceiling_usd=Decimal("0.01"))
    settled = settle(model, small, road, held_seconds=Decimal(1), usage=Usage(), gateway=GATEWAY)
    assert (settled.avoided is None) == (price is None)
    assert bool(settled.reasons) == (price is not None)
    assert settle_cache_hit(None).avoided is None
    assert with_cached_part(settled, None) == settled
    assert with_cached_part(Settlement(None, None), GATEWAY).avoided is None


def test_reasons_add_up() -> None:
    """Each with its own kind, in the order of the reasons."""
    one, other = {AvoidedReason.ROAD: Decimal(1)}, {AvoidedReason.TRIM: Decimal(2), AvoidedReason.ROAD: Decimal(3)}
    assert add_reasons(one, other) == {AvoidedReason.TRIM: Decimal(2), AvoidedReason.ROAD: Decimal(4)}
