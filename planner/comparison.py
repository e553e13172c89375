"""All designs on one trace, with the bound below them and the cheapest one that keeps every deadline."""

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from decimal import Decimal
from multiprocessing import get_context

from planner.designs import Design, standard_designs
from planner.foresight import Bounds, find_bounds
from planner.outcome import Outcome, replay
from planner.trace import Trace
from planner.world import World

_HOUR = 3600.0
BOUND, TOKEN_BOUND = "the bound", "the bound with tokens"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `tollgate plan` prints.

    Attributes:
        outcomes: the baseline first.
        bounds: of the designs that use instances alone.
        token_bounds: of those that may also pay by the token; None without such a backend.
        horizon: seconds that are billed.
        watched: by design, where an endpoint wakes for deadlines: what the same would cost without the capacity
            function's rhythm, looked at all the time and served in the order of deadlines.
    """

    outcomes: tuple[Outcome, ...]
    bounds: Bounds
    token_bounds: Bounds | None
    horizon: float
    watched: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def baseline(self) -> Outcome:
        """One real-time instance that is never turned off."""
        return self.outcomes[0]

    @property
    def recommended(self) -> Outcome | None:
        """The cheapest that missed no deadline; None when each missed one."""
        in_time = (outcome for outcome in self.outcomes if not outcome.missed)
        return min(in_time, key=lambda outcome: outcome.total, default=None)

    @property
    def best(self) -> Outcome:
        """The recommended one; where there is none, the one that missed the fewest deadlines."""
        return self.recommended or min(self.outcomes, key=lambda o: (o.missed, o.total))

    def bounds_of(self, outcome: Outcome) -> Bounds:
        """The bounds of designs that have the same roads."""
        if self.token_bounds is not None and outcome.counts.get("tokens"):
            return self.token_bounds
        return self.bounds

    def above(self, outcome: Outcome) -> Decimal:
        """How far the outcome's bill is above its bound, as a share of the bound."""
        least = self.bounds_of(outcome).least
        return outcome.total / least - 1 if least else Decimal(0)

    def saved(self, outcome: Outcome) -> Decimal:
        """Share of the baseline's bill that this design saves; negative where it costs more."""
        return 1 - outcome.total / self.baseline.total if self.baseline.total else Decimal(0)


def compare(
    trace: Trace,
    world: World,
    *,
    horizon: float = 0.0,
    progress: Callable[[str], None] = lambda _: None,
    processes: int = 1,
) -> Comparison:
    """Replay the trace by every standard design, and find the bound.

    Args:
        trace: not empty, in order of arrival, with its deadlines.
        world: in which it is served.
        horizon: seconds that are billed; the trace's length in whole hours when that is longer.
        progress: called with each design's name, and with each of `bound_names`, when it is done.
        processes: that share the work; each one has the trace for itself.
    """
    held = world.held(trace)
    horizon = max(horizon, math.ceil(trace.seconds / _HOUR) * _HOUR)
    designs = standard_designs(world, sum(held) / len(held), set(trace.deadlines))
    setting = _Setting(trace, world, held, horizon, designs)
    found: dict[str, _Replayed | Bounds] = {}
    names = [*bound_names(world), *(design.name for design in reversed(designs))]  # what takes long is begun first
    if processes <= 1:
        for name in names:
            found[name] = setting.find(name)
            progress(name)
    else:
        with ProcessPoolExecutor(processes, get_context("spawn"), _keep, (setting,)) as pool:
            running = {pool.submit(_find, name): name for name in names}
            for done in as_completed(running):
                found[running[done]] = done.result()
                progress(running[done])
    replayed = [each for design in designs if isinstance(each := found[design.name], _Replayed)]
    bounds = [each for name in bound_names(world) if isinstance(each := found[name], Bounds)]
    return Comparison(
        tuple(each.outcome for each in replayed),
        bounds[0],
        bounds[1] if len(bounds) > 1 else None,
        horizon,
        {each.outcome.design: each.watched for each in replayed if each.watched is not None},
    )


def bound_names(world: World) -> tuple[str, ...]:
    """What is found besides the designs: a bound, and another one where requests may be paid by the token."""
    return (BOUND,) if world.tokens is None else (BOUND, TOKEN_BOUND)


@dataclass(frozen=True, slots=True)
class _Replayed:
    outcome: Outcome
    watched: Outcome | None


@dataclass(frozen=True, slots=True)
class _Setting:
    trace: Trace
    world: World
    held: "array[float]"
    horizon: float
    designs: Sequence[Design]

    def find(self, name: str) -> _Replayed | Bounds:
        """One design's outcome, with and without the rhythm where it has one, or bounds."""
        if name in {BOUND, TOKEN_BOUND}:
            world = self.world if name == TOKEN_BOUND else replace(self.world, tokens=None)
            return find_bounds(self.trace, world, self.held, self.horizon)
        design = next(one for one in self.designs if one.name == name)
        watched = None
        if design.waking and not design.sharing and self.world.rhythm:
            watched = self._replay(design, replace(self.world, rhythm=False))
        return _Replayed(self._replay(design, self.world), watched)

    def _replay(self, design: Design, world: World) -> Outcome:
        return replay(self.trace, design, world, held=self.held, horizon=self.horizon)


_kept: list[_Setting] = []


def _keep(setting: _Setting) -> None:
    """In a process that shares the work: the setting comes once, not with each design."""
    _kept[:] = [setting]


def _find(name: str) -> _Replayed | Bounds:
    return _kept[0].find(name)
