"""Roll-ups are exactly the sum of their records, however they are put together."""

from collections.abc import Sequence
from copy import replace
from datetime import timedelta
from decimal import Decimal
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.examples import make_catalogue
from tests.fakes.usage import DIMENSIONS, NOON, make_record
from tollgate.domain.cache.entry import CacheOutcome
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.loaded_cost import Endpoint, endpoints_of, load_hour
from tollgate.domain.costs.usage import (
    Dimensions,
    Totals,
    UsageRecord,
    gathered,
    roll_up,
    sum_of,
    totals_of,
)
from tollgate.domain.jobs.job import Usage
from tollgate.domain.roads.latency import ERROR, bucket_of, histogram_of, histogram_text, merge, quantile
from tollgate.domain.spans import SLICE, day_of, hour_of, month_of, slice_of

LATENCIES = st.lists(st.floats(0.1, 3_600_000), min_size=1, max_size=200)
DOLLARS = st.decimals(min_value=0, max_value=10, places=12)
DIMENSIONS_OF = st.builds(
    DIMENSIONS._replace,
    tenant=st.sampled_from(["acme", "other"]),
    deployment=st.sampled_from(["small", "large"]),
    inference_type=st.sampled_from(["realtime", "async"]),
)
RECORDS = st.lists(
    st.builds(
        make_record,
        request_id=st.uuids().map(str),
        ended_at=st.integers(0, 3_599).map(lambda second: NOON + timedelta(seconds=second)),
        dimensions=DIMENSIONS_OF,
        outcome=st.sampled_from(["completed", "failed", "rejected"]),
        effective=DOLLARS,
        charged=DOLLARS,
        instance=DOLLARS,
        avoided=st.dictionaries(st.sampled_from(AvoidedReason), DOLLARS),
        usage=st.builds(Usage, *[st.none() | st.integers(0, 9)] * 3),
        cache=st.sampled_from(["", *CacheOutcome]),
    ),
    max_size=40,
)


@given(LATENCIES, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_within_the_stated_error(latencies: list[float], share: float) -> None:
    """Of the very request that has the rank, whatever the distribution."""
    histogram = merge({bucket_of(milliseconds): 1} for milliseconds in latencies)
    exact = sorted(latencies)[ceil(share * len(latencies) - 1e-9) - 1]
    told = quantile(histogram, share)
    assert told is not None
    assert abs(told - exact) <= exact * ERROR * (1 + 1e-9)


@given(LATENCIES, LATENCIES)
def test_merging_loses_nothing(one: list[float], other: list[float]) -> None:
    """Two histograms together are the histogram of all requests, stored or not."""
    parts = [merge({bucket_of(ms): 1} for ms in latencies) for latencies in (one, other)]
    stored = [histogram_of(histogram_text(part)) for part in parts]
    assert merge(stored) == merge({bucket_of(ms): 1} for ms in (*one, *other))


def test_what_is_no_latency_has_a_place_too() -> None:
    """Nothing is the least, a year is the most, and no request has no quantile."""
    assert bucket_of(0) == bucket_of(0.1)
    assert bucket_of(1e12) == bucket_of(30 * 86_400_000)
    assert quantile({}, 0.5) is None


@given(RECORDS)
def test_slices_gather_to_the_hour(records: list[UsageRecord]) -> None:
    """To the last decimal place, in every dimension; a record that comes twice counts once."""
    slices = [
        row
        for number in range(12)
        for row in roll_up(
            [r for r in (*records, *records) if slice_of(r.ended_at) == NOON + number * SLICE], NOON + number * SLICE
        )
    ]
    hour = gathered(slices, NOON)
    assert hour == roll_up(records, NOON)
    total = sum_of(hour)
    assert total == sum_of(slices)
    assert total.effective == sum((r.effective or 0 for r in records), Decimal(0))
    assert total.charged == sum((r.charged for r in records), Decimal(0))
    assert total.avoided_total == sum((sum(r.avoided.values()) for r in records), Decimal(0))
    assert total.requests == sum(total.latencies.values()) == len(records)


def test_one_record_of_each_kind() -> None:
    """What counts as what: unknown is counted as unknown and never as zero."""
    failed = totals_of(make_record(outcome="failed", effective=None, charged=Decimal(3)))
    assert (failed.errors, failed.unknown_costs, failed.charged) == (1, 0, Decimal(3))
    assert failed.unknown_tokens == failed.effective == 0
    rejected = totals_of(make_record(outcome="rejected", dimensions=DIMENSIONS._replace(deployment=""), effective=None))
    assert (rejected.rejected, rejected.errors, rejected.unknown_costs) == (1, 0, 0)
    tokens = totals_of(make_record(usage=Usage(5, 7, 2)))
    assert (tokens.input_tokens, tokens.output_tokens, tokens.cached_input_tokens) == (5, 7, 2)
    unknown = totals_of(make_record(effective=None, usage=Usage(0, None)))
    assert (unknown.errors, unknown.unknown_costs, unknown.unknown_tokens) == (0, 1, 1)
    told = totals_of(make_record(usage=Usage(0, 0), cache="hit"))
    assert (told.unknown_tokens, told.cache_hits, told.rejected) == (0, 1, 0)
    kinds = [totals_of(make_record(cache=state)) for state in (*CacheOutcome, "")]
    assert [each.cache_hits for each in kinds] == [1, 1, 1, 0, 0, 0]
    assert [dict(each.cache) for each in kinds] == [*({state: 1} for state in CacheOutcome), {}]
    file = totals_of(make_record(requests=50, errors=3, latency_seconds=None))
    assert (file.requests, file.errors, file.latencies) == (50, 3, {})
    assert totals_of(make_record(requests=50, latency_seconds=0.2)).latencies == {bucket_of(200): 50}
    assert totals_of(make_record(requests=0, cache="hit")).cache == {}


ENDPOINT = Endpoint("e", "", (("echo", "small", "realtime"), ("echo", "large", "realtime")), Decimal("1.20"), 2)


@given(RECORDS, st.decimals(min_value=0, max_value=20, places=3))
def test_loaded_costs_sum_to_the_price(records: Sequence[UsageRecord], up: Decimal) -> None:
    """The endpoint's price and everything else that was paid, to the cent, whoever ran on it."""
    rows = roll_up(records, NOON)
    loaded, (seen,) = load_hour(rows, NOON, {ENDPOINT: up})
    others = sum((row.totals.effective - row.totals.instance for row in rows), Decimal(0))
    elsewhere = sum((row.totals.instance for row in rows if row.dimensions.inference_type == "async"), Decimal(0))
    total = sum_of(loaded).loaded if loaded else Decimal(0)
    assert total == seen.paid + others + elsewhere
    assert seen.paid == seen.idle + seen.used


def test_idle_time_is_borne_by_instance_time() -> None:
    """One request held twice as long as the other, so it bears twice as much."""
    long = make_record("1", instance=Decimal("0.2"), effective=Decimal("0.21"), held_seconds=Decimal(1_200))
    short = make_record(
        "2",
        instance=Decimal("0.1"),
        effective=Decimal("0.11"),
        held_seconds=Decimal(600),
        dimensions=DIMENSIONS._replace(deployment="large"),
    )
    loaded, (seen,) = load_hour(roll_up([long, short], NOON), NOON, {ENDPOINT: Decimal(1)})
    by_size = {row.dimensions.deployment: row.totals.loaded for row in loaded}
    assert by_size == {"small": Decimal("0.81"), "large": Decimal("0.41")}
    assert (seen.idle, seen.utilisation) == (Decimal("0.9"), Decimal("0.25"))


def test_an_endpoint_that_nobody_used_stands_for_itself() -> None:
    """Its price is a row without requests; one that was not up is none."""
    (row,), (seen,) = load_hour((), NOON, {ENDPOINT: Decimal("0.5")})
    assert (row.totals.requests, row.totals.loaded, row.dimensions.deployment) == (0, Decimal("0.6"), "small")
    assert (seen.idle, seen.utilisation) == (Decimal("0.6"), Decimal(0))
    assert load_hour((), NOON, {ENDPOINT: Decimal(0)})[0] == ()
    assert load_hour((), NOON, {ENDPOINT: Decimal(0)})[1][0].utilisation is None


def test_unknown_hours_leave_the_loaded_cost_unknown() -> None:
    """Of what ran there, and so of every sum that it is in."""
    loaded, seen = load_hour(roll_up([make_record()], NOON), NOON, {ENDPOINT: None})
    assert loaded[0].totals.loaded is None
    assert seen == ()
    known = replace(loaded[0], totals=Totals(loaded=Decimal(1)))
    assert sum_of([known, known]).loaded == 2
    assert sum_of([known, *loaded, known]).loaded is None
    assert sum_of([]).loaded is None


def test_a_request_that_held_nothing_bears_no_idle_time() -> None:
    """Neither what a cache answered, nor anything else without instance time, wherever it stands in the list."""
    hit = make_record("2", instance=None, held_seconds=None, dimensions=DIMENSIONS._replace(key_id="key_9"))
    rows = roll_up([make_record("1"), hit], NOON)
    loaded, (seen,) = load_hour(rows, NOON, {ENDPOINT: Decimal(1)})
    by_key = {row.dimensions.key_id: row.totals.loaded for row in loaded}
    assert by_key == {"key_1": Decimal("0.000012") + seen.idle, "key_9": Decimal("0.000012")}
    loaded, _ = load_hour(rows, NOON, {ENDPOINT: None})
    assert {row.dimensions.key_id: row.totals.loaded for row in loaded} == {"key_1": None, "key_9": Decimal("0.000012")}


def test_each_endpoint_bears_its_own_idle_time() -> None:
    """Whatever is not known, or not used, of those before it."""
    road = ("echo", "large", "realtime")
    unknown, unused, used = (replace(ENDPOINT, target=name, roads=()) for name in ("unknown", "unused", "used"))
    used = replace(used, roads=(road,))
    unknown = replace(unknown, roads=(("echo", "huge", "realtime"),))
    unused = replace(unused, roads=(("echo", "idle", "async"),), variant="blue")
    record = make_record(dimensions=DIMENSIONS._replace(deployment="large"))
    hours = {unknown: None, unused: Decimal(1), used: Decimal(1)}
    loaded, seen = load_hour(roll_up([record], NOON), NOON, hours)
    assert [hour.endpoint.target for hour in seen] == ["unused", "used"]
    busy, idle = loaded
    assert busy.totals.loaded == Decimal("0.000012") + seen[1].idle
    assert idle.dimensions == Dimensions("", "", "", "echo", "async", "idle", "blue")
    assert (idle.start, idle.totals) == (NOON, Totals(loaded=seen[0].paid))


def test_endpoints_are_those_that_are_up_and_have_a_price() -> None:
    """Each once, with all roads that lead there; a transform job's instances are none."""
    model = make_catalogue().model("echo")
    (small,) = model.deployments
    realtime, asynchronous = (small.roads[kind] for kind in (InferenceType.REALTIME, InferenceType.ASYNC))
    blue = replace(realtime, target_variant="blue", usd_per_hour=Decimal(2), concurrency=3)
    shared = replace(asynchronous, target=realtime.target)
    unpriced = replace(realtime, target="elsewhere", usd_per_hour=None)
    deployments = (
        replace(small, name="one", roads={InferenceType.REALTIME: unpriced, InferenceType.ASYNC: shared}),
        replace(
            small,
            name="two",
            roads={InferenceType.ASYNC: shared, InferenceType.BATCH: small.roads[InferenceType.BATCH]},
        ),
        replace(small, name="three", roads={InferenceType.REALTIME: blue}),
    )
    catalogue = replace(make_catalogue(), models={"echo": replace(model, deployments=deployments)})
    assert endpoints_of(catalogue) == (
        Endpoint(
            realtime.target,
            "",
            (("echo", "one", "async"), ("echo", "two", "async")),
            Decimal("0.115"),
            asynchronous.concurrency,
        ),
        Endpoint(realtime.target, "blue", (("echo", "three", "realtime"),), Decimal(2), 3),
    )


def test_spans_are_of_the_calendar() -> None:
    """In UTC, whatever the zone of the moment."""
    moment = NOON + timedelta(minutes=7, seconds=3)
    assert slice_of(moment) == NOON + timedelta(minutes=5)
    assert hour_of(moment) == NOON
    assert day_of(moment) == month_of(moment) == NOON.replace(hour=0)
