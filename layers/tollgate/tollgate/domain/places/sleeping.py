"""Rules for when an idle place goes to sleep and a sleeping one wakes, from observations, without clock or I/O.

The capacity function calls `decide` every minute, at every wake request, and every few seconds where a change is near;
the planner calls it in simulated time. `wake_by_deadline` decides when requests that can wait for their deadline wake a
place, and `gathering` when such a place takes no more of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from enum import StrEnum

from tollgate.domain.places.gathering import GivenWork, instances_to_add, takes_no_more
from tollgate.domain.places.wake_by_deadline import (
    SOON_STARTS,
    DueWork,
    SleepingEndpoint,
    busy_from_the_start,
    decide_start,
)

TICK_SECONDS = 60.0
"""Between two calls by the schedule."""

CLOSE_LOOK_SECONDS = 4.0
"""Between two looks at a place where a change is under way, or due before the next call by the schedule."""

LATE_SECONDS = 2 * CLOSE_LOOK_SECONDS
"""Greatest delay of a look: one interval, plus another where the schedule's next call takes over."""

_MINUTES_A_DAY = 1440
_RETRY_SECONDS = (15, 30, 60, 120, 300)


type Zones = Callable[[str], tzinfo]
"""Looks up a time zone by its name in the IANA database, such as ``Europe/Berlin``."""


def no_zones(name: str) -> tzinfo:
    """For hours that have offsets only.

    Raises:
        LookupError: they have a zone.
    """
    raise LookupError(f"There are no time zones here, so not '{name}'.")


@dataclass(frozen=True, slots=True)
class WarmHours:
    """Hours of a week in which a place stays up, in local time.

    Attributes:
        days: 0 is Monday; a window that ends after midnight belongs to the day on which it starts.
        start_minute: of the day, 0..1439.
        end_minute: of the day, exclusive; not above `start_minute` means on the next day.
        utc_offset_minutes: fixed offset of local time if there is no `zone`: no summer time.
        zone: time zone of local time, with its summer time.
    """

    days: frozenset[int]
    start_minute: int
    end_minute: int
    utc_offset_minutes: int = 0
    zone: str = ""

    def cover(self, moment: datetime, zones: Zones = no_zones) -> bool:
        """Whether the hours contain this moment, which must know its zone.

        An hour that a clock skips in spring is in no window, and one that it shows twice in autumn is in it both times.
        """
        clock = zones(self.zone) if self.zone else timezone(timedelta(minutes=self.utc_offset_minutes))
        local = moment.astimezone(clock)
        minute = local.hour * 60 + local.minute + local.second / 60
        today = local.weekday()
        length = (self.end_minute - self.start_minute) % _MINUTES_A_DAY or _MINUTES_A_DAY
        since_start = minute - self.start_minute
        return (today in self.days and 0 <= since_start < length) or (
            (today - 1) % 7 in self.days and since_start + _MINUTES_A_DAY < length
        )


@dataclass(frozen=True, slots=True)
class SleepPolicy:
    """When a place may sleep.

    Attributes:
        idle_minutes: time without an invocation after which it goes down; 0 for an asynchronous endpoint that gathers
            and that nobody else calls: as soon as it has answered what it was given.
        minimum: instances or copies that always stay; 1 or more means that it never sleeps.
        warm_hours: in which it stays up; it is woken in time for them.
        warm_minimum: instances or copies wanted when it is woken.
        wake_backlog: waiting requests that wake it; more than 1 only for work that nobody waits for.
        wake_after_seconds: longest wait of a request after which it is woken, however few there are.
        gather: whether requests with a deadline wait, together, until it must be woken for the first of them.
        gather_margin_seconds: left before every deadline for a slow start and for storing the answer.
        hand_on_to: the model's token-priced deployment that takes gathered work not worth a start, see
            `tollgate.domain.places.handing_on`; empty for none.
    """

    idle_minutes: int
    minimum: int = 0
    warm_hours: tuple[WarmHours, ...] = ()
    warm_minimum: int = 1
    wake_backlog: int = 1
    wake_after_seconds: int = 0
    gather: bool = False
    gather_margin_seconds: int = 30
    hand_on_to: str = ""

    @property
    def idle(self) -> timedelta:
        """`idle_minutes` as a duration by metrics, which are in whole minutes."""
        return timedelta(minutes=max(1, self.idle_minutes))

    def gathers(self, slack_seconds: float | None) -> bool:
        """Whether a request for a sleeping place waits for others to join it.

        Args:
            slack_seconds: between its expected end, if the place were woken at once, and its deadline, None without
                one. It must be long enough for the next look.
        """
        looks = TICK_SECONDS + LATE_SECONDS + self.gather_margin_seconds
        return self.gather and slack_seconds is not None and slack_seconds >= looks

    @property
    def ends_with_its_work(self) -> bool:
        """Whether open jobs decide when a place is idle, and not metrics."""
        return self.gather and self.idle_minutes == 0


class Phase(StrEnum):
    """The stages between awake and asleep."""

    AWAKE = "awake"
    FALLING_ASLEEP = "falling_asleep"
    ASLEEP = "asleep"
    WAKING = "waking"


class Action(StrEnum):
    """What to do about a place."""

    STAY = "stay"
    SLEEP = "sleep"
    WAKE = "wake"
    GROW = "grow"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a place at one moment. All times know their zone.

    Attributes:
        phase: of the record.
        since: when it entered the phase.
        measured: whether metrics could be read; without them nothing is put to sleep.
        last_invocation: the latest that metrics show, None if they show none in the last `idle_minutes`.
        waiting: requests that wait for this place.
        oldest_waiting: arrival of the oldest of them, if known.
        due: requests that can wait for their deadlines, not among `waiting`; by latest start, in seconds since 1970.
        given: what a place that is up was given and has not answered, where that decides when it is idle; else None.
        concurrency: requests that one instance or copy serves at a time.
        maximum: most instances or copies that it may be woken with.
        asked: whether a wake-up was requested, by a request that cannot wait or by an operator.
        held: kept down by the spend brake.
        startup_seconds: time to come up; it is woken this long before its warm hours.
    """

    phase: Phase
    since: datetime
    measured: bool = True
    last_invocation: datetime | None = None
    waiting: int = 0
    oldest_waiting: datetime | None = None
    due: tuple[DueWork, ...] = ()
    given: GivenWork | None = None
    concurrency: int = 1
    maximum: int = 1
    asked: bool = False
    held: bool = False
    startup_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SleepDecision:
    """What to do, and the rule that says so, in words for the record.

    Attributes:
        instances: or copies that it should be woken with or grow to, where deadlines need several; else 0.
        soon: whether to look again in a few seconds, although nothing changes now.
    """

    action: Action
    reason: str
    instances: int = 0
    soon: bool = False


def decide(now: datetime, watched: Watched, policy: SleepPolicy, zones: Zones = no_zones) -> SleepDecision:
    """Whether a place should sleep, wake or stay as it is.

    Requests wake it before anything may put it to sleep, and it never sleeps sooner than `idle_minutes` after it came
    up, so that no order of events makes it go up and down quickly.
    """
    if watched.held:
        return _stay("held down by the spend brake")
    if watched.phase in {Phase.ASLEEP, Phase.FALLING_ASLEEP}:
        return _asleep(now, watched, policy, zones)
    if watched.phase is Phase.WAKING:
        return _stay("waking")
    return _awake(now, watched, policy, zones)


def _asleep(now: datetime, watched: Watched, policy: SleepPolicy, zones: Zones) -> SleepDecision:
    if watched.asked:
        return SleepDecision(Action.WAKE, "asked for")
    if watched.waiting >= policy.wake_backlog:
        return SleepDecision(Action.WAKE, f"{watched.waiting} waiting")
    patience = timedelta(seconds=policy.wake_after_seconds)
    if watched.waiting and (watched.oldest_waiting is None or now - watched.oldest_waiting >= patience):
        return SleepDecision(Action.WAKE, f"waiting for {policy.wake_after_seconds} s")
    if policy.minimum > 0:
        return SleepDecision(Action.WAKE, f"minimum of {policy.minimum}")
    soon = now + timedelta(seconds=watched.startup_seconds)
    if any(hours.cover(now, zones) or hours.cover(soon, zones) for hours in policy.warm_hours):
        return SleepDecision(Action.WAKE, "warm hours")
    return _gathered(now, watched, policy) if watched.due else _stay("nobody waits")


def endpoint_of(watched: Watched, policy: SleepPolicy) -> SleepingEndpoint:
    """What deciding by deadline needs to know of a place, with the margin for the looks at it."""
    margin = policy.gather_margin_seconds + LATE_SECONDS
    return SleepingEndpoint(watched.startup_seconds, watched.concurrency, watched.maximum, margin)


def _gathered(now: datetime, watched: Watched, policy: SleepPolicy) -> SleepDecision:
    """Wake at the last look before the first gathered request would be late."""
    endpoint = endpoint_of(watched, policy)
    found = decide_start(now.timestamp(), watched.due, (), endpoint)
    if found.start > 0:
        return SleepDecision(Action.WAKE, "gathered requests must start", found.start)
    soon = now.timestamp() + SOON_STARTS * endpoint.startup_seconds
    work_soon = sum(work.place_seconds for work in watched.due if work.latest_start_at <= soon)
    # Tokens serve what one instance cannot do in time, so a second instance is no reason to start early.
    if not policy.hand_on_to and busy_from_the_start(work_soon, endpoint):
        return SleepDecision(Action.WAKE, "gathered requests keep an instance busy", 1)
    until = datetime.fromtimestamp(found.look_again_at, now.tzinfo)
    before_next_call = found.look_again_at <= now.timestamp() + TICK_SECONDS
    return SleepDecision(Action.STAY, f"requests are gathered until {until:%Y-%m-%d %H:%M}", soon=before_next_call)


def _awake(now: datetime, watched: Watched, policy: SleepPolicy, zones: Zones) -> SleepDecision:
    last = watched.last_invocation
    wanted = (
        (policy.minimum > 0, f"minimum of {policy.minimum}"),
        (any(hours.cover(now, zones) for hours in policy.warm_hours), "warm hours"),
    )
    used = (
        (watched.waiting > 0, f"{watched.waiting} waiting"),
        (now - watched.since < policy.idle, "up for less than the idle time"),
        (not watched.measured, "not measured"),
        (last is not None and now - last < policy.idle, "in use"),
    )
    for holds, reason in wanted if watched.given is not None else (*wanted, *used):
        if holds:
            return _stay(reason)
    if watched.given is not None:
        return _at_work(watched, watched.given, policy)
    return SleepDecision(Action.SLEEP, f"no invocation for {policy.idle // timedelta(minutes=1)} min")


def _at_work(watched: Watched, given: GivenWork, policy: SleepPolicy) -> SleepDecision:
    endpoint = endpoint_of(watched, policy)
    more = instances_to_add(given, endpoint)
    if more:
        return SleepDecision(Action.GROW, f"more instances needed for {given.count}", given.instances + more)
    if takes_no_more(given, endpoint):
        return SleepDecision(Action.SLEEP, "nothing waits")
    return SleepDecision(Action.STAY, f"{given.count} being served", soon=True)


def _stay(reason: str) -> SleepDecision:
    return SleepDecision(Action.STAY, reason)


def shared_policy(policies: Iterable[SleepPolicy | None]) -> SleepPolicy | None:
    """The policy of a place shared by several deployments: the most wakeful of each; None if one must not sleep."""
    found = list(policies)
    known = [policy for policy in found if policy is not None]
    if not known or len(known) < len(found):
        return None
    return SleepPolicy(
        idle_minutes=max(p.idle_minutes for p in known),
        minimum=max(p.minimum for p in known),
        warm_hours=tuple(hours for p in known for hours in p.warm_hours),
        warm_minimum=max(p.warm_minimum for p in known),
        wake_backlog=min(p.wake_backlog for p in known),
        wake_after_seconds=min(p.wake_after_seconds for p in known),
        gather=all(p.gather for p in known),
        gather_margin_seconds=max(p.gather_margin_seconds for p in known),
        hand_on_to=known[0].hand_on_to if all(p.hand_on_to for p in known) else "",
    )


def may_gather(policy: SleepPolicy | None, deadline_at: datetime | None) -> bool:
    """Whether a request that meets a sleeping place waits for its deadline instead of waking the place."""
    return policy is not None and policy.gather and deadline_at is not None


def retry_seconds(attempts: int) -> int:
    """Seconds before the next try after this many that failed: growing, at most five minutes."""
    return _RETRY_SECONDS[min(max(attempts, 1), len(_RETRY_SECONDS)) - 1]
