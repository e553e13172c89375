"""Endpoints, components and transform jobs in memory, whose changes take until somebody says that they are over."""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass, field

from tollgate.domain.errors import BackendError
from tollgate.domain.places.standing import (
    Place,
    PlaceKind,
    ScalingTarget,
    Standing,
    StandStatus,
    Step,
    VariantStanding,
)


@dataclass
class FakeEndpoints:
    """An `EndpointControl`.

    Attributes:
        standings: what stands now, by place; a place that is missing does not exist.
        orders: every order that was given, in words.
        refusals: errors for the next calls of take_down and bring_up, oldest first; None lets one pass.
        failing: reasons for which the next starts fail, oldest first.
    """

    standings: dict[Place, Standing] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)
    refusals: list[BackendError | None] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    _ends: dict[Place, Callable[[], None]] = field(default_factory=dict)

    def put(self, standing: Standing) -> None:
        """Let this stand."""
        self.standings[standing.place] = standing

    def settle(self) -> None:
        """Let every change under way come to its end."""
        ends, self._ends = self._ends, {}
        for end in ends.values():
            end()

    def describe(self, place: Place) -> Standing:
        """See `EndpointControl`."""
        nothing = StandStatus.DOWN if place.kind is PlaceKind.BATCH else StandStatus.ABSENT
        return self.standings.get(place, Standing(place, nothing))

    def take_down(self, before: Standing, *, pinned: bool = True) -> Step:
        """See `EndpointControl`."""
        self._refuse()
        place, now = before.place, self.describe(before.place)
        match place.kind:
            case PlaceKind.BATCH:
                self.standings.pop(place, None)
                return Step(settled=not now.jobs, changes=tuple(f"transform job {job} stopped" for job in now.jobs))
            case PlaceKind.REALTIME:
                return self._delete(now)
            case PlaceKind.ASYNC | PlaceKind.COMPONENT:
                return self._empty(now, pinned=pinned)

    def _delete(self, now: Standing) -> Step:
        if now.status in {StandStatus.ABSENT, StandStatus.FAILED}:
            return Step(settled=True, problem=now.problem)
        if now.status is StandStatus.CHANGING:
            return _changing(now)
        self._begin(now, lambda: self.standings.pop(now.place), "deleted")
        return Step(settled=False, changes=(f"{now.place.key} deleted",))

    def _empty(self, now: Standing, *, pinned: bool) -> Step:
        if now.status is StandStatus.ABSENT:
            return Step(settled=True)
        wanted = tuple(replace(t, minimum=0, maximum=0 if pinned else t.maximum) for t in now.scaling)
        changes = self._target(now, wanted)
        if now.status is StandStatus.CHANGING:
            return _changing(now, changes)
        if now.desired == 0:
            return Step(settled=now.current == 0, changes=changes)
        now = self.describe(now.place)
        self._count(now, tuple(replace(v, desired=0) for v in now.variants))
        return Step(settled=False, changes=(*changes, f"{now.place.key}: -> 0"))

    def bring_up(self, before: Standing) -> Step:
        """See `EndpointControl`."""
        self._refuse()
        place, now = before.place, self.describe(before.place)
        if place.kind is PlaceKind.BATCH or before.status is StandStatus.ABSENT:
            return Step(settled=True)
        if place.kind is PlaceKind.REALTIME and now.status in {StandStatus.ABSENT, StandStatus.FAILED}:
            return self._make(before, now)
        if now.status is StandStatus.ABSENT:
            return Step(settled=False, problem=f"{place.key} does not exist any more", failed=True)
        if now.status is StandStatus.CHANGING:
            return _changing(now)
        changes = self._target(now, before.scaling)
        now = self.describe(place)
        counts = zip(now.variants, before.variants, strict=True)
        wanted = tuple(replace(is_, desired=was.desired, weight=was.weight) for is_, was in counts)
        if wanted == now.variants and now.status is not StandStatus.FAILED:
            return Step(settled=True, changes=changes, problem=now.problem)
        self._count(now, wanted)
        return Step(
            settled=False,
            changes=(*changes, f"{place.key}: -> {before.desired}"),
            problem=now.problem,
            failed=bool(now.problem),
        )

    def _make(self, before: Standing, now: Standing) -> Step:
        if now.status is StandStatus.FAILED:
            self._begin(now, lambda: self.standings.pop(now.place), "deleted after it failed")
            return Step(
                settled=False,
                changes=(f"{now.place.key} had failed and was deleted",),
                problem=now.problem,
                failed=True,
            )
        wanted = tuple(VariantStanding(v.name, 0, max(1, v.desired), 1.0) for v in before.variants)
        made = replace(before, status=StandStatus.CHANGING, variants=wanted, problem="")
        self._begin(made, lambda: self._started(made), "made")
        return Step(settled=False, changes=(f"{before.place.key} made again",))

    def _refuse(self) -> None:
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal

    def _begin(self, changing: Standing, end: Callable[[], object], word: str) -> None:
        self.orders.append(f"{changing.place.key} {word}")
        self.standings[changing.place] = replace(changing, status=StandStatus.CHANGING)
        self._ends[changing.place] = lambda: (end(), None)[1]

    def _target(self, now: Standing, wanted: tuple[ScalingTarget, ...]) -> tuple[str, ...]:
        if wanted == now.scaling:
            return ()
        self.standings[now.place] = replace(now, scaling=wanted)
        self.orders.append(f"{now.place.key} scaling")
        return (f"{now.place.key}: scaling target",)

    def _count(self, now: Standing, wanted: tuple[VariantStanding, ...]) -> None:
        aimed = replace(now, variants=wanted)
        old = now.variants
        self._begin(aimed, lambda: self._started(aimed, old), f"-> {aimed.desired}")

    def _started(self, aimed: Standing, old: tuple[VariantStanding, ...] | None = None) -> None:
        more = aimed.desired > sum(v.current for v in old or ())
        reason = self.failing.pop(0) if more and self.failing else ""
        if reason and old is None:
            failed = replace(aimed, status=StandStatus.FAILED, variants=(), problem=reason)
            self.standings[aimed.place] = failed
            return
        if reason and aimed.place.kind is PlaceKind.COMPONENT:
            self.standings[aimed.place] = replace(aimed, status=StandStatus.FAILED, problem=reason)
            return
        variants = old if reason and old is not None else tuple(replace(v, current=v.desired) for v in aimed.variants)
        idle = aimed.place.kind is not PlaceKind.REALTIME and not any(v.desired for v in variants)
        status = StandStatus.DOWN if idle else StandStatus.UP
        self.standings[aimed.place] = replace(aimed, variants=variants, status=status, problem=reason)


def _changing(now: Standing, changes: tuple[str, ...] = ()) -> Step:
    return Step(settled=False, changes=changes, problem=f"{now.place.key} is changing")
