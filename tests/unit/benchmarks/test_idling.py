"""The product's sleep policy in simulated time."""

from array import array
from datetime import UTC, datetime, timedelta

import pytest
from idling import DRAIN_SECONDS, Idled, serve_idling

from planner.serving import Scaling
from tollgate.adapters.time_zones import time_zone
from tollgate.domain.places.sleeping import SleepPolicy, WarmHours

EPOCH = datetime(2026, 3, 23, tzinfo=UTC)  # a Monday
STARTUP = 300.0


def _serve(
    arrivals: list[float], policy: SleepPolicy, *, horizon: float = 86_400.0, held: float = 1.0, epoch: datetime = EPOCH
) -> Idled:
    return serve_idling(
        array("d", arrivals),
        array("d", [held] * len(arrivals)),
        concurrency=4,
        scaling=Scaling(minimum=1, maximum=1, startup=STARTUP),
        policy=policy,
        epoch=epoch,
        horizon=horizon,
        zones=time_zone,
    )


def test_a_request_wakes_it_and_silence_puts_it_to_sleep() -> None:
    """One start, its wait, and a bill from the decision to wake until the idle time is over and the last drained."""
    found = _serve([600.0], SleepPolicy(idle_minutes=10))
    assert (found.wakes, found.met_asleep) == (1, 1)
    assert list(found.served.ends) == [600.0 + STARTUP + 1.0]
    # Up for its own idle time, counted from when it was up: the request's minute is over by then.
    assert found.served.instance_seconds == STARTUP + 600.0 + DRAIN_SECONDS
    assert found.served.starts == 1


def test_requests_in_time_keep_it_up() -> None:
    """Nine minutes apart with ten to sleep after: one wake, and only the first waits for it."""
    arrivals = [600.0 + 540.0 * n for n in range(20)]
    found = _serve(arrivals, SleepPolicy(idle_minutes=10))
    assert (found.wakes, found.met_asleep) == (1, 1)
    assert [end - came for end, came in zip(found.served.ends, arrivals, strict=True)][1:] == [1.0] * 19


def test_requests_further_apart_wake_it_each_time() -> None:
    """Twenty minutes apart with ten to sleep after."""
    found = _serve([1200.0 * n for n in range(10)], SleepPolicy(idle_minutes=10))
    assert (found.wakes, found.met_asleep) == (10, 10)


def test_one_that_comes_while_it_goes_turns_it_round() -> None:
    """In the seconds between the decision and the end nobody is lost, and nothing starts twice."""
    down = 600.0 + STARTUP + 600.0
    found = _serve([600.0, down + DRAIN_SECONDS / 2], SleepPolicy(idle_minutes=10))
    assert found.wakes == 1
    assert found.served.ends[1] == down + DRAIN_SECONDS / 2 + 1.0


@pytest.mark.parametrize(("epoch", "opens"), [(EPOCH, 6.5), (EPOCH + timedelta(days=7), 5.5)])
def test_warm_hours_are_up_when_they_begin(epoch: datetime, opens: float) -> None:
    """07:30 in Berlin, in winter and in the first week of summer time: a request then finds it awake."""
    warm = WarmHours(frozenset(range(5)), 450, 1140, zone="Europe/Berlin")
    found = _serve([opens * 3600.0], SleepPolicy(idle_minutes=10, warm_hours=(warm,)), epoch=epoch)
    assert (found.wakes, found.met_asleep) == (1, 0)
    assert list(found.served.ends) == [opens * 3600.0 + 1.0]
    assert found.served.instance_seconds == pytest.approx(11.5 * 3600 + STARTUP, abs=700)


def test_nobody_is_lost() -> None:
    """Every request is answered once, in the order of their coming, whatever their distances."""
    arrivals = [float(n * n * 37 % 80_000) for n in range(400)]
    found = _serve(sorted(arrivals), SleepPolicy(idle_minutes=5))
    assert len(found.served.ends) == 400
    assert all(end >= came + 1.0 for end, came in zip(found.served.ends, sorted(arrivals), strict=True))
