"""Random small worlds: nobody is lost, money adds up, and the bound stays below every design that is in time."""

import math
from array import array
from copy import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.bound import Prices, Windows, least_dollars
from planner.comparison import compare
from planner.designs import standard_designs
from planner.outcome import replay
from planner.serving import Metric, Scaling, serve
from planner.trace import Trace
from planner.waking import Requests, serve_waking
from planner.world import World, price_book
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.places.wake_by_deadline import SleepingEndpoint

WORLD = World.of("ml.g5.2xlarge")
TOKENS = replace(WORLD, tokens=price_book().tokens["meta.llama3-1-8b-instruct-v1:0"].rates)

requests = st.lists(
    st.tuples(
        st.floats(0, 20_000),
        st.integers(0, 5_000),
        st.integers(0, 900),
        st.sampled_from([30.0, 900.0, 5_000.0, 86_400.0]),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=60,
)


def made(rows: list[tuple[float, int, int, float, int]]) -> Trace:
    trace = Trace(group_names=["all"])
    for arrival, read, written, deadline, prompt in sorted(rows):
        trace.append(arrival, read, written, deadline=deadline, prompt=prompt, priority=prompt % 3)
    return trace


@given(requests)
@settings(max_examples=40, deadline=None)
def test_every_request_ends_once_and_the_parts_add_up(rows: list[tuple[float, int, int, float, int]]) -> None:
    """By every design, each request is counted on one road, and the bill's parts are the total."""
    trace = made(rows)
    comparison = compare(trace, WORLD)
    assert len(comparison.outcomes) == len(standard_designs(WORLD, 1.0, {30.0}))
    for outcome in comparison.outcomes:
        assert sum(outcome.counts.values()) == len(trace) == outcome.requests
        assert sum(outcome.bill.values(), Decimal(0)) == outcome.total
        assert all(part >= 0 for part in outcome.bill.values())
        assert 0 <= outcome.utilisation <= 1 + 1e-9


@given(requests)
@settings(max_examples=40, deadline=None)
def test_no_design_in_time_beats_the_bound(rows: list[tuple[float, int, int, float, int]]) -> None:
    """The clairvoyant bound is at most the bill of every design of the gateway that kept all deadlines."""
    trace = made(rows)
    comparison = compare(trace, WORLD)
    for design, outcome in zip(standard_designs(WORLD, 1.0, {30.0}), comparison.outcomes, strict=True):
        if design.gateway and not outcome.missed and "cache" not in outcome.counts:
            assert outcome.total >= comparison.bounds_of(outcome).least - Decimal("0.000001")


@given(requests)
@settings(max_examples=40, deadline=None)
def test_beside_tokens_nobody_is_lost_or_late_and_the_bound_holds(
    rows: list[tuple[float, int, int, float, int]],
) -> None:
    """Shared by instances, jobs and tokens, each request ends once, in time, and for no less than the bound."""
    trace = made(rows)
    comparison = compare(trace, TOKENS)
    for outcome in comparison.outcomes:
        assert sum(outcome.counts.values()) == len(trace)
        assert sum(outcome.bill.values(), Decimal(0)) == outcome.total
        if "tokens" in outcome.design and "cache" not in outcome.counts:
            assert not outcome.missed
            assert outcome.total >= comparison.bounds_of(outcome).least - Decimal("0.000001")


@given(requests, st.integers(1, 4), st.integers(0, 2), st.sampled_from(list(Metric)))
@settings(max_examples=60, deadline=None)
def test_places_are_never_shared_by_more_than_there_are(
    rows: list[tuple[float, int, int, float, int]], concurrency: int, minimum: int, metric: Metric
) -> None:
    """At no moment are more requests in work than the most instances there were have places; none ends too early."""
    trace = made(rows)
    held = WORLD.held(trace)
    scaling = Scaling(minimum, 3, metric, 2.0)
    served = serve(trace.arrivals, held, concurrency=concurrency, scaling=scaling, horizon=0.0)
    assert len(served.ends) == len(trace)
    edges = sorted(
        edge
        for end, seconds in zip(served.ends, held, strict=True)
        for edge in ((round(end - seconds, 6), 1), (round(end, 6), -1))
    )
    in_work = most = 0
    for _, change in edges:
        in_work += change
        most = max(most, in_work)
    assert most <= served.peak * concurrency
    waits = (e - s - a for e, s, a in zip(served.ends, held, trace.arrivals, strict=True))
    assert all(wait >= -1e-6 for wait in waits)
    assert served.instance_seconds * concurrency >= sum(held) - 1e-3


@given(requests)
@settings(max_examples=60, deadline=None)
def test_the_woken_endpoint_serves_everybody_within_its_paid_time(
    rows: list[tuple[float, int, int, float, int]],
) -> None:
    """A sleeping endpoint answers every request after it came, and bills at least its work and its start-ups."""
    trace = made(rows)
    held = WORLD.held(trace)
    served = serve_waking(Requests(trace.arrivals, held, trace.deadlines), SleepingEndpoint(300.0, 2, 3))
    pairs = zip(served.ends, held, trace.arrivals, strict=True)
    assert all(end - seconds - arrival >= -1e-6 for end, seconds, arrival in pairs)
    assert served.instance_seconds >= served.startup_seconds + sum(held) / 2 - 1e-3


def test_littles_law_holds_at_a_steady_endpoint() -> None:
    """Mean number in the system, counted by looking, is arrival rate times mean time in the system."""
    gap, count = 2.0, 5_000
    arrivals = array("d", [gap * n for n in range(count)])
    held = array("d", [1.0 + 4.5 * (n * 7919 % 97) / 97 for n in range(count)])
    scaling = Scaling(1, 1)
    served = serve(arrivals, held, concurrency=2, scaling=scaling, horizon=0.0)
    looks = [500 + 6.9713 * n for n in range(1_300)]  # at no fixed phase of the arrivals
    in_system = [sum(1 for a, e in zip(arrivals, served.ends, strict=True) if a <= look < e) for look in looks]
    mean_seconds = sum(e - a for a, e in zip(arrivals, served.ends, strict=True)) / count
    assert sum(in_system) / len(in_system) == pytest.approx(mean_seconds / gap, rel=0.03)


def test_the_gateways_part_is_the_sum_over_its_requests() -> None:
    """The bill's gateway part equals adding up the domain's figure request by request."""
    trace = Trace(group_names=["all"])
    for n in range(50):
        trace.append(400.0 * n, 900 + 50 * n, 20, deadline=900.0, priority=2)
    design = next(d for d in standard_designs(WORLD, 1.0, {900.0}) if d.name == "async only")
    rates = gateway_rates(WORLD.prices)
    one_by_one = sum(
        (rates.expected(InferenceType.ASYNC, 4 * tokens + 200, 1.0) for tokens in trace.input_tokens), Decimal(0)
    )
    assert replay(trace, design, WORLD).bill["gateway"] == pytest.approx(one_by_one, abs=Decimal("1E-9"))


def test_an_always_on_instance_costs_its_hours() -> None:
    """The baseline's bill is the list price times the hours billed, and nothing else."""
    trace = Trace(group_names=["all"])
    trace.append(10.0, 100, 10, deadline=60.0)
    outcome = compare(trace, WORLD, horizon=36_000.0).baseline
    assert outcome.bill == {"realtime instances": WORLD.usd_per_hour * 10}


def test_the_bound_counts_a_start_for_windows_far_apart() -> None:
    """Two requests a day apart need two start-ups and their work; an instance kept up between them would cost more."""
    assert _least([0.0, 86_400.0], [16.0, 16.0], 16) == pytest.approx(2 * 240.0 + 2.0, abs=0.1)


def test_the_bound_bridges_windows_that_are_close() -> None:
    """Windows that lie a few seconds apart share one start-up and the time between them."""
    assert _least([0.0, 100.0], [0.0, 0.0], 1) == pytest.approx(240.0 + 40.0)


def _least(arrivals: list[float], held: list[float], places: int) -> float:
    """Instance seconds at least, with start-ups of 240 s and a minute for each request."""
    none = array("d", bytes(8 * len(arrivals)))
    prices = Prices(array("d", [math.inf]) * len(arrivals), none, 1.0 / places, 240.0, 1.0)
    return least_dollars(
        Windows(array("d", arrivals), array("d", held), array("d", [60.0] * len(arrivals)), prices)
    ).dollars
