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
    if work.instances + more < ENDPOINT.maximum and limit > 2 * ENDPOINT.startup_seconds:
        assert work.place_seconds / ENDPOINT.concurrency <= able + 1e-6


@given(work=_WORK)
def test_nothing_is_added_that_cannot_help(work: GivenWork) -> None:
    """What is done before another instance is up, or in time without it, needs none; nor do the patient."""
    soon = replace(work, place_seconds=min(work.place_seconds, 300.0 * ENDPOINT.concurrency * work.instances))
    assert instances_to_add(soon, ENDPOINT) == 0
    assert instances_to_add(replace(work, patience_seconds=math.inf), ENDPOINT) == 0
