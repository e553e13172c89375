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

from planner.certainty import certainty
from planner.comparison import Comparison, compare
from planner.designs import design_count
from planner.reading import read_trace
from planner.trace import Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World, price_book

_DAYS = 14
_INSTANCE = "ml.g5.2xlarge"
_SPEED_DAYS = 14
_PRICED_MODEL = "meta.llama3-1-8b-instruct-v1:0"
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
        f"({chosen.total / comparison.least - 1:+.1%}), foreseen {comparison.foreseen:7.2f} "
        f"({chosen.total / comparison.foreseen - 1:+.1%}), baseline missed {comparison.baseline.missed:,}"
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
    tokens = replace(world, tokens=price_book().tokens[_PRICED_MODEL].rates.interactive)
    for title, mix, place in (
        ("half medium (15 min), half low (24 h), instances alone", _WAITING, world),
        (f"the same with {_PRICED_MODEL} beside them", _WAITING, tokens),
        (f"10 % high (60 s), 30 %, 60 %, with {_PRICED_MODEL}", _MIXED, tokens),
        ("10 % high (60 s), 30 %, 60 %, instances alone", _MIXED, world),
    ):
        trace = read_trace(path)
        draw_deadlines(trace, mix, 1)
        print(f"\n{title}; 14 days, {_INSTANCE} ${world.usd_per_hour}/h, {world.concurrency} places")
        tenants(trace, place)
    sureness(path, world, tokens)


def sureness(path: Path, world: World, tokens: World) -> None:
    """Print seeds and the assumptions that matter most, for each tenant."""
    print("\nhow sure: five seeds, and the greatest effects")
    undrawn = read_trace(path)
    for place, design in ((world, "wake for deadlines"), (tokens, "wake or tokens")):
        for group, name in enumerate(undrawn.group_names):
            alone = undrawn.only(group)

            def redrawn(seed: int, alone: Trace = alone) -> Trace:
                again = alone.copy()
                draw_deadlines(again, _WAITING, seed)
                return again

            sure = certainty(redrawn, place, design, horizon=_DAYS * 86_400.0, shown=4)
            effects = "; ".join(f"{v.name} {v.saved:.1%}, {v.missed:,} missed" for v in sure.sensitive)
            print(f"  {design:18} {name:11} {sure.low:.1%}..{sure.high:.1%}, missed {sure.missed}: {effects}")


if __name__ == "__main__":
    main()
