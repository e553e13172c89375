"""When an endpoint that gathers takes no more work, and when it needs another instance."""

import math
from copy import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.places.gathering import GivenWork, instances_to_add, takes_no_more
from tollgate.domain.places.wake_by_deadline import SleepingEndpoint

ENDPOINT = SleepingEndpoint(startup_seconds=300.0, concurrency=16, maximum=8, margin_seconds=42.0)

_WORK = st.builds(
    GivenWork,
    instances=st.integers(1, 8),
    count=st.integers(1, 20_000),
    place_seconds=st.floats(1.0, 1e6),
    patience_seconds=st.floats(60.0, 1e5),
)


def test_with_nothing_to_do_it_takes_no_more() -> None:
    """However many instances it has; but not while something is on its way to it."""
    for instances in (1, 8):
        assert takes_no_more(GivenWork(instances), ENDPOINT)
    assert not takes_no_more(GivenWork(1, 1, 4.0, on_the_way=True), ENDPOINT)


@pytest.mark.parametrize(("count", "closes"), [(1, True), (10, True), (12, False), (16, False)])
def test_a_busy_endpoint_stays(count: int, closes: bool) -> None:
    """With 900 s until the next must start, sleeping pays if a third of an instance or more is idle: 300 s of start."""
    assert takes_no_more(GivenWork(1, count, 4.0 * count, 900.0), ENDPOINT) is closes


@given(work=_WORK)
def test_who_waits_for_a_place_keeps_it_open(work: GivenWork) -> None:
    """More requests than places means that one of them waits."""
    if work.count > work.instances * ENDPOINT.concurrency:
        assert not takes_no_more(work, ENDPOINT)


@given(work=_WORK)
def test_with_what_is_added_a_request_that_comes_now_is_in_time(work: GivenWork) -> None:
    """All that is ahead of it fits before its latest start, the new instances' own start counted; never above most."""
    more = instances_to_add(work, ENDPOINT)
    assert 0 <= more <= max(0, ENDPOINT.maximum - work.instances)
    limit = work.patience_seconds - work.place_seconds / work.count - ENDPOINT.margin_seconds
    able = work.instances * limit + more * (limit - ENDPOINT.startup_seconds)
    if limit > 2 * ENDPOINT.startup_seconds:
        if work.instances + more < ENDPOINT.maximum:
            assert work.place_seconds / ENDPOINT.concurrency <= able + 1e-6
        if more:
            assert work.place_seconds / ENDPOINT.concurrency > able - (limit - ENDPOINT.startup_seconds) - 1e-6


@pytest.mark.parametrize(("seconds", "more"), [(870, 3), (900.5, 4), (10_000, 7)])
def test_work_that_will_be_late_gets_what_does_it_within_another_start(seconds: float, more: int) -> None:
    """Nothing is up before the deadline of a request that had none to spare; the requests that follow find it done."""
    assert instances_to_add(GivenWork(1, 3_600, 16 * seconds, 0.0), ENDPOINT) == more


@given(work=_WORK, startup=st.sampled_from([0.0, 0.5]), patience=st.floats(0.0, 100.0))
def test_a_start_said_to_take_no_time_can_be_planned_with(work: GivenWork, startup: float, patience: float) -> None:
    """As where the catalogue says nothing, and the only start so far took several tries; also for who is late."""
    endpoint = replace(ENDPOINT, startup_seconds=startup)
    more = instances_to_add(replace(work, patience_seconds=patience), endpoint)
    assert 0 <= more <= endpoint.maximum - work.instances
    assert instances_to_add(GivenWork(1, 1, 10.0, 0.0), endpoint) == 0


@given(work=_WORK)
def test_nothing_is_added_that_cannot_help(work: GivenWork) -> None:
    """What is done before another instance is up, or in time without it, needs none; nor do the patient."""
    soon = replace(work, place_seconds=min(work.place_seconds, 300.0 * ENDPOINT.concurrency * work.instances))
    assert instances_to_add(soon, ENDPOINT) == 0
    assert instances_to_add(replace(work, patience_seconds=math.inf), ENDPOINT) == 0
