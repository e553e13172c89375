"""All designs on one trace, with the bound below them and the cheapest one that keeps every deadline."""

import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from copy import replace
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from multiprocessing import get_context

from planner.designs import Design, designs_for
from planner.foresight import Bounds, find_bounds
from planner.outcome import Outcome, replay
from planner.trace import Trace
from planner.world import World

_HOUR = 3600.0
_WORTH_SAYING = Decimal("0.9")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `tollgate plan` prints.

    Attributes:
        outcomes: the baseline first.
        bounds: of the designs that use instances alone.
        token_bounds: of those that may also pay by the token; None without such a backend.
        horizon: seconds that are billed.
        watched: of those that may be explained, where an endpoint wakes for deadlines, by design: what the same would
            cost without the capacity function's rhythm, looked at all the time and served in the order of deadlines.
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
        """The cheapest that missed no deadline but the impossible ones; None when each missed one."""
        return cheapest_in_time(self.outcomes, self.impossible)

    @property
    def nearly(self) -> Outcome | None:
        """What costs a tenth less than the recommended one, or less, if one request in a thousand may be late."""
        limit = self.impossible + self.baseline.requests // 1_000
        found = cheapest_in_time(self.outcomes, limit)
        best = self.recommended
        return found if found and (best is None or found.total <= best.total * _WORTH_SAYING) else None

    @property
    def impossible(self) -> int:
        """Requests that take longer than their deadline on every road of the world."""
        return (self.token_bounds or self.bounds).impossible

    @property
    def on_instances(self) -> Outcome | None:
        """What would be recommended without a backend that is paid by the token."""
        alone = [outcome for outcome in self.outcomes if not outcome.counts.get("tokens")]
        return cheapest_in_time(alone, self.bounds.impossible)

    @property
    def best(self) -> Outcome:
        """The recommended one; where there is none, the one that missed the fewest deadlines."""
        return self.recommended or min(self.outcomes, key=lambda o: (o.missed, o.counts.get("refused", 0), o.total))

    def outcome(self, design: str) -> Outcome:
        """What this design does."""
        return next(one for one in self.outcomes if one.design == design)

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


def cheapest_in_time(outcomes: Iterable[Outcome], impossible: int = 0) -> Outcome | None:
    """The cheapest that missed none but so many deadlines, and not all; None when each missed more."""
    in_time = (one for one in outcomes if one.missed <= impossible and one.missed < one.requests)
    return min(in_time, key=lambda one: one.total, default=None)


def compare(
    trace: Trace,
    world: World,
    *,
    horizon: float = 0.0,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
    processes: int = 1,
) -> Comparison:
    """Replay the trace by every standard design, and find the bound.

    Args:
        trace: not empty, in order of arrival, with its deadlines.
        world: in which it is served.
        horizon: seconds that are billed; the whole hours that the trace covers when they are more, one at least.
        progress: called with how much is done, and of how much, whenever a design or a bound is.
        processes: that share the work; each one has the trace for itself.
    """
    horizon = max(horizon, math.ceil(max(trace.seconds, trace.covered) / _HOUR) * _HOUR, _HOUR)
    designs = designs_for(trace, world)
    alone = replace(world, tokens=None)
    worlds = [alone] if world.tokens is None else [alone, world]
    done, steps = count(1), len(worlds) + len(designs)
    with _pool(_Setting(trace, world, world.held(trace), horizon, designs), processes) as pool:

        def begun[T](future: Future[T]) -> Future[T]:
            future.add_done_callback(lambda _: progress(next(done), steps))
            return future

        bounds = [begun(pool.submit(_bounds, one)) for one in worlds]  # what takes long is begun first
        replays = {name: begun(pool.submit(_outcome, name)) for name in reversed(designs)}
        found = Comparison(
            tuple(replays[name].result() for name in designs),
            bounds[0].result(),
            bounds[1].result() if len(bounds) > 1 else None,
            horizon,
        )
        shown = {one.design for one in (found.recommended, found.on_instances) if one is not None}
        woken = [name for name, design in designs.items() if name in shown and design.waking and not design.sharing]
        watched = {name: pool.submit(_outcome, name, rhythm=False) for name in woken if world.rhythm}
        return replace(found, watched={name: outcome.result() for name, outcome in watched.items()})


@dataclass(frozen=True, slots=True)
class _Setting:
    trace: Trace
    world: World
    held: "array[float]"
    horizon: float
    designs: Mapping[str, Design]


_kept: list[_Setting] = []


def _keep(setting: _Setting) -> None:
    """In a process that shares the work: the setting comes once, not with each design."""
    _kept[:] = [setting]


def _bounds(world: World) -> Bounds:
    kept = _kept[0]
    return find_bounds(kept.trace, world, kept.held, kept.horizon)


def _outcome(name: str, *, rhythm: bool = True) -> Outcome:
    kept = _kept[0]
    world = kept.world if rhythm else replace(kept.world, rhythm=False)
    return replay(kept.trace, kept.designs[name], world, held=kept.held, horizon=kept.horizon)


class _AtOnce(Executor):
    """Does everything in this process, as it is handed in."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _pool(setting: _Setting, processes: int) -> Executor:
    if processes > 1:
        return ProcessPoolExecutor(processes, get_context("spawn"), _keep, (setting,))
    _keep(setting)
    return _AtOnce()
