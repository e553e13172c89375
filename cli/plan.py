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

from cli import plan_report
from planner.advice import advise
from planner.certainty import Certainty, certainty
from planner.commitment import advise as commitment
from planner.comparison import Comparison, compare
from planner.designs import design_count, standard_designs
from planner.outcome import Outcome
from planner.reading import TraceError, read_trace
from planner.strategies import Contribution, contributions
from planner.timeline import timeline
from planner.trace import Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World, price_book
from tollgate.domain.catalogue import Timing

_EXIT_UNREADABLE = 2
_PIPE_WIDTH = 140
_HOUR = 3600.0
_SEEDS = 5


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
    parser.add_argument("--token-model", help="id in the price book that could answer as well, paid by the token")
    parser.add_argument("--commitment-discount", type=Decimal, default=Decimal("0.28"), help="of a year's commitment")
    parser.add_argument("--quick", action="store_true", help="leave out strategies, seeds and sensitivity")
    parser.add_argument("--out", type=Path, help="folder for the recommended settings and the pictures")
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
        undrawn = trace.copy()
        draw_deadlines(trace, mix, arguments.seed)
    except (TypeError, ValueError):
        print("tollgate: --mix wants three shares that are not all zero, as in 0.1,0.3,0.6.", file=sys.stderr)
        return _EXIT_UNREADABLE
    book = price_book()
    if arguments.token_model and arguments.token_model not in book.tokens:
        print(f"tollgate: the price book knows {', '.join(sorted(book.tokens))}.", file=sys.stderr)
        return _EXIT_UNREADABLE
    world = replace(
        World.of(arguments.instance_type, arguments.region, book),
        concurrency=max(1, arguments.concurrency),
        endpoint_startup=arguments.startup_seconds,
        timing=Timing(arguments.base_seconds, arguments.seconds_per_input_token, arguments.seconds_per_output_token),
        tokens=book.tokens[arguments.token_model].rates.interactive if arguments.token_model else None,
    )

    def redrawn(seed: int) -> Trace:
        again = undrawn.copy()
        draw_deadlines(again, mix, seed)
        return again

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=design_count(world) + (1 if arguments.quick else 3))
        comparison = compare(trace, world, progress=lambda _: progress.advance(task))
        findings = _find(trace, comparison, world, arguments, redrawn, lambda: progress.advance(task))
    if arguments.json:
        print(json.dumps(document(trace, comparison) | plan_report.document(findings), indent=2))
    else:
        console = Console()
        # A pipe has no width of its own; the table must not be cut there.
        console = console if console.is_terminal else Console(width=_PIPE_WIDTH)
        show(trace, comparison, console)
        plan_report.show(findings, console)
    if arguments.out:
        for path in plan_report.write(findings, arguments.out):
            print(f"wrote {path}", file=sys.stderr)
    return 0


def _find(
    trace: Trace,
    comparison: Comparison,
    world: World,
    arguments: argparse.Namespace,
    *steps: Any,
) -> "plan_report.Findings":
    """Everything about the recommended design, or about the cheapest where each missed a deadline."""
    redrawn, advance = steps
    chosen = comparison.recommended or min(comparison.outcomes, key=lambda o: (o.missed, o.total))
    held = world.held(trace)
    designs = standard_designs(world, sum(held) / len(held), set(trace.deadlines))
    design = next(d for d in designs if d.name == chosen.design)
    horizon = comparison.horizon
    hours = timeline(trace, design, world, horizon=horizon, step=_HOUR)
    line = timeline(trace, design, world, horizon=horizon, step=max(60.0, horizon / 800))
    advance()
    strategies: tuple[Contribution, ...] = ()
    sure: Certainty | None = None
    if not arguments.quick:
        strategies = tuple(contributions(trace, world, comparison.baseline, horizon=horizon))
        advance()
        seeds = tuple(range(arguments.seed, arguments.seed + _SEEDS))
        sure = certainty(redrawn, world, design.name, horizon=horizon, seeds=seeds)
        advance()
    return plan_report.Findings(
        comparison=comparison,
        advice=advise(trace, comparison, design, world, arguments.instance_type),
        line=line,
        commitment=commitment(hours.instances, world.usd_per_hour, arguments.commitment_discount),
        strategies=strategies,
        certainty=sure,
    )


def document(trace: Trace, comparison: Comparison) -> dict[str, Any]:
    """What `--json` prints; dollars are strings."""
    chosen = comparison.recommended
    return {
        "requests": len(trace),
        "rows": trace.rows,
        "malformed": dict(trace.malformed),
        "hours_billed": comparison.horizon / 3600,
        "least_usd": str(comparison.least),
        "foreseen_usd": str(comparison.foreseen),
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
    console.print(
        f"No design can cost less than ${comparison.least:,.2f} (clairvoyant bound); "
        f"a schedule made with all requests known costs about ${comparison.foreseen:,.2f}."
    )
    if chosen is None:
        console.print("Every design missed a deadline.")
    else:
        over = chosen.total / comparison.least - 1
        console.print(f"Cheapest without a missed deadline: {chosen.design}, {over:.0%} above the bound.")
