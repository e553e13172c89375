"""The bounds are what they claim: exact for their relaxation, and below what can be done."""

import math
from array import array
from copy import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.bound import Prices, Windows, foreseen_schedule, least_dollars
from planner.waking import Requests, serve_waking
from tollgate.domain.places.wake_by_deadline import SleepingEndpoint

small = st.lists(
    st.tuples(st.integers(0, 60), st.floats(0, 3), st.sampled_from([5.0, 12.0, 40.0]), st.floats(0, 6)),
    min_size=1,
    max_size=6,
)


def columns(rows: list[tuple[int, float, float, float]]) -> tuple["array[float]", ...]:
    return tuple(array("d", column) for column in zip(*sorted(rows), strict=True))


def endpoints_only(count: int, startup: float, later: float = 0.0) -> Prices:
    """Who comes must be served by an endpoint, a dollar a second; waiting for it costs `later` more."""
    return Prices(
        array("d", [math.inf]) * count, array("d", [later]) * count, place_second_usd=0.5, start_usd=startup,
        instance_second_usd=1.0,
    )  # fmt: skip


def cheapest_stretches(windows: list[tuple[float, float]], startup: float, rate: float, later: float = 0.0) -> float:
    """Every set of stretches up that meets all windows is tried; who comes between two of them waits."""
    moments = sorted({moment for window in windows for moment in window})

    def dollars(before: float, begin: float) -> float:
        """Of those who come after `before` and before `begin`; infinite if one of them cannot wait so long."""
        mine = [last for opens, last in windows if before < opens < begin]
        return math.inf if any(last < begin for last in mine) else later * len(mine)

    ends = {-math.inf: 0.0}
    for end in moments:
        ends[end] = min(
            cost + dollars(before, begin) + startup + rate * (end - begin)
            for begin in moments
            if begin <= end
            for before, cost in ends.items()
            if before < begin
        )
    return min(cost + dollars(before, math.inf) for before, cost in ends.items())


@given(small, st.floats(1, 10), st.floats(0, 3))
@settings(max_examples=80, deadline=None)
def test_who_must_be_served_is_served_by_the_cheapest_schedule(
    rows: list[tuple[int, float, float, float]], startup: float, later: float
) -> None:
    """Trying every schedule finds nothing cheaper than the sweep, and the bound is not above it."""
    arrivals, held, deadlines, _ = columns(rows)
    windows = [(a, a + max(0.0, d - h)) for a, h, d in zip(arrivals, held, deadlines, strict=True)]
    best = 0.5 * sum(held) + cheapest_stretches(windows, startup, 1.0, later)
    prices = endpoints_only(len(arrivals), startup, later)
    found = foreseen_schedule(Windows(arrivals, held, deadlines, prices))
    assert found.dollars == pytest.approx(best)
    assert not any(found.elsewhere)
    assert least_dollars(Windows(arrivals, held, deadlines, prices)).dollars <= best + 1e-6


@given(small, st.floats(1, 10))
@settings(max_examples=60, deadline=None)
def test_no_choice_of_served_requests_beats_the_token_bound(
    rows: list[tuple[int, float, float, float]], startup: float
) -> None:
    """Any part served by instances that start as late as possible, the rest by tokens, costs the bound or more."""
    arrivals, held, deadlines, tokens = columns(rows)
    none = array("d", bytes(8 * len(arrivals)))
    prices = Prices(tokens, none, place_second_usd=0.5, start_usd=startup, instance_second_usd=1.0)
    least = least_dollars(Windows(arrivals, held, deadlines, prices)).dollars
    count = len(arrivals)
    for mask in range(1 << count):
        mine = [n for n in range(count) if mask >> n & 1]
        dollars = sum(tokens[n] for n in range(count) if n not in mine)
        if mine:
            windows = [(arrivals[n], arrivals[n] + max(0.0, deadlines[n] - held[n])) for n in mine]
            dollars += cheapest_stretches(windows, startup, 1.0) + 0.5 * sum(held[n] for n in mine)
        assert least <= dollars + 1e-6


@given(st.lists(st.tuples(st.floats(0, 40_000), st.floats(0.1, 50)), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_the_policy_in_time_is_above_the_bound(rows: list[tuple[float, float]]) -> None:
    """The woken endpoint never bills less than the least instance seconds of the endpoint's road."""
    arrivals = array("d", sorted(arrival for arrival, _ in rows))
    held = array("d", [seconds for _, seconds in rows])
    deadlines = array("d", [900.0] * len(rows))
    served = serve_waking(Requests(arrivals, held, deadlines), SleepingEndpoint(300.0, 2, 8))
    assert all(end - arrival <= 900 for end, arrival in zip(served.ends, arrivals, strict=True))
    prices = replace(endpoints_only(len(rows), 300.0), job_usd=240.0, job_seconds=240.0)
    least = least_dollars(Windows(arrivals, held, deadlines, prices))
    assert served.instance_seconds >= least.without_jobs - 1e-6
    assert least.without_jobs >= least.dollars - 1e-6


def test_a_job_serves_only_what_was_there_when_it_was_created() -> None:
    """Two requests whose windows touch only at the end share an endpoint's start, but no transform job."""
    arrivals, held, deadlines = array("d", [0.0, 290.0]), array("d", [0.0, 0.0]), array("d", [300.0, 300.0])
    for job_usd, job_seconds, dollars in ((math.inf, 0.0, 100.0), (60.0, 60.0, 100.0), (5.0, 5.0, 5.0)):
        prices = replace(endpoints_only(2, 100.0), job_usd=job_usd, job_seconds=job_seconds)
        assert least_dollars(Windows(arrivals, held, deadlines, prices)).dollars == pytest.approx(dollars)


@given(small, st.floats(1, 10), st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_schedule_with_tokens_is_the_cheapest_of_all(
    rows: list[tuple[int, float, float, float]], startup: float, later: float
) -> None:
    """Every set of stretches up, between arrivals and last moments, is tried: the sweep finds the cheapest."""
    arrivals, held, deadlines, tokens = columns(rows)
    lasts = [a + max(0.0, d - h) for a, h, d in zip(arrivals, held, deadlines, strict=True)]
    moments = sorted({*arrivals, *lasts})
    prices = Prices(
        tokens, array("d", [later] * len(arrivals)), place_second_usd=0.5, start_usd=startup, instance_second_usd=0.3
    )

    def dollars(before: float, begin: float) -> float:
        """Requests that come after `before` and close, or come, by `begin`, with nobody up between the two."""
        total = 0.0
        for a, last, h, t in zip(arrivals, lasts, held, tokens, strict=True):
            more = max(0.0, t - 0.5 * h)
            if before < a < begin:
                total += more if last < begin else min(later, more)
        return total

    ends = {-math.inf: 0.0}
    for end in moments:
        ends[end] = min(
            cost + dollars(before, begin) + startup + 0.3 * (end - begin)
            for begin in moments
            if begin <= end
            for before, cost in ends.items()
            if before < begin
        )
    best = min(cost + dollars(before, math.inf) for before, cost in ends.items())
    certain = sum(min(t, 0.5 * h) for t, h in zip(tokens, held, strict=True))
    found = foreseen_schedule(Windows(arrivals, held, deadlines, prices))
    assert found.dollars == pytest.approx(certain + best)
    by_token = sum(t for t, mine in zip(tokens, found.elsewhere, strict=True) if mine)
    assert found.dollars >= found.instance_dollars + by_token - 1e-9


@given(small, st.floats(1, 10), st.floats(0, 12))
@settings(max_examples=60, deadline=None)
def test_jobs_serve_who_is_there_and_can_wait_for_them(
    rows: list[tuple[int, float, float, float]], job_usd: float, job_seconds: float
) -> None:
    """Any jobs, for those who came before each and can start once it is ready, cost the bound or more."""
    arrivals, held, deadlines, tokens = columns(rows)
    lasts = [a + max(0.0, d - h) for a, h, d in zip(arrivals, held, deadlines, strict=True)]
    none = array("d", bytes(8 * len(arrivals)))
    prices = Prices(
        tokens, none, place_second_usd=0.5, start_usd=1.5 * job_usd, instance_second_usd=1.0, job_usd=job_usd,
        job_seconds=job_seconds,
    )  # fmt: skip
    least = least_dollars(Windows(arrivals, held, deadlines, prices)).dollars
    moments = sorted({*arrivals, *(max(0.0, last - job_seconds) for last in lasts)})
    for size in range(4):
        for created in combinations(moments, size):
            dollars = size * job_usd
            for a, last, h, t in zip(arrivals, lasts, held, tokens, strict=True):
                served = any(a <= moment and moment + job_seconds <= last for moment in created)
                dollars += min(t, 0.5 * h) if served else t
            assert least <= dollars + 1e-6


moments = st.floats(0, 110)


@given(
    st.lists(st.tuples(small.map(lambda rows: rows[0]), st.booleans()), min_size=1, max_size=6),
    st.lists(st.tuples(moments, st.floats(0, 30)), max_size=3),
    st.lists(moments, max_size=3),
    st.tuples(st.floats(1, 10), st.floats(0, 1), st.floats(0, 3)),
)
@settings(max_examples=150, deadline=None)
def test_no_mixture_of_endpoints_jobs_and_tokens_beats_the_bound(
    drawn: list[tuple[tuple[int, float, float, float], bool]],
    stretches: list[tuple[float, float]],
    created: list[float],
    usd: tuple[float, float, float],
) -> None:
    """Whatever is up and created when, with each request going the cheapest way that is open to it, costs as much."""
    startup, share, later = usd
    arrivals, held, deadlines, tokens = columns([(*row[:3], math.inf if must else row[3]) for row, must in drawn])
    prices = Prices(
        tokens, array("d", [later] * len(arrivals)), place_second_usd=0.5, start_usd=startup, instance_second_usd=1.0,
        job_usd=share * startup, job_seconds=share * startup,
    )  # fmt: skip
    dollars = len(stretches) * startup + len(created) * prices.job_usd
    work = 0.0
    for a, h, d, t in zip(arrivals, held, deadlines, tokens, strict=True):
        last = a + max(0.0, d - h)
        wait = 0.0 if any(begin <= a <= begin + seconds for begin, seconds in stretches) else later
        if any(begin <= last and a <= begin + seconds for begin, seconds in stretches):
            work += 0.5 * h
            dollars += wait
        elif any(a <= moment and moment + prices.job_seconds <= last for moment in created):
            dollars += wait + 0.5 * h
        else:  # by tokens, or by an endpoint of its own
            dollars += min(t, startup + 0.5 * h)
    dollars += max(work, sum(seconds for _, seconds in stretches))
    assert least_dollars(Windows(arrivals, held, deadlines, prices)).dollars <= dollars + 1e-6
