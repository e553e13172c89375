"""What waits, kept in groups, leads to the same decisions as looking at every request."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.waiting import Waiting
from tollgate.domain.places.wake_by_deadline import DueWork, SleepingEndpoint, decide_start

ENDPOINT = SleepingEndpoint(300.0, 4, 50)

rows = st.lists(st.tuples(st.floats(0, 90_000), st.floats(0.1, 400)), min_size=1, max_size=60)


def filled(entries: list[tuple[float, float]]) -> Waiting:
    waiting = Waiting()
    for position, (latest, work) in enumerate(entries):
        waiting.add(position, 0.0, latest, work, saved=work / 10)
    return waiting


@given(rows, st.lists(st.floats(0, 600), max_size=3))
def test_groups_never_wake_later_than_single_requests(entries: list[tuple[float, float]], ready: list[float]) -> None:
    """Leaving late groups out changes nothing; grouping asks at most the group's width earlier."""
    one_by_one = decide_start(0.0, [DueWork(latest, work) for latest, work in sorted(entries)], ready, ENDPOINT)
    groups = filled(entries).due(places=4, in_work=0.0, wait=310.0, up_from=min(ready) + 10.0 if ready else None)
    grouped = decide_start(0.0, groups, ready, ENDPOINT)
    assert grouped.start >= one_by_one.start
    if not grouped.start:
        assert grouped.look_again_at <= one_by_one.look_again_at + 1e-6
        if math.isfinite(one_by_one.look_again_at) and not ready:
            assert grouped.look_again_at >= one_by_one.look_again_at - 10.0 - 1e-6


@given(rows)
def test_requests_come_out_by_their_latest_start(entries: list[tuple[float, float]]) -> None:
    """Taking all out gives them in order and leaves no work, no savings and no group."""
    waiting = filled(entries)
    assert waiting.work == pytest.approx(sum(work for _, work in entries))
    assert waiting.until(math.nextafter(90_000.0, math.inf)) == pytest.approx(waiting.work)
    taken = [waiting.pop() for _ in range(len(waiting))]
    assert [entries[position][0] for position in taken] == sorted(latest for latest, _ in entries)
    assert (waiting.work, waiting.saved, len(waiting)) == (0.0, 0.0, 0)


def test_the_patient_are_those_who_need_not_start_yet() -> None:
    """Of what may start later than a moment it tells since when, until when, and what instance time would save."""
    waiting = Waiting()
    waiting.add(0, 5.0, 500.0, 10.0, saved=1.0)
    waiting.add(1, 7.0, 80_000.0, 10.0, saved=2.0)
    waiting.add(2, 9.0, 80_100.0, 10.0, saved=3.0)
    assert waiting.patient(1_000.0) == (7.0, 80_000.0, 5.0)
    assert waiting.saved_until(1_000.0) == 1.0
    assert waiting.patient(90_000.0) is None
