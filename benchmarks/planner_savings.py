"""The planner's speed, what it finds on real traffic, and whether its books balance.

Reads `traffic/servegen_tenants.csv.gz` under `TOLLGATE_DATA` (default ../shared/data); without it only the speed is
measured, on made traffic. Two processes share the work. `docs/planner.md` explains the numbers.
"""

import os
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from planner.certainty import Certainty, certainty
from planner.comparison import Comparison, bound_names, compare
from planner.designs import design_count, standard_designs
from planner.gap import above_the_bound
from planner.instance_types import side_by_side
from planner.outcome import replay
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


def made(requests: int) -> Trace:
    """Two weeks with traffic from eight to eight, in bursts, one request in ten in a hurry."""
    shape = [requests / 14 / 12 if 8 <= hour < 20 else 0.0 for hour in range(24)]
    trace = Workload(shape, hours=24.0 * 14, burstiness=2.0, input_tokens=900, output_tokens=60).trace(1)
    draw_deadlines(trace, _MIXED, 1)
    return trace


def speed(instances: World, tokens: World) -> None:
    """Print how fast made traffic is replayed by all designs, bounds included, for a quarter of it and for all."""
    for title, world, sizes in (
        ("instances alone", instances, (_SPEED_REQUESTS // 4, _SPEED_REQUESTS)),
        ("with tokens", tokens, (_SPEED_REQUESTS // 4,)),
    ):
        designs = design_count(world)
        print(f"speed, {designs} designs and the bounds, {title}, {_PROCESSES} processes")
        seconds = []
        for requests in sizes:
            trace = made(requests)
            began, used = time.perf_counter(), _processor_seconds()
            _compared_with_a_bar(trace, world, designs)
            took, used = time.perf_counter() - began, _processor_seconds() - used
            seconds.append(used)
            peak = _peak(resource.RUSAGE_SELF) + _PROCESSES * _peak(resource.RUSAGE_CHILDREN)
            rate = len(trace) * designs / took
            print(
                f"  {len(trace):9,} requests: {took:6.1f} s, {used:6.1f} s of processor, "
                f"{rate:9,.0f} requests x designs/s, peak of all processes at most {peak:,.0f} MB"
            )
        if len(seconds) > 1:
            print(f"  four times the requests take {seconds[1] / seconds[0]:.1f} times the processor", flush=True)


def _compared_with_a_bar(trace: Trace, world: World, designs: int) -> None:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=designs + len(bound_names(world)))
        compare(trace, world, processes=_PROCESSES, progress=lambda _done: progress.advance(task))


def _processor_seconds() -> float:
    mine, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + others.ru_utime + others.ru_stime


def _peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def _print_comparison(name: str, baselines: int, comparison: Comparison) -> None:
    """Print one trace's recommendation, against `baselines` instances that never sleep."""
    hours = Decimal(comparison.horizon) / 3600
    always = max(comparison.baseline.total, hours * World.of(_INSTANCE).usd_per_hour * baselines)
    chosen = comparison.cheapest
    if chosen is None:
        least = min(comparison.outcomes, key=lambda o: (o.missed, o.total))
        print(f"  {name:11} none without a missed deadline; fewest: {least.design}, {least.missed:,} missed")
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


def _print_designs(parts: Sequence[Comparison]) -> None:
    """Print the sum of the tenants, and what each design saves over all of them."""
    chosen = [(part, part.cheapest) for part in parts if part.cheapest is not None]
    total = sum((one.total for _, one in chosen), Decimal(0))
    least = sum((part.bounds_of(one).least for part, one in chosen), Decimal(0))
    always = sum((part.baseline.total for part in parts), Decimal(0))
    print(f"  {'all alone':11} {total:.2f} of {always:.2f}: saved {1 - total / always:.1%} ({total / least - 1:+.1%})")
    for position, outcome in enumerate(parts[0].outcomes):
        totals = [part.outcomes[position] for part in parts]
        bill = sum((one.total for one in totals), Decimal(0))
        missed = sum(one.missed for one in totals)
        print(f"    {outcome.design:24} {bill:9.2f}  saved {1 - bill / always:7.1%}  missed {missed:7,}")


def _compared(trace: Trace, world: World) -> Comparison:
    return compare(trace, world, horizon=_HORIZON)


def _contributed(trace: Trace, world: World, comparison: Comparison) -> list[Contribution]:
    return contributions(trace, world, comparison.baseline, horizon=_HORIZON)


def _print_strategies(found: Sequence[Sequence[Contribution]], always: Decimal) -> None:
    """Print the factors of each strategy over the tenants, by the mean of their savings."""
    print(f"\nstrategies, alone and together, mean of the {len(found)} tenants (always on: ${always:.2f})")
    for position, first in enumerate(found[0]):
        same = [one[position] for one in found]
        saved = 1 - sum((one.factor for one in same), Decimal(0)) / len(same)
        missed = sum(one.missed for one in same)
        print(f"  {first.name:24} saves {saved:6.1%}, missed {missed:,}; first tenant: {first.basis}")


def _redrawn(trace: Trace, seed: int) -> Trace:
    again = trace.copy()
    draw_deadlines(again, _WAITING, seed)
    return again


def _certain(trace: Trace, world: World, design: str) -> Certainty:
    return certainty(lambda seed: _redrawn(trace, seed), world, design, horizon=_HORIZON, shown=4)


def _print_certainty(name: str, design: str, sure: Certainty) -> None:
    effects = "; ".join(f"{one.name} {one.saved:.1%}, {one.missed:,} missed" for one in sure.sensitive)
    print(f"  {design:18} {name:11} {sure.low:.1%}..{sure.high:.1%}, missed {sure.missed}: {effects}")


def _balance(trace: Trace, world: World, comparison: Comparison) -> tuple[bool, bool, float]:
    """Whether each request ends once and the parts are the total, by all designs; Little's law by the recommended."""
    once = all(sum(one.counts.values()) == len(trace) for one in comparison.outcomes)
    adds_up = all(sum(one.bill.values(), Decimal(0)) == one.total for one in comparison.outcomes)
    chosen = comparison.cheapest or comparison.baseline
    held = world.held(trace)
    designs = standard_designs(world, sum(held) / len(held), set(trace.deadlines))
    design = next(one for one in designs if one.name == chosen.design)
    horizon = _HORIZON + 86_400.0  # nobody is left at the end
    line = timeline(trace, design, world, horizon=horizon, step=600.0)
    mean = replay(trace, design, world, held=held, horizon=horizon).latency.mean
    in_system = sum(line.requests) * line.step
    return once, adds_up, in_system / (len(trace) * mean) - 1


def _tenants(path: Path, mix: ClassMix) -> Iterator[tuple[str, Trace]]:
    trace = read_trace(path)
    draw_deadlines(trace, mix, 1)
    for group, name in enumerate(trace.group_names):
        yield name, trace.only(group)


def savings(path: Path, world: World, tokens: World, pool: ProcessPoolExecutor) -> None:
    """Print what the planner finds for each tenant, alone and together."""
    for title, mix, place in (
        ("half medium (15 min), half low (24 h), instances alone", _WAITING, world),
        (f"the same with {_PRICED_MODEL} beside them", _WAITING, tokens),
        (f"10 % high (60 s), 30 %, 60 %, with {_PRICED_MODEL}", _MIXED, tokens),
        ("10 % high (60 s), 30 %, 60 %, instances alone", _MIXED, world),
    ):
        print(f"\n{title}; 14 days, {_INSTANCE} ${world.usd_per_hour}/h, {world.concurrency} places", flush=True)
        names, traces = zip(*_tenants(path, mix), strict=True)
        parts = list(pool.map(_compared, traces, [place] * len(traces)))
        for name, part in zip(names, parts, strict=True):
            _print_comparison(name, 1, part)
        _print_designs(parts)
        if mix is not _WAITING:
            continue
        pooled = read_trace(path)
        draw_deadlines(pooled, mix, 1)
        _print_comparison("all pooled", len(names), compare(pooled, place, horizon=_HORIZON, processes=_PROCESSES))
        print("  books: each request ends once; the parts are the total; Little's law is off by")
        for name, found in zip(names, pool.map(_balance, traces, [place] * len(traces), parts), strict=True):
            print(f"    {name:11} {found[0]}, {found[1]}, {found[2]:+.1e}")
        if place is tokens:
            always = sum((part.baseline.total for part in parts), Decimal(0))
            _print_strategies(list(pool.map(_contributed, traces, [place] * len(traces), parts)), always)
        print("  how sure: five seeds, and the greatest effects", flush=True)
        design = "wake or tokens" if place is tokens else "wake for deadlines"
        undrawn = read_trace(path)
        alone = [undrawn.only(group) for group in range(len(names))]
        for name, sure in zip(
            names, pool.map(_certain, alone, [place] * len(alone), [design] * len(alone)), strict=True
        ):
            _print_certainty(name, design, sure)
    name, trace = next(_tenants(path, _WAITING))
    print(f"\n{name} on other instances, speed by data sheets")
    others = dict.fromkeys(_OTHERS)
    for one in side_by_side(trace, world, _INSTANCE, "us-east-1", others, horizon=_HORIZON):
        print(f"  {one.instance_type:16} ${one.usd_per_hour}/h, speed {one.speed:.2f}: {one.design} ${one.total:.2f}")


def main() -> None:
    """Print everything."""
    world = World.of(_INSTANCE)
    tokens = replace(world, tokens=price_book().tokens[_PRICED_MODEL].rates.interactive)
    speed(world, tokens)
    path = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "traffic" / "servegen_tenants.csv.gz"
    if not path.exists():
        print(f"{path} is absent: savings by tenant are skipped.")
        return
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        savings(path, world, tokens, pool)


if __name__ == "__main__":
    main()
