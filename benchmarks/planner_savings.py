"""The planner's speed, and what it finds on real traffic.

Reads `traffic/servegen_tenants.csv.gz` under `TOLLGATE_DATA` (default ../shared/data); without it only the speed is
measured, on made traffic. `docs/planner.md` explains the numbers.
"""

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from planner.comparison import Comparison, compare
from planner.designs import design_count
from planner.reading import read_trace
from planner.trace import Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World

_DAYS = 14
_INSTANCE = "ml.g5.2xlarge"
_SPEED_DAYS = 14
_SPEED_REQUESTS = int(os.environ.get("PLANNER_REQUESTS", "1000000"))
_WAITING = ClassMix(0.0, 0.5, 0.5)
_MIXED = ClassMix(0.1, 0.3, 0.6)


def speed() -> None:
    """Print how fast made traffic is replayed by all designs, for a quarter of it and for all of it."""
    world = World.of(_INSTANCE)
    designs = design_count(world)
    print(f"speed, {designs} designs, one process")
    for requests in (_SPEED_REQUESTS // 4, _SPEED_REQUESTS):
        shape = [requests / _SPEED_DAYS / 12 if 8 <= hour < 20 else 0.0 for hour in range(24)]
        trace = Workload(shape, hours=24.0 * _SPEED_DAYS, burstiness=2.0, input_tokens=900, output_tokens=60).trace(1)
        draw_deadlines(trace, _MIXED, 1)
        began = time.perf_counter()
        compare(trace, world)
        took = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rate = len(trace) * designs / took
        print(f"  {len(trace):9,} requests: {took:6.1f} s, {rate:9,.0f} requests x designs/s, peak {peak:,.0f} MB")


def _lines(name: str, baselines: int, comparison: Comparison) -> None:
    """Print one trace's recommendation, against `baselines` instances that never sleep."""
    always = comparison.baseline.bill["realtime instances"] if baselines == 1 else Decimal(0)
    hours = Decimal(comparison.horizon) / 3600
    always = max(always, hours * World.of(_INSTANCE).usd_per_hour * baselines)
    chosen = comparison.recommended
    if chosen is None:
        least = min(comparison.outcomes, key=lambda o: (o.missed, o.total))
        print(f"  {name:11} none without a missed deadline; fewest: {least.design}, {least.missed:,} missed")
        return
    print(
        f"  {name:11} {chosen.requests:8,} {chosen.design:22} {chosen.total:8.2f} of {always:8.2f}: saved "
        f"{1 - chosen.total / always:6.1%}, missed {chosen.missed}, bound {comparison.least:7.2f} "
        f"({chosen.total / comparison.least - 1:+.0%}), baseline missed {comparison.baseline.missed:,}"
    )


def tenants(trace: Trace, world: World) -> None:
    """Print savings for each tenant alone and for all of them together."""
    horizon = _DAYS * 86_400.0
    total = least = always = Decimal(0)
    parts: list[Comparison] = []
    for group, name in enumerate(trace.group_names):
        comparison = compare(trace.only(group), world, horizon=horizon)
        parts.append(comparison)
        _lines(name, 1, comparison)
        if comparison.recommended is not None:
            total += comparison.recommended.total
            least += comparison.least
            always += world.usd_per_hour * Decimal(horizon) / 3600
    if always:
        print(
            f"  {'all alone':11} {total:.2f} of {always:.2f}: saved {1 - total / always:.1%} ({total / least - 1:+.0%})"
        )
    _contributions(parts)
    _lines("all pooled", len(trace.group_names), compare(trace, world, horizon=horizon))


def _contributions(parts: Sequence[Comparison]) -> None:
    """Print what each design alone saves over all tenants."""
    for position, outcome in enumerate(parts[0].outcomes):
        totals = [part.outcomes[position] for part in parts]
        bill = sum((o.total for o in totals), Decimal(0))
        baseline = sum((part.baseline.total for part in parts), Decimal(0))
        missed = sum(o.missed for o in totals)
        print(f"    {outcome.design:24} {bill:9.2f}  saved {1 - bill / baseline:7.1%}  missed {missed:7,}")


def main() -> None:
    """Print everything."""
    speed()
    path = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "traffic" / "servegen_tenants.csv.gz"
    if not path.exists():
        print(f"{path} is absent: savings by tenant are skipped.")
        return
    world = World.of(_INSTANCE)
    for title, mix in (("half medium (15 min), half low (24 h)", _WAITING), ("10 % high (60 s), 30 %, 60 %", _MIXED)):
        trace = read_trace(path)
        draw_deadlines(trace, mix, 1)
        print(f"\n{title}; 14 days, {_INSTANCE} ${world.usd_per_hour}/h, {world.concurrency} places")
        tenants(trace, world)
    print("\nsensitivity, half medium and half low, all tenants alone")
    trace = read_trace(path)
    draw_deadlines(trace, _WAITING, 1)
    for name, other in (
        ("8 places", replace(world, concurrency=8)),
        ("32 places", replace(world, concurrency=32)),
        ("start-up 150 s", replace(world, endpoint_startup=150.0, job_startup=120.0)),
        ("start-up 500 s", replace(world, endpoint_startup=500.0, job_startup=440.0)),
    ):
        print(name)
        for group, tenant in enumerate(trace.group_names):
            _lines(tenant, 1, compare(trace.only(group), other, horizon=_DAYS * 86_400.0))


if __name__ == "__main__":
    main()
