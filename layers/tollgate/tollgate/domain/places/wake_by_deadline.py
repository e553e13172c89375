"""When a sleeping endpoint must wake for the requests that wait, and with how many instances.

Requests are served in the order of their latest start, which is the deadline less the time that the request holds its
place. In that order a request starts no later than the moment at which the places that are up could have done all work
ahead of it: until it starts, no place is idle (the argument of Graham's list scheduling, 1966). So everything is in
time if, for each waiting request, the work up to it fits between the moment instances are ready and its latest start.

Waking as late as this allows causes the fewest wake-ups: the request that forces one came after the last one was over.
All of this uses only what is known at that moment. Times are seconds on any one clock.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

SOON_STARTS = 4
"""Work that must begin within this many start-ups is due soon."""


@dataclass(frozen=True, slots=True)
class SleepingEndpoint:
    """What deciding needs to know of an endpoint.

    Attributes:
        startup_seconds: from the decision to start an instance until it serves; use a slow one, not the mean.
        concurrency: places of an instance.
        maximum: most instances.
        margin_seconds: left before every deadline for storing the answer.
    """

    startup_seconds: float
    concurrency: int
    maximum: int
    margin_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class DueWork:
    """Waiting requests with about the same latest start.

    Attributes:
        latest_start_at: of the first of them: its deadline less its expected seconds on a place.
        place_seconds: expected of all of them.
    """

    latest_start_at: float
    place_seconds: float


@dataclass(frozen=True, slots=True)
class WakeDecision:
    """What to do now.

    Attributes:
        start: instances to start now.
        look_again_at: when to decide again if nothing else arrives; infinite when nothing will be due.
    """

    start: int
    look_again_at: float


def decide_start(
    now: float, due: Iterable[DueWork], ready_at: Sequence[float], endpoint: SleepingEndpoint
) -> WakeDecision:
    """Instances to start now so that all waiting work is in time, as few and as late as possible.

    Work that can no longer be in time asks for one instance when there is none, and for no more.

    Args:
        now: the present.
        due: what waits, by latest start.
        ready_at: when each instance that runs or starts is, or will be, ready; in the past for those that serve.
        endpoint: whose instances they are.
    """
    startup, places = endpoint.startup_seconds, endpoint.concurrency
    start, again, work = 0, math.inf, 0.0
    for entry in due:
        work += entry.place_seconds
        limit = entry.latest_start_at - endpoint.margin_seconds
        # The work ahead of the request, without its own, would be enough; including its own is the price of grouping.
        missing = work - places * sum(max(0.0, limit - max(now, ready)) for ready in ready_at)
        if missing <= 0 and ready_at:
            continue  # Without an instance even work that takes no time is not done.
        one_is_enough_until = limit - startup - missing / places
        if one_is_enough_until > now:
            again = min(again, one_is_enough_until)
        elif limit - now > startup:
            # Work that arrives when it is almost too late may use the margin, rather than start many instances for a
            # few seconds.
            left = limit - now - startup + endpoint.margin_seconds
            start = max(start, 1, math.ceil(missing / places / left))
        elif not ready_at:
            start = max(start, 1)
    return WakeDecision(min(start, endpoint.maximum - len(ready_at)), again)


def busy_from_the_start(place_seconds: float, endpoint: SleepingEndpoint) -> bool:
    """Whether an instance that starts now would be busy for at least as long as its start takes.

    Then waiting for more work gains nothing: the instance has no idle second, and what would gather meanwhile may be
    more than it can do in time, so that a second one would have to be started beside it.

    Args:
        place_seconds: expected of what must start within `SOON_STARTS` starts; patient work is left for later gaps.
        endpoint: that sleeps.
    """
    return place_seconds >= endpoint.startup_seconds * endpoint.concurrency


def instances_worth_keeping(busy_instances: float, quiet_seconds: float, startup_seconds: float) -> int:
    """Instances that are cheaper to keep up than to put to sleep and start again, when nothing waits.

    Sleeping saves the idle share of an instance until it is needed again, and costs a start.

    Args:
        busy_instances: work that arrives, in instances that it keeps busy.
        quiet_seconds: until the next wake-up if all sleep: about the shortest deadline.
        startup_seconds: billed for a start.
    """
    whole = math.floor(busy_instances)
    idle_share = 1.0 - (busy_instances - whole)
    return whole + (1 if idle_share * quiet_seconds < startup_seconds else 0)


def worth_waking(saved: Decimal, start: Decimal, needed_anyway: float = 0.0) -> bool:
    """Whether a start pays off, compared with sending the due work to a token-priced backend.

    A start that patient requests will need anyway is not wasted by coming early, except for the part of their patience
    that then goes unused: the next such start comes that much earlier.

    Args:
        saved: dollars between tokens and instance time, for the requests that would go to the tokens otherwise.
        start: dollars of an instance's start-up.
        needed_anyway: share of their patience that requests which will pay for a start by themselves have waited.
    """
    return saved >= start * Decimal(1.0 - needed_anyway)
