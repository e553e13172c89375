"""The planner's speed, what it finds on real traffic, and whether its books balance.

Reads `traffic/servegen_tenants.csv.gz` under `TOLLGATE_DATA` (default ../shared/data); without it only the speed is
measured, on made traffic. Two processes share the work. `docs/planner.md` explains the numbers.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from copy import replace
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from planner_foresight import Knowledge, worth_of_knowing
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from planner.certainty import Certainty, certainty
from planner.comparison import Comparison, compare
from planner.designs import designs_for
from planner.gap import above_the_bound
from planner.instance_types import OnType, side_by_side
from planner.outcome import Outcome, replay
from planner.reading import read_trace
from planner.strategies import Contribution, contributions
from planner.timeline import timeline
from planner.trace import Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World, price_book

_HORIZON = 14 * 86_400.0
_INSTANCE = "ml.g5.2xlarge"
_OTHERS = ("ml.g6.2xlarge", "ml.g4dn.2xlarge")
_PRICED_MODEL = "meta.llama3-1-8b-instruct-v1:0"
_SPEED_REQUESTS = int(os.environ.get("PLANNER_REQUESTS", "1000000"))
_PROCESSES = 2
_WAITING = ClassMix(0.0, 0.5, 0.5)
_MIXED = ClassMix(0.1, 0.3, 0.6)
_FAR = Decimal("0.1")
_WAKING = "wake for deadlines"


def made(requests: int) -> Trace:
    """Two weeks with traffic from eight to eight, in bursts, one request in ten in a hurry."""
    shape = [requests / 14 / 12 if 8 <= hour < 20 else 0.0 for hour in range(24)]
    trace = Workload(shape, hours=24.0 * 14, burstiness=2.0, input_tokens=900, output_tokens=60).trace(1)
    draw_deadlines(trace, _MIXED, 1)
    return trace


def speed(world: World) -> None:
    """Print how fast made traffic is replayed by all designs, the bound included, for a quarter of it and for all."""
    print(f"speed, all designs and the bound, {_PROCESSES} processes", flush=True)
    seconds = []
    for requests in (_SPEED_REQUESTS // 4, _SPEED_REQUESTS):
        trace = made(requests)
        began, used = time.perf_counter(), _processor_seconds()
        with _bar(f"{requests:,} requests") as advance:
            designs = len(compare(trace, world, processes=_PROCESSES, progress=advance).outcomes)
        took, used = time.perf_counter() - began, _processor_seconds() - used
        seconds.append(used)
        peak = _peak(resource.RUSAGE_SELF) + _PROCESSES * _peak(resource.RUSAGE_CHILDREN)
        rate = len(trace) * designs / took
        print(
            f"  {len(trace):9,} requests x {designs} designs: {took:6.1f} s, {used:6.1f} s of processor, "
            f"{rate:9,.0f} of them/s, peak of all processes at most {peak:,.0f} MB",
            flush=True,
        )
    print(f"  four times the requests take {seconds[1] / seconds[0]:.1f} times the processor", flush=True)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, to be told how much is done, and of how much."""
    columns = *Progress.get_default_columns(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, steps: progress.update(task, completed=done, total=steps)


def _processor_seconds() -> float:
    mine, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + others.ru_utime + others.ru_stime


def _peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def _print_chosen(name: str, comparison: Comparison, chosen: Outcome | None, always: Decimal) -> None:
    """Print one trace's best design against instances that never sleep, and why it is not nearer to the bound."""
    if chosen is None:
        print(f"  {name:11} none without a missed deadline")
        return
    above, bounds = comparison.above(chosen), comparison.bounds_of(chosen)
    print(
        f"  {name:11} {chosen.requests:8,} {chosen.design:22} {chosen.total:8.2f} of {always:8.2f}: saved "
        f"{1 - chosen.total / always:6.1%}, missed {chosen.missed}, bound {bounds.least:7.2f} "
        f"({above:+.1%}), foreseen {bounds.foreseen_usd:7.2f} "
        f"({chosen.total / bounds.foreseen_usd - 1:+.1%}), baseline missed {comparison.baseline.missed:,}"
    )
    if above > _FAR:
        for reason in above_the_bound(comparison, chosen):
            print(f"      {reason.usd:+8.2f}  {reason.text}")


def _print_best(
    title: str, names: Sequence[str], parts: Sequence[Comparison], best: Callable[[Comparison], Outcome | None]
) -> None:
    """Print the tenants' best designs, and their sum."""
    print(f"  {title}", flush=True)
    for name, part in zip(names, parts, strict=True):
        _print_chosen(name, part, best(part), part.baseline.total)
    chosen = [(part, outcome) for part in parts if (outcome := best(part)) is not None]
    total = sum((outcome.total for _, outcome in chosen), Decimal(0))
    least = sum((part.bounds_of(outcome).least for part, outcome in chosen), Decimal(0))
    always = sum((part.baseline.total for part, _ in chosen), Decimal(0))
    if chosen:
        saved, above = 1 - total / always, total / least - 1
        print(
            f"  {'all alone':11} {total:.2f} of {always:.2f}: saved {saved:.1%} ({above:+.1%}), {len(chosen)} tenants"
        )


def _print_designs(parts: Sequence[Comparison]) -> None:
    """Print what each design saves over all of them."""
    always = sum((part.baseline.total for part in parts), Decimal(0))
    print("  by design, all alone")
    for position, outcome in enumerate(parts[0].outcomes):
        totals = [part.outcomes[position] for part in parts]
        bill = sum((one.total for one in totals), Decimal(0))
        missed = sum(one.missed for one in totals)
        print(f"    {outcome.design:24} {bill:9.2f}  saved {1 - bill / always:7.1%}  missed {missed:7,}")


def _print_strategies(found: Sequence[Sequence[Contribution]], always: Decimal) -> None:
    """Print the factors of each strategy over the tenants, by the mean of their savings."""
    print(f"\nstrategies, alone and together, mean of the {len(found)} tenants (always on: ${always:.2f})")
    for position, first in enumerate(found[0]):
        same = [one[position] for one in found]
        saved = 1 - sum((one.factor for one in same), Decimal(0)) / len(same)
        missed = sum(one.missed for one in same)
        ranges = ""
        if first.if_half is not None and first.if_twice is not None:
            halves = 1 - sum((one.if_half or Decimal(1) for one in same), Decimal(0)) / len(same)
            doubles = 1 - sum((one.if_twice or Decimal(1) for one in same), Decimal(0)) / len(same)
            ranges = f" ({halves:.1%} if the assumed figure were half, {doubles:.1%} if twice)"
        print(f"  {first.name:24} saves {saved:6.1%}{ranges}, missed {missed:,}; first tenant: {first.basis}")


def _certain(undrawn: Trace, world: World) -> Certainty:
    def redrawn(seed: int) -> Trace:
        again = undrawn.copy()
        draw_deadlines(again, _WAITING, seed)
        return again

    first = redrawn(1)
    planned = replay(first, designs_for(first, world)[_WAKING], world, horizon=_HORIZON)
    return certainty(redrawn, world, planned, horizon=_HORIZON, shown=4)


def _print_certainty(name: str, sure: Certainty) -> None:
    effects = "; ".join(f"{one.name} {one.saved:.1%}, {one.missed:,} missed" for one in sure.sensitive)
    print(f"  {name:11} {sure.low:.1%}..{sure.high:.1%}, missed {sure.missed}: {effects}")


def _balance(trace: Trace, world: World, comparison: Comparison) -> tuple[bool, bool, float]:
    """Whether each request ends once and the parts are the total, by all designs; Little's law by the recommended."""
    once = all(sum(one.counts.values()) == len(trace) for one in comparison.outcomes)
    adds_up = all(sum(one.bill.values(), Decimal(0)) == one.total for one in comparison.outcomes)
    chosen = comparison.recommended or comparison.baseline
    design = designs_for(trace, world)[chosen.design]
    horizon = _HORIZON + 86_400.0  # nobody is left at the end
    line = timeline(trace, design, world, horizon=horizon, step=600.0)
    mean = line.outcome.latency.mean
    in_system = sum(line.requests) * line.step
    return once, adds_up, in_system / (len(trace) * mean) - 1


def _known(trace: Trace, world: World) -> Knowledge:
    """For the requests with the shortest deadline."""
    shortest = min(trace.deadlines)
    mine = trace.chosen(bytearray(deadline == shortest for deadline in trace.deadlines))
    return worth_of_knowing(mine.arrivals, shortest, world.endpoint_startup)


def _changed(trace: Trace) -> Iterator[tuple[str, Trace, float]]:
    """The same tenant at other times: each of its weeks alone, and its fortnight stretched to three times as long."""
    half = _HORIZON / 2
    for title, begin, end, stretch in (
        ("week 1", 0.0, half, 1.0),
        ("week 2", half, _HORIZON, 1.0),
        ("x 3", 0.0, _HORIZON, 3.0),
    ):
        keep = bytearray(begin <= arrival < end for arrival in trace.arrivals)
        part = trace.chosen(keep)
        for position, arrival in enumerate(part.arrivals):
            part.arrivals[position] = (arrival - begin) * stretch
        yield title, part, (end - begin) * stretch


def _generalised(trace: Trace, world: World) -> list[str]:
    """What the rule that wakes for deadlines saves on the changed tenant."""
    found = []
    for title, part, horizon in _changed(trace):
        if not len(part):
            found.append(f"{title}: no traffic")
            continue
        outcome = replay(part, designs_for(part, world)[_WAKING], world, horizon=horizon)
        always = world.usd_per_hour * Decimal(horizon) / 3600
        found.append(f"{title}: saved {1 - outcome.total / always:.1%}, missed {outcome.missed}")
    return found


@dataclass(frozen=True, slots=True)
class _Tenant:
    """Everything that is found about a tenant whose requests can wait."""

    comparison: Comparison
    other_times: list[str]
    books: tuple[bool, bool, float]
    knowledge: Knowledge
    strategies: list[Contribution]
    certainty: Certainty


def _studied(trace: Trace, undrawn: Trace, world: World) -> _Tenant:
    comparison = compare(trace, world, horizon=_HORIZON)
    return _Tenant(
        comparison,
        _generalised(trace, world),
        _balance(trace, world, comparison),
        _known(trace, world),
        contributions(trace, world, comparison),
        _certain(undrawn, world),
    )


def _compared(trace: Trace, world: World) -> Comparison:
    return compare(trace, world, horizon=_HORIZON)


def savings(path: Path, world: World, tokens: World) -> None:
    """Print what the planner finds for each tenant, alone and together; two processes share the tenants."""
    undrawn = read_trace(path)
    waiting, mixed = undrawn.copy(), undrawn.copy()
    draw_deadlines(waiting, _WAITING, 1)
    draw_deadlines(mixed, _MIXED, 1)
    names = undrawn.group_names
    groups = range(len(names))
    done = count(1)
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool, _bar("tenants") as advance:
        studied = [pool.submit(_studied, waiting.only(group), undrawn.only(group), tokens) for group in groups]
        pooled = pool.submit(_compared, waiting, world)
        hurried = [pool.submit(_compared, mixed.only(group), tokens) for group in groups]
        others = dict.fromkeys(_OTHERS)
        types = pool.submit(side_by_side, waiting.only(0), world, _INSTANCE, "us-east-1", others, horizon=_HORIZON)
        begun: list[Future[_Tenant] | Future[Comparison] | Future[list[OnType]]] = [*studied, pooled, *hurried, types]
        for future in begun:
            future.add_done_callback(lambda _: advance(next(done), len(begun)))
        tenants = [future.result() for future in studied]
        parts = [tenant.comparison for tenant in tenants]
        _print_comparisons("half medium (15 min), half low (24 h)", world, names, parts)
        together = pooled.result()
        _print_chosen("all pooled", together, together.recommended, together.baseline.total * len(names))
        _print_tenants(names, tenants)
        _print_comparisons(
            "10 % high (60 s), 30 % medium, 60 % low", world, names, [future.result() for future in hurried]
        )
        print(f"\n{names[0]} on other instances, speed by data sheets", flush=True)
        for one in types.result():
            print(
                f"  {one.instance_type:16} ${one.usd_per_hour}/h, speed {one.speed:.2f}: {one.design} ${one.total:.2f}"
            )


def _print_comparisons(title: str, world: World, names: Sequence[str], parts: Sequence[Comparison]) -> None:
    """Print what is best for each tenant, and what each design does for all of them."""
    print(f"\n{title}; 14 days, {_INSTANCE} ${world.usd_per_hour}/h, {world.concurrency} places", flush=True)
    _print_best("instances alone", names, parts, lambda part: part.on_instances)
    _print_best(f"with {_PRICED_MODEL} beside them", names, parts, lambda part: part.recommended)
    _print_designs(parts)


def _print_tenants(names: Sequence[str], tenants: Sequence[_Tenant]) -> None:
    """Print other times, the books, what knowing is worth, the strategies, and how sure it is."""
    print(f"  {_WAKING} at other times")
    for name, tenant in zip(names, tenants, strict=True):
        print(f"    {name:11} {'; '.join(tenant.other_times)}")
    print("  books: each request ends once; the parts are the total; Little's law is off by")
    for name, tenant in zip(names, tenants, strict=True):
        print(f"    {name:11} {tenant.books[0]}, {tenant.books[1]}, {tenant.books[2]:+.1e}")
    print("  what knowing is worth, if requests took no time: start-ups and time up, against waking late")
    for name, tenant in zip(names, tenants, strict=True):
        late = tenant.knowledge.as_late_as_possible
        print(
            f"    {name:11} rates of every ten minutes known {tenant.knowledge.rates_known / late - 1:+.1%}, "
            f"every second known {tenant.knowledge.all_known / late - 1:+.1%}"
        )
    always = sum((tenant.comparison.baseline.total for tenant in tenants), Decimal(0))
    _print_strategies([tenant.strategies for tenant in tenants], always)
    print(f"  how sure {_WAKING} is: five seeds, and the greatest effects")
    for name, tenant in zip(names, tenants, strict=True):
        _print_certainty(name, tenant.certainty)


def main() -> None:
    """Print everything."""
    world = World.of(_INSTANCE)
    tokens = replace(world, tokens=price_book().tokens[_PRICED_MODEL].rates, token_model=_PRICED_MODEL)
    began = time.perf_counter()
    speed(world)
    path = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "traffic" / "servegen_tenants.csv.gz"
    if not path.exists():
        print(f"{path} is absent: savings by tenant are skipped.")
        return
    savings(path, world, tokens)
    print(f"\nall of this took {time.perf_counter() - began:.0f} s, {_processor_seconds():.0f} s of processor")


if __name__ == "__main__":
    main()
