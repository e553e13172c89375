"""When a sleeping endpoint must wake: as late and as few as keeps every deadline."""

import math
from decimal import Decimal
from heapq import heapreplace

from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.places.wake_by_deadline import (
    DueWork,
    SleepingEndpoint,
    busy_from_the_start,
    decide_start,
    instances_worth_keeping,
    worth_waking,
)

ENDPOINT = SleepingEndpoint(startup_seconds=300.0, concurrency=4, maximum=50)


def test_nothing_waits_nothing_starts() -> None:
    """Without work there is no start, and no moment to look again."""
    decision = decide_start(0.0, [], [], ENDPOINT)
    assert (decision.start, decision.look_again_at) == (0, math.inf)


def test_one_request_wakes_it_at_the_last_moment() -> None:
    """The start-up, the margin and the work are kept free before the latest start, and no more."""
    due = [DueWork(1_000.0, 40.0)]
    early = decide_start(100.0, due, [], ENDPOINT)
    assert (early.start, early.look_again_at) == (0, 1_000.0 - 10.0 - 300.0 - 40.0 / 4)
    assert decide_start(early.look_again_at, due, [], ENDPOINT).start == 1


def test_work_that_takes_no_time_needs_an_instance_as_well() -> None:
    """Measured in whole seconds, short requests take none; somebody has to answer them all the same."""
    due = [DueWork(1_000.0, 0.0)]
    assert decide_start(0.0, due, [], ENDPOINT).look_again_at == 1_000.0 - 10.0 - 300.0
    assert [decide_start(now, due, [], ENDPOINT).start for now in (690.0, 2_000.0)] == [1, 1]
    assert decide_start(690.0, due, [0.0], ENDPOINT).start == 0


def test_an_instance_that_is_up_takes_what_it_can() -> None:
    """Work that fits into the instance that serves starts no other; more than that does at its last moment."""
    assert decide_start(0.0, [DueWork(1_000.0, 3_900.0)], [0.0], ENDPOINT).look_again_at == math.inf
    more = decide_start(0.0, [DueWork(1_000.0, 4_960.0)], [0.0], ENDPOINT)
    assert (more.start, more.look_again_at) == (0, 990.0 - 300.0 - 1_000.0 / 4)


def test_an_instance_that_is_still_starting_takes_less() -> None:
    """It serves from when it is ready; one that will be ready too late takes nothing, nor what others could do."""
    starting = decide_start(0.0, [DueWork(1_000.0, 2_200.0)], [400.0], ENDPOINT)
    assert (starting.start, starting.look_again_at) == (0, math.inf)
    assert decide_start(0.0, [DueWork(1_000.0, 2_400.0)], [400.0], ENDPOINT).look_again_at == 690.0 - 40.0 / 4
    assert decide_start(0.0, [DueWork(1_000.0, 400.0)], [2_000.0], ENDPOINT).look_again_at == 690.0 - 400.0 / 4
    assert decide_start(500.0, [DueWork(1_000.0, 1_960.0)], [0.0], ENDPOINT).look_again_at == math.inf
    assert decide_start(500.0, [DueWork(1_000.0, 2_000.0)], [0.0], ENDPOINT).look_again_at == 690.0 - 40.0 / 4


def test_what_is_lost_already_starts_one_and_no_crowd() -> None:
    """A deadline that start-up alone overruns wakes one instance if there is none, never many."""
    due = [DueWork(100.0, 10_000.0)]
    assert decide_start(0.0, due, [], ENDPOINT).start == 1
    assert decide_start(0.0, due, [50.0], ENDPOINT).start == 0


def test_never_more_than_the_maximum() -> None:
    """A rush asks for what is left of the maximum."""
    endpoint = SleepingEndpoint(300.0, 1, 3)
    assert decide_start(0.0, [DueWork(400.0, 90_000.0)], [0.0], endpoint).start == 2


@given(st.lists(st.tuples(st.floats(320, 5_000), st.floats(0.1, 60)), min_size=1, max_size=40), st.integers(1, 5))
def test_what_starts_when_told_is_in_time(rows: list[tuple[float, float]], places: int) -> None:
    """Serving by latest start on the instances that were asked for, each request starts before its latest start."""
    endpoint = SleepingEndpoint(300.0, places, 1_000)
    due = [DueWork(latest, work) for latest, work in sorted(rows)]
    decision = decide_start(0.0, due, [], endpoint)
    began = 0.0 if decision.start else decision.look_again_at
    count = decision.start or decide_start(began, due, [], endpoint).start
    assert count >= 1
    free = [began + 300.0] * (count * places)
    for entry in due:
        assert free[0] <= entry.latest_start_at + 1e-6
        heapreplace(free, free[0] + entry.place_seconds)


def test_steady_traffic_keeps_instances_and_thin_traffic_does_not() -> None:
    """Idling for the quiet time is compared with a start: 0.7 busy of 870 s idles 261 s, less than a start of 300 s."""
    assert instances_worth_keeping(0.7, 870.0, 300.0) == 1
    assert instances_worth_keeping(0.6, 870.0, 300.0) == 0
    assert instances_worth_keeping(2.1, 870.0, 300.0) == 2


def test_enough_work_for_a_start_need_not_wait_for_more() -> None:
    """Four places are busy for a start of 300 s with 1,200 seconds of work, and not with less."""
    assert busy_from_the_start(1_200.0, ENDPOINT)
    assert not busy_from_the_start(1_199.0, ENDPOINT)


def test_a_start_pays_when_it_saves_its_price_or_is_needed_anyway() -> None:
    """Ten cents saved do not pay for a start of twelve, unless half of that start is owed to others."""
    assert not worth_waking(Decimal("0.10"), Decimal("0.12"))
    assert worth_waking(Decimal("0.12"), Decimal("0.12"))
    assert worth_waking(Decimal("0.10"), Decimal("0.12"), needed_anyway=0.5)
