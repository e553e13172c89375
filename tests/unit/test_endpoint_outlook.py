"""What `tollgate endpoints` says will happen next."""

from copy import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.endpoint_outlook import outlook
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase, SleepPolicy, WarmHours
from tollgate.domain.places.standing import Place, PlaceKind, Standing, StandStatus

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLACE = Place(PlaceKind.REALTIME, "e")
STANDING = Standing(PLACE, StandStatus.UP)
POLICY = SleepPolicy(30)
WARM = (WarmHours(frozenset({0}), 480, 1080),)


def _record(phase: Phase, **changes: Any) -> PlaceRecord:
    return replace(PlaceRecord(PLACE, phase, NOON), **changes)


@pytest.mark.parametrize(
    ("policy", "record", "told"),
    [
        (None, None, "stays as it is: no sleep policy"),
        (POLICY, None, "sleeps after 30 min without a call"),
        (POLICY, _record(Phase.AWAKE), "sleeps after 30 min without a call"),
        (replace(POLICY, warm_hours=WARM), None, "sleeps after 30 min without a call (not in its warm hours)"),
        (replace(POLICY, minimum=1), None, "stays up: its policy has a minimum of 1"),
        (SleepPolicy(0, gather=True), None, "sleeps after 1 min without a call"),
        (POLICY, _record(Phase.FALLING_ASLEEP), "asleep in some minutes: going down since Nov 22 12:00 UTC"),
        (POLICY, _record(Phase.ASLEEP), "wakes for the next request"),
        (POLICY, _record(Phase.ASLEEP, asked_at=NOON), "wakes within a minute: asked to Nov 22 12:00 UTC"),
        (
            replace(POLICY, wake_backlog=5, wake_after_seconds=60, warm_hours=WARM),
            _record(Phase.ASLEEP),
            "wakes for 5 waiting requests, or when one has waited 60 s, or for its warm hours",
        ),
        (
            replace(POLICY, gather=True),
            _record(Phase.ASLEEP),
            "wakes for the next request; those with a deadline wait as long as they can",
        ),
        (POLICY, _record(Phase.WAKING), "up in some minutes: starting since Nov 22 12:00 UTC"),
        (POLICY, _record(Phase.ASLEEP, held_by="brake"), "stays down: held by brake until 'tollgate resume'"),
        (
            POLICY,
            _record(Phase.WAKING, problem="no instance", retry_at=NOON + timedelta(minutes=1)),
            "no instance; next try Nov 22 12:01 UTC",
        ),
    ],
)
def test_the_next_step_and_its_time(policy: SleepPolicy | None, record: PlaceRecord | None, told: str) -> None:
    """In words that need no manual."""
    assert outlook(STANDING, policy, record) == told


def test_an_earlier_start_tells_how_long_this_one_takes() -> None:
    """The slowest that is on record."""
    record = PlaceRecord(PLACE, Phase.ASLEEP, NOON - timedelta(hours=2))
    for hours, minutes, phase in (
        (1, 0, Phase.WAKING),
        (1, -4, Phase.AWAKE),
        (0, 30, Phase.FALLING_ASLEEP),
        (0, 20, Phase.ASLEEP),
        (0, 0, Phase.WAKING),
    ):
        record = record.moved(phase, NOON - timedelta(hours=hours, minutes=minutes), "")
    assert outlook(STANDING, POLICY, record) == "up about Nov 22 12:03 UTC"


def test_only_an_asynchronous_endpoint_sleeps_by_its_jobs() -> None:
    """A real-time endpoint with the same policy goes by its metrics, as above."""
    queued = replace(STANDING, place=Place(PlaceKind.ASYNC, "e"))
    assert outlook(queued, SleepPolicy(0, gather=True), None) == "sleeps as soon as nothing waits"


def test_what_stands_in_the_way_comes_first() -> None:
    """SageMaker's own words for what has failed; transform jobs come and go by themselves."""
    assert outlook(replace(STANDING, problem="image not found"), POLICY, None) == "image not found"
    jobs = replace(STANDING, place=Place(PlaceKind.BATCH, "m"))
    assert outlook(jobs, None, None) == "runs when a batch starts, ends with it"
