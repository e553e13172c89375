"""What the record of a place remembers, and what it forgets when the place enters another phase."""

from copy import replace
from datetime import UTC, datetime, timedelta

import pytest

from tollgate.domain.places.record import HISTORY_LENGTH, PlaceRecord, Transition
from tollgate.domain.places.sleeping import CLOSE_LOOK_SECONDS, Phase
from tollgate.domain.places.standing import Place, PlaceKind, ScalingTarget, Standing, StandStatus, VariantStanding

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
PLACE = Place(PlaceKind.ASYNC, "e")
STANDING = Standing(PLACE, StandStatus.UP, variants=(VariantStanding("main", 2, 3),))
ASLEEP = PlaceRecord(PLACE, Phase.ASLEEP, NOW, before=STANDING)


def _target(maximum: int) -> ScalingTarget:
    return ScalingTarget(f"endpoint/e/variant/{maximum}", "sagemaker:variant:DesiredInstanceCount", 0, maximum)


@pytest.mark.parametrize(
    ("before", "most"),
    [
        (None, 1),
        (STANDING, 3),
        (replace(STANDING, variants=()), 1),
        (replace(STANDING, scaling=(_target(2),)), 2),
        (replace(STANDING, scaling=(_target(2), _target(8), _target(4))), 8),
    ],
)
def test_how_many_it_may_be_woken_with(before: Standing | None, most: int) -> None:
    """Autoscaling's maximum, or without a target as many as stood; at least one."""
    assert replace(ASLEEP, before=before).most == most


def test_a_wake_request_lasts_until_it_wakes() -> None:
    """One that comes while it falls asleep holds when it sleeps; what was asked before it was laid down is over."""
    asked = replace(ASLEEP, phase=Phase.FALLING_ASLEEP, asked_at=NOW)
    assert asked.moved(Phase.ASLEEP, LATER, "asleep").asked_at == NOW
    assert asked.moved(Phase.WAKING, LATER, "asked for").asked_at is None
    assert asked.moved(Phase.AWAKE, LATER, "up").asked_at is None
    assert replace(asked, phase=Phase.AWAKE).laid_down(STANDING, LATER, "idle").asked_at is None


def test_troubles_belong_to_their_phase() -> None:
    """Each failed try is counted, with its reason and the next try; the next phase begins without."""
    waking = ASLEEP.moved(Phase.WAKING, NOW, "1 waiting")
    failed = waking.hindered(NOW, "no capacity", LATER).hindered(LATER, "throttled", LATER)
    assert (failed.attempts, failed.retry_at, failed.problem) == (2, LATER, "throttled")
    assert [line.reason for line in failed.history] == ["1 waiting", "failed: no capacity", "failed: throttled"]
    awake = failed.moved(Phase.AWAKE, LATER, "up")
    assert (awake.attempts, awake.retry_at, awake.problem) == (0, None, "")
    assert awake.was_woken


def test_growing_is_part_of_the_history() -> None:
    """It stays awake, and is restored with what it grew to."""
    up = replace(ASLEEP, phase=Phase.AWAKE).grown(5, LATER, "more instances needed for 9")
    assert up.phase is Phase.AWAKE
    assert up.before is not None
    assert up.before.desired == 5
    assert up.history == (Transition(LATER, Phase.AWAKE, "more instances needed for 9"),)


def test_the_slowest_start_that_went_well() -> None:
    """Of several, less the look that saw it; one with a failed try says nothing about the start itself."""
    record, now = ASLEEP, NOW
    for minutes in (4, 9, 5):
        record = record.moved(Phase.WAKING, now, "asked for")
        now += timedelta(minutes=minutes)
        record = record.moved(Phase.AWAKE, now, "up").moved(Phase.ASLEEP, now, "idle")
    assert record.slowest_start == timedelta(minutes=9, seconds=-CLOSE_LOOK_SECONDS)
    hindered = ASLEEP.moved(Phase.WAKING, NOW, "asked for").hindered(NOW, "no capacity", NOW)
    assert hindered.moved(Phase.AWAKE, NOW + timedelta(hours=2), "up").slowest_start == timedelta(0)


def test_the_history_is_the_latest() -> None:
    """Only so much is kept of it, oldest first."""
    record = ASLEEP
    for number in range(HISTORY_LENGTH + 3):
        record = record.hindered(NOW, str(number), LATER)
    assert [line.reason for line in record.history] == [f"failed: {n}" for n in range(3, HISTORY_LENGTH + 3)]
