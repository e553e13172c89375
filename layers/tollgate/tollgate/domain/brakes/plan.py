"""The steps of each brake level, what they save, and the record of what was done."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from tollgate.domain.brakes.level import BrakeLevel
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.money import ZERO
from tollgate.domain.places.standing import Place, PlaceKind, Standing, places_of

GATEWAY = "gateway"
"""Target of the steps that change what the gateway does, and nothing else."""

_WHAT_THE_GATEWAY_DOES = {
    BrakeLevel.WARN: "tell people",
    BrakeLevel.DOWNGRADE: "send requests to the smallest tier of their model",
    BrakeLevel.DEFER: "send requests one road down: real-time to async, async to batch",
    BrakeLevel.STOP: "refuse new work with 429, keep what waits waiting",
}


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One thing to do.

    Attributes:
        target: a place's key, or ``gateway``.
        usd_per_hour: dollars that it saves; None where that depends on the requests, or the price is unknown.
        exempt: why it is left alone; empty if it is not.
    """

    level: BrakeLevel
    target: str
    what: str
    usd_per_hour: Decimal | None = None
    exempt: str = ""


def brake_plan(
    catalogue: Catalogue, upto: BrakeLevel, standing: Mapping[Place, Standing] | None = None
) -> tuple[PlannedStep, ...]:
    """All steps of braking up to a level, in order; exempt places are listed as well.

    Args:
        catalogue: with brakes.
        upto: the last level.
        standing: how places stand now; the catalogue's own counts are used for those that are not in it.
    """
    steps = [PlannedStep(level, GATEWAY, what) for level, what in _WHAT_THE_GATEWAY_DOES.items() if level <= upto]
    if upto is BrakeLevel.STOP:
        steps += [_of_place(catalogue, place, (standing or {}).get(place)) for place in places_of(catalogue)]
    return tuple(steps)


def saving(steps: tuple[PlannedStep, ...]) -> Decimal:
    """Dollars an hour that the steps save, as far as prices are known."""
    return sum((s.usd_per_hour for s in steps if s.usd_per_hour is not None and not s.exempt), ZERO)


_DOWN = {
    PlaceKind.REALTIME: "delete the endpoint, keep its configuration",
    PlaceKind.ASYNC: "to 0 instances, scaling pinned",
    PlaceKind.COMPONENT: "to 0 copies, scaling pinned",
    PlaceKind.BATCH: "stop running transform jobs",
}


def _of_place(catalogue: Catalogue, place: Place, standing: Standing | None) -> PlannedStep:
    users = places_of(catalogue)[place]
    critical = [d.resource for d, _ in users if catalogue.brakes is not None and catalogue.brakes.is_critical(d)]
    _, road = users[0]
    # Whether a transform job will be running is not known beforehand.
    supposed = 0 if place.kind is PlaceKind.BATCH else road.instance_count
    count = supposed if standing is None else standing.current
    price = road.usd_per_hour
    return PlannedStep(
        level=BrakeLevel.STOP,
        target=place.key,
        what=_DOWN[place.kind],
        usd_per_hour=None if price is None else price * count,
        exempt=f"critical: {', '.join(critical)}" if critical else "",
    )


class EntryState(StrEnum):
    """The state of a step. `PLANNED`: nothing was touched yet. `GOING_DOWN` and `GOING_UP` take several calls."""

    PLANNED = "planned"
    GOING_DOWN = "going_down"
    DONE = "done"
    GOING_UP = "going_up"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class BrakeEntry:
    """A step in the record of an episode.

    Attributes:
        number: steps are done in this order and undone in the reverse one.
        before: how a place was found; stored before anything is changed, and restored by the undo.
        changes: what was changed, in order; `undone`: what was changed back.
        problem: what is in the way, if anything is.
    """

    episode: str
    number: int
    level: BrakeLevel
    target: str
    what: str
    state: EntryState
    planned_at: datetime
    usd_per_hour: Decimal | None = None
    before: Standing | None = None
    changes: tuple[str, ...] = ()
    done_at: datetime | None = None
    undone: tuple[str, ...] = ()
    undone_at: datetime | None = None
    problem: str = ""

    @property
    def is_in_force(self) -> bool:
        """Whether there may be changes that were not changed back."""
        return self.state is not EntryState.UNDONE
