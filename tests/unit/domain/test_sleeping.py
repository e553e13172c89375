"""Going to sleep and waking up, decided from what was observed."""

from copy import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.adapters.time_zones import time_zone
from tollgate.domain.places.sleeping import (
    Action,
    Phase,
    SleepPolicy,
    WarmHours,
    Watched,
    decide,
    may_gather,
    retry_seconds,
    shared_policy,
)
from tollgate.domain.places.wake_by_deadline import DueWork

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)  # a Monday
POLICY = SleepPolicy(idle_minutes=30)
UP = Watched(Phase.AWAKE, since=NOW - timedelta(hours=5))
DOWN = Watched(Phase.ASLEEP, since=NOW - timedelta(hours=5))
WORK = WarmHours(frozenset(range(5)), 7 * 60 + 30, 19 * 60)


def _ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("watched", "policy", "action", "reason"),
    [
        (UP, POLICY, Action.SLEEP, "no invocation for 30 min"),
        (replace(UP, last_invocation=_ago(30)), POLICY, Action.SLEEP, "no invocation for 30 min"),
        (UP, replace(POLICY, gather=True, idle_minutes=0), Action.SLEEP, "no invocation for 1 min"),
        (replace(UP, last_invocation=_ago(29)), POLICY, Action.STAY, "in use"),
        (replace(UP, since=_ago(29)), POLICY, Action.STAY, "up for less than the idle time"),
        (replace(UP, measured=False), POLICY, Action.STAY, "not measured"),
        (replace(UP, waiting=1), POLICY, Action.STAY, "1 waiting"),
        (replace(UP, held=True), POLICY, Action.STAY, "held down by the spend brake"),
        (UP, replace(POLICY, minimum=1), Action.STAY, "minimum of 1"),
        (UP, replace(POLICY, warm_hours=(WORK,)), Action.STAY, "warm hours"),
        (DOWN, POLICY, Action.STAY, "nobody waits"),
        (replace(DOWN, waiting=1), POLICY, Action.WAKE, "1 waiting"),
        (replace(DOWN, asked=True), POLICY, Action.WAKE, "asked for"),
        (replace(DOWN, waiting=500, asked=True, held=True), POLICY, Action.STAY, "held down by the spend brake"),
        (DOWN, replace(POLICY, minimum=2), Action.WAKE, "minimum of 2"),
        (DOWN, replace(POLICY, warm_hours=(WORK,)), Action.WAKE, "warm hours"),
        (replace(DOWN, phase=Phase.FALLING_ASLEEP, waiting=1), POLICY, Action.WAKE, "1 waiting"),
        (replace(DOWN, phase=Phase.WAKING, waiting=500, asked=True), POLICY, Action.STAY, "waking"),
    ],
)
def test_each_rule(watched: Watched, policy: SleepPolicy, action: Action, reason: str) -> None:
    """Every rule, with the reason that the record will show."""
    decision = decide(NOW, watched, policy)
    assert (decision.action, decision.reason) == (action, reason)


def test_cold_work_may_gather_before_it_wakes_an_endpoint() -> None:
    """With a backlog of 10 wanted, 9 requests wait, until the oldest has waited its time."""
    patient = replace(POLICY, wake_backlog=10, wake_after_seconds=600)
    nine = replace(DOWN, waiting=9, oldest_waiting=_ago(9.9))
    assert decide(NOW, nine, patient).action is Action.STAY
    assert decide(NOW, replace(nine, waiting=10), patient).action is Action.WAKE
    assert decide(NOW, replace(nine, oldest_waiting=_ago(10)), patient).action is Action.WAKE


def test_work_whose_age_is_unknown_does_not_wait() -> None:
    """It could be older than the longest wait."""
    patient = replace(POLICY, wake_backlog=10, wake_after_seconds=600)
    decision = decide(NOW, replace(DOWN, waiting=9, oldest_waiting=None), patient)
    assert (decision.action, decision.reason) == (Action.WAKE, "waiting for 600 s")


def test_who_may_wait_for_company() -> None:
    """A deadline, and time left for the next look at the place: a minute, eight seconds late, and the margin."""
    gathering = replace(POLICY, gather=True, gather_margin_seconds=30)
    assert [gathering.gathers(slack) for slack in (98.0, 97.9, None)] == [True, False, False]
    assert not POLICY.gathers(98.0)
    assert may_gather(gathering, NOW)
    assert not may_gather(gathering, None)
    assert not may_gather(POLICY, NOW)
    assert not may_gather(None, NOW)


def test_work_for_a_whole_start_wakes_it_early_unless_it_can_be_handed_on() -> None:
    """Waiting for more would call for a second instance; a provider serves what one instance cannot do in time."""
    due = (DueWork(NOW.timestamp() + 1_100, 1_200.0),)
    watched = replace(DOWN, due=due, concurrency=4, maximum=8, startup_seconds=300)
    gathering = replace(POLICY, gather=True)
    decision = decide(NOW, watched, gathering)
    assert (decision.action, decision.instances) == (Action.WAKE, 1)
    assert decide(NOW, replace(watched, due=(due[0], due[0])), gathering).action is Action.WAKE
    assert decide(NOW, watched, replace(gathering, hand_on_to="bedrock")).action is Action.STAY
    fewer = replace(watched, due=(DueWork(NOW.timestamp() + 1_100, 1_199.0),))
    assert decide(NOW, fewer, gathering).action is Action.STAY


def test_open_jobs_decide_only_where_the_owner_said_so() -> None:
    """Both that requests gather, and that nobody else calls the endpoint."""
    assert SleepPolicy(0, gather=True).ends_with_its_work
    assert not SleepPolicy(1, gather=True).ends_with_its_work
    assert not SleepPolicy(0).ends_with_its_work


def test_a_place_is_up_when_its_warm_hours_begin() -> None:
    """Five minutes to start: at 07:25 it is woken, at 07:24 not yet."""
    policy = replace(POLICY, warm_hours=(WORK,))
    cold = replace(DOWN, startup_seconds=300)
    early = NOW.replace(hour=7, minute=25)
    assert decide(early, cold, policy).action is Action.WAKE
    assert decide(early - timedelta(minutes=1), cold, policy).action is Action.STAY


def test_warm_hours_over_midnight_belong_to_the_day_they_start() -> None:
    """Friday 22:00 to 02:00 covers Saturday 01:00 and not Friday 01:00; the offset moves the clock."""
    night = WarmHours(frozenset({4}), 22 * 60, 2 * 60)
    friday = datetime(2026, 11, 27, tzinfo=UTC)
    assert night.cover(friday + timedelta(hours=25))
    assert not night.cover(friday + timedelta(hours=1))
    assert not night.cover(friday + timedelta(hours=26))
    berlin = replace(night, utc_offset_minutes=60)
    assert berlin.cover(friday + timedelta(hours=21))
    assert not berlin.cover(friday + timedelta(hours=25))


def test_a_night_that_begins_on_sunday_ends_on_monday() -> None:
    """The week has no gap at its end; and warm hours begin and end on the second."""
    night = WarmHours(frozenset({6}), 22 * 60, 6 * 60)
    sunday = datetime(2026, 11, 22, tzinfo=UTC)
    first, last = sunday + timedelta(hours=22), sunday + timedelta(hours=30, seconds=-1)
    second = timedelta(seconds=1)
    assert [night.cover(t) for t in (first - second, first, first + second)] == [False, True, True]
    assert [night.cover(t) for t in (last - second, last, last + second)] == [True, True, False]


def test_the_same_start_and_end_is_a_whole_day() -> None:
    """00:00 to 00:00 on Mondays covers Monday and nothing else."""
    monday = WarmHours(frozenset({0}), 0, 0)
    start = NOW.replace(hour=0)
    assert [monday.cover(start + timedelta(minutes=m)) for m in (-1, 0, 1439, 1440)] == [False, True, True, False]


_moments = st.integers(0, 366 * 1440).map(lambda minutes: NOW + timedelta(minutes=minutes))


@given(
    moment=_moments,
    days=st.frozensets(st.integers(0, 6)),
    start=st.integers(0, 1439),
    end=st.integers(0, 1439),
    offset=st.integers(-720, 840),
)
def test_warm_hours_follow_the_wall_clock(
    moment: datetime, days: frozenset[int], start: int, end: int, offset: int
) -> None:
    """Against a slow reading of the same rule: does a window that starts today or yesterday reach this moment?"""
    wall = moment + timedelta(minutes=offset)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    expected = False
    for back in (0, 1):
        day = midnight - timedelta(days=back)
        begins = day + timedelta(minutes=start)
        ends = day + timedelta(minutes=end + (1440 if end <= start else 0))
        expected |= day.weekday() in days and begins <= wall < ends
    assert WarmHours(days, start, end, offset).cover(moment) == expected


@given(
    idle=st.integers(1, 600),
    since=st.floats(0, 1200),
    last=st.none() | st.floats(0, 1200),
    waiting=st.integers(0, 3),
)
def test_nothing_goes_to_sleep_in_use(idle: int, since: float, last: float | None, waiting: int) -> None:
    """Whatever was observed, sleeping means: nobody waits, up and unused for at least the idle time."""
    watched = Watched(
        Phase.AWAKE, since=_ago(since), last_invocation=None if last is None else _ago(last), waiting=waiting
    )
    if decide(NOW, watched, SleepPolicy(idle)).action is Action.SLEEP:
        assert waiting == 0
        assert since >= idle
        assert last is None or last >= idle


def test_a_shared_place_follows_its_most_wakeful_user() -> None:
    """Longest idle time, all warm hours, highest minimum; one user without a policy keeps it up."""
    other = SleepPolicy(idle_minutes=60, minimum=1, warm_hours=(WORK,), warm_minimum=3, wake_backlog=5)
    shared = shared_policy([POLICY, other])
    assert shared == SleepPolicy(60, minimum=1, warm_hours=(WORK,), warm_minimum=3, wake_backlog=1)
    gathering = [
        replace(POLICY, gather=True, wake_after_seconds=wait, gather_margin_seconds=margin, hand_on_to=to)
        for wait, margin, to in ((60, 90, "bedrock"), (600, 30, "bedrock"))
    ]
    shared = shared_policy(gathering)
    assert shared == replace(gathering[0], wake_after_seconds=60, gather_margin_seconds=90)
    half = shared_policy([gathering[0], replace(gathering[1], gather=False, hand_on_to="")])
    assert half is not None
    assert (half.gather, half.hand_on_to) == (False, "")
    assert shared_policy([POLICY, None]) is None
    assert shared_policy([]) is None


def test_tries_come_ever_more_slowly() -> None:
    """15 s after the first failure, five minutes at most."""
    assert [retry_seconds(n) for n in (0, 1, 2, 3, 4, 5, 99)] == [15, 15, 30, 60, 120, 300, 300]


BERLIN = WarmHours(frozenset(range(7)), 7 * 60 + 30, 19 * 60, zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("utc", "warm"),
    [
        # Winter: 07:30 on the wall is 06:30 UTC. Summer: 05:30 UTC.
        ("2026-03-28T06:29", False),
        ("2026-03-28T06:30", True),
        ("2026-03-29T05:29", False),  # the clocks went forward this night
        ("2026-03-29T05:30", True),
        ("2026-03-29T16:59", True),
        ("2026-03-29T17:00", False),
        ("2026-10-24T05:30", True),
        ("2026-10-25T05:30", False),  # and back this night
        ("2026-10-25T06:30", True),
        ("2026-10-25T17:59", True),
        ("2026-10-25T18:00", False),
    ],
)
def test_hours_in_a_time_zone_move_with_its_summer_time(utc: str, warm: bool) -> None:
    """The same clock on the wall, another hour of UTC, from the night of the change on."""
    assert BERLIN.cover(datetime.fromisoformat(utc).replace(tzinfo=UTC), time_zone) is warm


def test_a_window_over_the_nights_of_the_change() -> None:
    """The hour that is skipped in spring is missing from the window; the one that comes twice is in it twice."""
    night = WarmHours(frozenset(range(7)), 60, 4 * 60, zone="Europe/Berlin")

    def minutes(day: str) -> int:
        midnight = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
        return sum(night.cover(midnight + timedelta(minutes=m), time_zone) for m in range(12 * 60))

    assert (minutes("2026-03-28"), minutes("2026-03-29"), minutes("2026-10-25")) == (180, 120, 240)


def test_a_place_is_woken_by_the_clock_on_the_wall() -> None:
    """Five minutes before 07:30 in Berlin, in winter as in summer; without a source of zones nothing is guessed."""
    policy = replace(POLICY, warm_hours=(BERLIN,))
    cold = replace(DOWN, startup_seconds=300)
    for start in ("2026-01-12T06:25", "2026-07-13T05:25"):
        moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
        assert decide(moment, cold, policy, time_zone).action is Action.WAKE
        assert decide(moment - timedelta(minutes=1), cold, policy, time_zone).action is Action.STAY
    with pytest.raises(LookupError, match="Europe/Berlin"):
        decide(NOW, cold, policy)
