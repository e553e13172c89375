"""`tollgate plan` and `tollgate estimate`: what would this traffic have cost?"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from planner.comparison import Comparison, compare
from planner.designs import design_count
from planner.outcome import Outcome
from planner.reading import TraceError, read_trace
from planner.trace import Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World
from tollgate.domain.catalogue import Timing

_EXIT_UNREADABLE = 2
_PIPE_WIDTH = 140


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the commands; they need no stack."""
    plan = commands.add_parser("plan", help="what each design would have cost on a trace (CSV or JSON Lines)")
    plan.add_argument("trace", type=Path, help="columns as in docs/planner.md; .gz is read as it is")
    plan.add_argument("--group", help="only this tenant, team or model of the trace")
    _add_world(plan)
    plan.set_defaults(run_offline=run_plan)
    estimate = commands.add_parser("estimate", help="the same from a few numbers")
    estimate.add_argument("--requests-per-day", type=float, required=True)
    estimate.add_argument("--input-tokens", type=float, default=1000.0, help="mean (default 1000)")
    estimate.add_argument("--output-tokens", type=float, default=200.0, help="mean (default 200)")
    estimate.add_argument("--busy-hours", type=int, default=10, help="hours of the day with traffic (default 10)")
    estimate.add_argument("--burstiness", type=float, default=2.0, help="variation of the gaps; 1 is Poisson")
    estimate.add_argument("--days", type=int, default=7, help="length of the made trace (default 7)")
    _add_world(estimate)
    estimate.set_defaults(run_offline=run_estimate)


def _add_world(parser: argparse.ArgumentParser) -> None:
    base = Timing(0.2, 0.0001, 0.02)
    parser.add_argument("--instance-type", default="ml.g5.2xlarge")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--concurrency", type=int, default=16, help="requests that an instance serves at a time")
    parser.add_argument("--base-seconds", type=float, default=base.base_seconds)
    parser.add_argument("--seconds-per-input-token", type=float, default=base.seconds_per_input_token)
    parser.add_argument("--seconds-per-output-token", type=float, default=base.seconds_per_output_token)
    parser.add_argument("--startup-seconds", type=float, default=300.0, help="of an endpoint's instance")
    parser.add_argument(
        "--mix", default="0,0.5,0.5", help="shares of high, medium, low where the trace names no class or deadline"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run_plan(arguments: argparse.Namespace) -> int:
    """Replay a file."""
    try:
        trace = read_trace(arguments.trace)
    except TraceError as error:
        print(f"tollgate: {error}", file=sys.stderr)
        return _EXIT_UNREADABLE
    if arguments.group:
        if arguments.group not in trace.group_names:
            known = ", ".join(trace.group_names[:20])
            print(f"tollgate: no group '{arguments.group}' in the trace; it has {known}.", file=sys.stderr)
            return _EXIT_UNREADABLE
        trace = trace.only(trace.group_names.index(arguments.group))
    return _run(trace, arguments)


def run_estimate(arguments: argparse.Namespace) -> int:
    """Replay traffic that is made from the arguments."""
    busy = min(24, max(1, arguments.busy_hours))
    rates = [arguments.requests_per_day / busy if hour < busy else 0.0 for hour in range(24)]
    workload = Workload(
        rates,
        hours=24.0 * arguments.days,
        burstiness=arguments.burstiness,
        input_tokens=arguments.input_tokens,
        output_tokens=arguments.output_tokens,
    )
    trace = workload.trace(arguments.seed)
    if not len(trace):
        print("tollgate: these numbers make no request at all.", file=sys.stderr)
        return _EXIT_UNREADABLE
    return _run(trace, arguments)


def _run(trace: Trace, arguments: argparse.Namespace) -> int:
    try:
        mix = ClassMix(*(float(share) for share in arguments.mix.split(",")))
        draw_deadlines(trace, mix, arguments.seed)
    except (TypeError, ValueError):
        print("tollgate: --mix wants three shares that are not all zero, as in 0.1,0.3,0.6.", file=sys.stderr)
        return _EXIT_UNREADABLE
    world = replace(
        World.of(arguments.instance_type, arguments.region),
        concurrency=max(1, arguments.concurrency),
        endpoint_startup=arguments.startup_seconds,
        timing=Timing(arguments.base_seconds, arguments.seconds_per_input_token, arguments.seconds_per_output_token),
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=design_count(world))
        comparison = compare(trace, world, progress=lambda _: progress.advance(task))
    if arguments.json:
        print(json.dumps(document(trace, comparison), indent=2))
    else:
        console = Console()
        # A pipe has no width of its own; the table must not be cut there.
        show(trace, comparison, console if console.is_terminal else Console(width=_PIPE_WIDTH))
    return 0


def document(trace: Trace, comparison: Comparison) -> dict[str, Any]:
    """What `--json` prints; dollars are strings."""
    chosen = comparison.recommended
    return {
        "requests": len(trace),
        "rows": trace.rows,
        "malformed": dict(trace.malformed),
        "hours_billed": comparison.horizon / 3600,
        "least_usd": str(comparison.least),
        "recommended": chosen.design if chosen else None,
        "designs": [_entry(comparison, outcome) for outcome in comparison.outcomes],
    }


def _entry(comparison: Comparison, outcome: Outcome) -> dict[str, Any]:
    plain = asdict(outcome)
    plain["bill"] = {part: str(amount) for part, amount in outcome.bill.items()}
    return plain | {
        "total_usd": str(outcome.total),
        "usd_per_1k_requests": _text(outcome.per_thousand_requests),
        "usd_per_1m_tokens": _text(outcome.per_million_tokens),
        "saved": float(comparison.saved(outcome)),
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def show(trace: Trace, comparison: Comparison, console: Console) -> None:
    """Print the table, the rows that were left out, and the recommendation."""
    table = Table(title=f"{len(trace):,} requests in {comparison.horizon / 3600:,.0f} hours")
    table.add_column("design", no_wrap=True)
    for heading in ("bill $", "saved", "gateway $", "$/1k req", "$/1M tok", "p50 s", "p95 s", "p99 s", "missed"):
        table.add_column(heading, justify="right")
    table.add_column("used", justify="right")
    table.add_column("starts", justify="right")
    chosen = comparison.recommended
    for outcome in comparison.outcomes:
        latency = outcome.latency
        tokens = outcome.per_million_tokens
        table.add_row(
            outcome.design,
            f"{outcome.total:,.2f}",
            f"{comparison.saved(outcome):.1%}",
            f"{outcome.bill.get('gateway', Decimal(0)):,.2f}",
            f"{outcome.per_thousand_requests or 0:.4f}",
            "-" if tokens is None else f"{tokens:.4f}",
            *(f"{value:,.1f}" for value in (latency.p50, latency.p95, latency.p99)),
            f"{outcome.missed:,}",
            f"{outcome.utilisation:.1%}",
            f"{outcome.starts:,}",
            style="bold" if outcome is chosen else None,
        )
    console.print(table)
    if trace.malformed:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in trace.malformed.most_common())
        console.print(f"Left out {sum(trace.malformed.values()):,} of {trace.rows:,} rows: {reasons}.")
    console.print(f"No design can cost less than ${comparison.least:,.2f} (clairvoyant bound).")
    if chosen is None:
        console.print("Every design missed a deadline.")
    else:
        over = chosen.total / comparison.least - 1
        console.print(f"Cheapest without a missed deadline: {chosen.design}, {over:.0%} above the bound.")
