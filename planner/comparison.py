"""All designs on one trace, with the bound below them and the cheapest one that keeps every deadline."""

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import compress
from multiprocessing import get_context

from planner.bound import Startups, cheapest_cover, least_instance_seconds, meaningful_windows
from planner.designs import Design, standard_designs
from planner.gateway_share import cheapest_job, gateway_parts
from planner.outcome import Outcome, replay
from planner.token_bound import TokenWorld, foreseen_schedule, least_dollars
from planner.trace import Trace
from planner.world import World
from tollgate.domain.money import seconds, usd
from tollgate.domain.pricing import instance_cost

_HOUR = 3600.0
BOUND = "the bound"


@dataclass(frozen=True, slots=True)
class Foresight:
    """A schedule made with all requests known.

    Attributes:
        bill: dollars for instances, tokens and the gateway's own parts.
        starts: of endpoints.
    """

    bill: Mapping[str, Decimal]
    starts: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `tollgate plan` prints.

    Attributes:
        outcomes: the baseline first.
        least: dollars that no design can go below, its gateway parts included.
        foresight: a schedule made with all requests known, that pays its work and its waiting apart and never runs out
            of places; the true optimum lies near or below it, and not below `least`.
        horizon: seconds that are billed.
    """

    outcomes: tuple[Outcome, ...]
    least: Decimal
    foresight: "Foresight"
    horizon: float

    @property
    def foreseen(self) -> Decimal:
        """Dollars of the schedule made with all requests known."""
        return sum(self.foresight.bill.values(), Decimal(0))

    @property
    def baseline(self) -> Outcome:
        """One real-time instance that is never turned off."""
        return self.outcomes[0]

    @property
    def recommended(self) -> Outcome | None:
        """The cheapest that missed no deadline; None when each missed one."""
        return min((o for o in self.outcomes if not o.missed), key=lambda o: o.total, default=None)

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
        progress: called with each design's name, and with `BOUND`, when it is done.
        processes: that share the work; each one has the trace for itself.
    """
    held = world.held(trace)
    horizon = max(horizon, math.ceil(trace.seconds / _HOUR) * _HOUR)
    designs = standard_designs(world, sum(held) / len(held), set(trace.deadlines))
    setting = _Setting(trace, world, held, horizon, designs)
    found: dict[str, Outcome | tuple[Decimal, Foresight]] = {}
    names = [BOUND, *(design.name for design in reversed(designs))]  # what takes long is begun first
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
    bounds = found.pop(BOUND)
    assert isinstance(bounds, tuple)  # noqa: S101 - for the type checker
    outcomes = [outcome for design in designs if isinstance(outcome := found[design.name], Outcome)]
    return Comparison(tuple(outcomes), least=bounds[0], foresight=bounds[1], horizon=horizon)


@dataclass(frozen=True, slots=True)
class _Setting:
    trace: Trace
    world: World
    held: "array[float]"
    horizon: float
    designs: Sequence[Design]

    def find(self, name: str) -> "Outcome | tuple[Decimal, Foresight]":
        """One design's outcome, or the two bounds."""
        if name == BOUND:
            least = _least(self.trace, self.world, self.held, self.horizon)
            return least, _foreseen(self.trace, self.world, self.held)
        design = next(one for one in self.designs if one.name == name)
        return replay(self.trace, design, self.world, held=self.held, horizon=self.horizon)


_kept: list[_Setting] = []


def _keep(setting: _Setting) -> None:
    """In a process that shares the work: the setting comes once, not with each design."""
    _kept[:] = [setting]


def _find(name: str) -> "Outcome | tuple[Decimal, Foresight]":
    return _kept[0].find(name)


def startups(world: World) -> Startups:
    """Of the roads that the world has."""
    return Startups(world.endpoint_startup, world.job_startup)


def _least(trace: Trace, world: World, held: "array[float]", horizon: float) -> Decimal:
    """The bound of all designs of this world."""
    if world.tokens is None:
        gateway = _least_gateway(trace, world, held)
        least = least_instance_seconds(
            trace.arrivals,
            held,
            trace.deadlines,
            concurrency=world.concurrency,
            startups=startups(world),
            horizon=horizon,
        )
        return instance_cost(seconds(least), world.usd_per_hour, 1) + gateway
    prices = _prices(trace, world, held)
    dollars = least_dollars(trace.arrivals, held, trace.deadlines, prices)
    return usd(Decimal(dollars)) + _least_gateway(trace, world, held)


def _prices(trace: Trace, world: World, held: "array[float]") -> TokenWorld:
    """Prices of the bound with tokens; the gateway's parts of an instance's requests are added to both sides."""
    per_second = world.usd_per_second
    by_token, by_instance = gateway_parts(trace, world, held)
    own = zip(world.token_dollars(trace), by_token, by_instance, strict=True)
    return TokenWorld(
        tokens_usd=array("d", [usd_ + more - less for usd_, more, less in own]),
        later_usd=array("d", [cheapest_job(world) - less for less in by_instance]),
        place_second_usd=per_second / world.concurrency,
        start_usd=per_second * world.endpoint_startup,
        instance_second_usd=per_second,
        job_usd=per_second * world.job_startup,
        job_seconds=world.job_startup,
    )


def _foreseen(trace: Trace, world: World, held: "array[float]") -> Foresight:
    gateway = _least_gateway(trace, world, held)
    if world.tokens is None:
        windows = meaningful_windows(trace.arrivals, held, trace.deadlines)
        cover = cheapest_cover(windows, [1.0], Startups(world.endpoint_startup))
        lasts = cover.cost + sum(held) / world.concurrency
        bill = {"instances": instance_cost(seconds(lasts), world.usd_per_hour, 1), "gateway": gateway}
        return Foresight(bill, cover.starts)
    prices = replace(_prices(trace, world, held), job_usd=math.inf)
    found = foreseen_schedule(trace.arrivals, held, trace.deadlines, prices)
    instances = usd(Decimal(found.instance_dollars))
    tokens = usd(Decimal(sum(compress(world.token_dollars(trace), found.by_token))))
    rest = usd(Decimal(found.dollars)) - instances - tokens
    return Foresight({"instances": instances, "tokens": tokens, "gateway": gateway + rest}, found.starts)


def _least_gateway(trace: Trace, world: World, held: "array[float]") -> Decimal:
    """Every request at the gateway's cheapest road, which keeps a function waiting or records a job."""
    return usd(Decimal(sum(gateway_parts(trace, world, held)[1])))
