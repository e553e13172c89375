"""What happens next to an endpoint, and when, in words for people who have not read how sleeping works."""

from datetime import UTC, datetime

from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase, SleepPolicy
from tollgate.domain.places.standing import PlaceKind, Standing


def outlook(standing: Standing, policy: SleepPolicy | None, record: PlaceRecord | None) -> str:
    """One sentence without its full stop.

    Args:
        standing: as it is now.
        policy: when it may sleep; None if never.
        record: what was written down about it; None if it never slept.
    """
    if record is not None and record.held_by:
        return f"stays down: held by {record.held_by} until 'tollgate resume'"
    if record is not None and record.problem:
        again = "" if record.retry_at is None else f"; next try {_time(record.retry_at)}"
        return f"{record.problem}{again}"
    if standing.problem:
        return standing.problem
    if standing.place.kind is PlaceKind.BATCH:
        return "runs when a batch starts, ends with it"
    return "stays as it is: no sleep policy" if policy is None else _by_policy(policy, record, standing.place.kind)


def _by_policy(policy: SleepPolicy, record: PlaceRecord | None, kind: PlaceKind) -> str:
    if record is None or record.phase is Phase.AWAKE:
        return _until_it_sleeps(policy, kind)
    if record.phase is Phase.ASLEEP:
        return _until_it_wakes(policy, record.asked_at)
    since = _time(record.since)
    if record.phase is Phase.FALLING_ASLEEP:
        return f"asleep in some minutes: going down since {since}"
    took = record.slowest_start
    return f"up about {_time(record.since + took)}" if took else f"up in some minutes: starting since {since}"


def _until_it_sleeps(policy: SleepPolicy, kind: PlaceKind) -> str:
    if policy.minimum > 0:
        return f"stays up: its policy has a minimum of {policy.minimum}"
    outside = " (not in its warm hours)" if policy.warm_hours else ""
    if policy.ends_with_its_work and kind is PlaceKind.ASYNC:  # the others go by metrics
        return f"sleeps as soon as nothing waits{outside}"
    minutes = max(1, policy.idle_minutes)
    return f"sleeps after {minutes} min without a call{outside}"


def _until_it_wakes(policy: SleepPolicy, asked_at: datetime | None) -> str:
    if asked_at is not None:
        return f"wakes within a minute: asked to {_time(asked_at)}"
    first = "the next request"
    if policy.wake_backlog > 1:
        patience = f", or when one has waited {policy.wake_after_seconds} s"
        first = f"{policy.wake_backlog} waiting requests{patience}"
    late = "; those with a deadline wait as long as they can" if policy.gather else ""
    hours = ", or for its warm hours" if policy.warm_hours else ""
    return f"wakes for {first}{hours}{late}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%b %d %H:%M} UTC"
