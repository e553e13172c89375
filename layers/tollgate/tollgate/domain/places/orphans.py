"""Resources that run, cost money, and belong to no deployment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

_HOURS_A_DAY = 24


class OrphanKind(StrEnum):
    """Kinds of resource that can be left running."""

    ENDPOINT = "endpoint"
    TRANSFORM_JOB = "transform_job"
    NOTEBOOK = "notebook"


@dataclass(frozen=True, slots=True)
class Running:
    """Something that runs now.

    Attributes:
        instances: instance type and number, as many as it has; empty where that is not known.
        since: when it was created.
    """

    kind: OrphanKind
    name: str
    instances: tuple[tuple[str, int], ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class Orphan:
    """A running resource that nothing uses; `daily_cost` in dollars, None where a price is unknown."""

    running: Running
    daily_cost: Decimal | None


def orphans(
    running: Iterable[Running], used: Iterable[str], prices: Mapping[str, Decimal], *, now: datetime, job_hours: float
) -> tuple[Orphan, ...]:
    """The running resources that nothing uses, dearest first; unknown prices before all others.

    Args:
        running: of this stack.
        used: names of endpoints in the catalogue, and of transform jobs whose run is still open.
        prices: dollars of an instance hour by type.
        now: the present.
        job_hours: age at which a transform job that nothing waits for counts as left behind.
    """
    kept = set(used)
    found = [
        Orphan(thing, _daily(thing, prices))
        for thing in running
        if thing.name not in kept
        and (thing.kind is not OrphanKind.TRANSFORM_JOB or (now - thing.since).total_seconds() > job_hours * 3600)
    ]
    return tuple(sorted(found, key=lambda o: (o.daily_cost is not None, -(o.daily_cost or 0), o.running.name)))


def _daily(thing: Running, prices: Mapping[str, Decimal]) -> Decimal | None:
    total = Decimal(0)
    for instance_type, count in thing.instances:
        price = prices.get(instance_type)
        if price is None:
            return None
        total += price * count * _HOURS_A_DAY
    return total if thing.instances else None
