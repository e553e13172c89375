"""`tollgate plan` and `tollgate estimate`: what would this traffic have cost?"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from copy import replace
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from cli import plan_report
from cli.arguments import add, hours, natural, number, positive
from cli.plan_choices import Choices, add_world, read_choices
from cli.tables import counted, new_console
from planner.advice import advise
from planner.certainty import certainty
from planner.commitment import advise as commitment
from planner.comparison import Comparison, compare
from planner.described import read_workload
from planner.designs import designs_for
from planner.gap import above_the_bound
from planner.instance_types import SpeedUnknownError, side_by_side
from planner.opening import TraceError
from planner.outcome import Outcome
from planner.rates import Rates, names, only, read_rates
from planner.reading import read_trace
from planner.strategies import contributions
from planner.timeline import timeline
from planner.trace import NO_DEADLINE, Trace
from planner.workload import Workload, draw_deadlines
from planner.world import World
from tollgate.domain.errors import TollgateError

_EXIT_UNREADABLE = 2
_UNWRITABLE = "--out: nothing can be written into {}."
_HOUR = 3600.0
_SEEDS = 5
_HALF_A_CENT = Decimal("0.005")
_WHOLE_FROM = 1000
"""Seconds from which on a table shows no tenths."""
_WORTH_SHARING = 100_000
_MOST_MADE = 5_000_000
_MOST_PROCESSES = 4


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the commands; they need no stack."""
    plan = add(
        commands,
        "plan",
        "what each design would have cost on a trace (CSV or JSON)",
        "plan traffic.csv --quick",
        "plan traffic.jsonl.gz --group team-a --mix 0.1,0.3,0.6 --out advice/",
        "plan traffic.csv --token-model meta.llama3-1-8b-instruct-v1:0 --json",
    )
    plan.add_argument(
        "trace", type=Path, help="columns as in docs/planner.md, packed or not; or a workload described in .toml"
    )
    plan.add_argument("--group", help="only this tenant, team or model of the trace")
    add_world(plan)
    plan.set_defaults(run_offline=run_plan)
    estimate = add(
        commands,
        "estimate",
        "what each design would cost, from a few numbers",
        "estimate --requests-per-day 5000 --quick",
        "estimate --requests-per-day 5000 --input-tokens 400 --output-tokens 50 --instance-type ml.g6.2xlarge",
    )
    estimate.add_argument("--requests-per-day", type=positive, required=True, help="mean")
    estimate.add_argument("--input-tokens", type=positive, default=1000.0, help="mean (default: 1000)")
    estimate.add_argument("--output-tokens", type=number, default=200.0, help="mean (default: 200)")
    estimate.add_argument("--busy-hours", type=hours, default=10, help="hours of the day with traffic (default: 10)")
    estimate.add_argument(
        "--burstiness", type=number, default=2.0, help="variation of the gaps; 1 is Poisson (default: 2)"
    )
    estimate.add_argument("--days", type=natural, default=7, help="length of the made trace (default: 7)")
    add_world(estimate)
    estimate.set_defaults(run_offline=run_estimate)


def run_plan(arguments: argparse.Namespace) -> int:
    """Replay a file."""
    try:
        if arguments.trace.suffix == ".toml":
            if arguments.group:
                return _refused("a described workload has no groups.")
            return _run(read_workload(arguments.trace).trace, arguments)
        rates = read_rates(arguments.trace)
        if rates is not None:
            return _run_rates(rates, arguments)
        trace = read_trace(arguments.trace)
    except TraceError as error:
        return _refused(str(error))
    if arguments.group:
        if arguments.group not in trace.group_names:
            known = ", ".join(trace.group_names[:20])
            return _refused(f"no group '{arguments.group}' in the trace; it has {known}.")
        trace = trace.only(trace.group_names.index(arguments.group))
    return _run(lambda _seed: trace.copy(), arguments)


def run_estimate(arguments: argparse.Namespace) -> int:
    """Replay traffic that is made from the arguments."""
    if arguments.requests_per_day * arguments.days > _MOST_MADE:
        return _refused(f"that is more than {_MOST_MADE:,} requests; plan fewer --days.")
    busy = arguments.busy_hours
    rates = [arguments.requests_per_day / busy if hour < busy else 0.0 for hour in range(24)]
    workload = Workload(
        rates,
        hours=24.0 * arguments.days,
        burstiness=arguments.burstiness,
        input_tokens=arguments.input_tokens,
        output_tokens=arguments.output_tokens,
    )
    return _run(workload.trace, arguments)


def _refused(reason: str) -> int:
    print(f"tollgate: {reason}", file=sys.stderr)
    return _EXIT_UNREADABLE


def _run_rates(rates: Rates, arguments: argparse.Namespace) -> int:
    """Replay traffic that is published as rates."""
    known = list(names(rates))
    if arguments.group:
        if arguments.group not in known:
            return _refused(f"no group '{arguments.group}' in the trace; it has {', '.join(known)}.")
        rates = only(rates, arguments.group)
    if rates.share < 1:
        print(f"tollgate: rates, not requests: {rates.share:.3%} of them are drawn and planned.", file=sys.stderr)
    return _run(rates.trace, arguments)


def _run(made: Callable[[int], Trace], arguments: argparse.Namespace) -> int:
    """Plan the trace that `made` gives for the seed; other seeds show how sure the plan is."""
    trace = made(arguments.seed)
    if not len(trace):
        return _refused("these numbers make no request at all.")
    try:
        choices = read_choices(arguments, trace)
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
        drawn = sum(deadline == NO_DEADLINE for deadline in trace.deadlines)
        draw_deadlines(trace, choices.mix, arguments.seed)
        comparison = _compared(trace, choices.world)
        console = new_console()
        if not arguments.json:
            show(trace, comparison, console)
            plan_report.show_assumed(arguments, drawn, console)
        findings = _found(made, trace, comparison, choices, arguments)
    except (TollgateError, SpeedUnknownError, TraceError, ValueError) as error:
        return _refused(str(error))
    except OSError:
        return _refused(_UNWRITABLE.format(arguments.out))
    if arguments.json:
        found = document(trace, comparison) | {"deadlines_drawn": drawn} | plan_report.document(findings)
        print(json.dumps(found, indent=2))
    else:
        plan_report.show(findings, console)
    if arguments.out:
        try:
            written = plan_report.write(findings, arguments.out)
        except OSError:
            return _refused(_UNWRITABLE.format(arguments.out))
        for path in written:
            print(f"wrote {path}", file=sys.stderr)
    return 0


def _bar() -> Progress:
    return Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=Console(stderr=True), transient=True)


def _compared(trace: Trace, world: World) -> Comparison:
    processes = min(_MOST_PROCESSES, os.cpu_count() or 1) if len(trace) > _WORTH_SHARING else 1
    with _bar() as bar:
        task = bar.add_task("designs", total=None)
        return compare(
            trace,
            world,
            progress=lambda done, steps: bar.update(task, completed=done, total=steps),
            processes=processes,
        )


def _found(
    made: Callable[[int], Trace],
    trace: Trace,
    comparison: Comparison,
    choices: Choices,
    arguments: argparse.Namespace,
) -> "plan_report.Findings":
    """Everything about the recommended design, with a progress bar."""

    def redrawn(seed: int) -> Trace:
        again = made(seed)
        draw_deadlines(again, choices.mix, seed)
        return again

    world, horizon = choices.world, comparison.horizon
    design = designs_for(trace, world)[comparison.best.design]
    with _bar() as bar:
        task = bar.add_task("instances over time", total=(1 if arguments.quick else 3) + bool(choices.others))
        hours = timeline(trace, design, world, horizon=horizon, step=_HOUR)
        findings = plan_report.Findings(
            comparison=comparison,
            advice=advise(trace, comparison, design, world, arguments.instance_type),
            line=timeline(trace, design, world, horizon=horizon, step=max(60.0, horizon / 800)),
            commitment=commitment(hours.instances, world.usd_per_hour, arguments.commitment_discount),
        )
        if not arguments.quick:
            bar.update(task, description="strategies", advance=1)
            strategies = tuple(contributions(trace, world, comparison, choices.assumed))
            bar.update(task, description="seeds and assumptions", advance=1)
            seeds = tuple(range(arguments.seed, arguments.seed + _SEEDS))
            sure = certainty(redrawn, world, comparison.best, horizon=horizon, seeds=seeds)
            findings = replace(findings, strategies=strategies, certainty=sure)
        if choices.others:
            bar.update(task, description="instance types", advance=1)
            named = arguments.instance_type, arguments.region
            types = side_by_side(trace, world, *named, choices.others, horizon=horizon)
            findings = replace(findings, types=tuple(types))
    return findings


def document(trace: Trace, comparison: Comparison) -> dict[str, Any]:
    """What `--json` prints; dollars are strings."""
    chosen = comparison.recommended
    return {
        "requests": len(trace),
        "rows": trace.rows,
        "notes": dict(trace.notes),
        "impossible": comparison.impossible,
        "cheapest_if_one_in_1000_is_late": comparison.nearly.design if comparison.nearly else None,
        "malformed": dict(trace.malformed),
        "hours_billed": comparison.horizon / 3600,
        "least_usd": str(comparison.bounds.least),
        "foreseen_usd": str(comparison.bounds.foreseen_usd),
        "least_usd_with_tokens": None if comparison.token_bounds is None else str(comparison.token_bounds.least),
        "above_the_bound": [
            {"reason": one.text, "usd": str(one.usd)} for one in (above_the_bound(comparison, chosen) if chosen else [])
        ],
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
    # Each of the two tables has to fit into 80 columns.
    table = plan_report.slim_table(f"{counted(len(trace), 'request')}, {comparison.horizon / 3600:,.0f} h billed")
    for heading in ("bill $", "saved", "p50 s", "p95 s", "p99 s", "missed", "starts"):
        table.add_column(heading, justify="right", overflow="fold")
    chosen = comparison.recommended
    for outcome in comparison.outcomes:
        latency = outcome.latency
        table.add_row(
            outcome.design,
            f"{outcome.total:,.2f}",
            plan_report.percent(comparison.saved(outcome)),
            *(f"{value:,.{1 if value < _WHOLE_FROM else 0}f}" for value in (latency.p50, latency.p95, latency.p99)),
            f"{outcome.missed:,}",
            f"{outcome.starts:,}",
            style="bold" if outcome is chosen else None,
        )
    console.print(table)
    if trace.malformed:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in trace.malformed.most_common())
        console.print(f"Left out {sum(trace.malformed.values()):,} of {trace.rows:,} rows: {reasons}.")
    for note, count in trace.notes.most_common():
        console.print(f"Noted: {note}: {count:,}.")
    if comparison.impossible:
        console.print(
            f"Requests that take longer than their deadline wherever they are served: {comparison.impossible:,}. No "
            "design can serve them in time, so they count against none."
        )
    console.print(
        f"No design on instances can cost less than ${comparison.bounds.least:,.2f} (clairvoyant bound); "
        f"a schedule made with all requests known costs about ${comparison.bounds.foreseen_usd:,.2f}."
    )
    if comparison.token_bounds is not None:
        console.print(f"With the provider beside them the bound is ${comparison.token_bounds.least:,.2f}.")
    if chosen is None:
        best = comparison.best
        console.print(
            f"Every design missed deadlines; {best.design} missed the fewest, {best.missed:,}. "
            "The settings, and how sure it is, are this one's."
        )
    else:
        parts = [one for one in above_the_bound(comparison, chosen) if abs(one.usd) >= _HALF_A_CENT]
        end = ":" if parts else "."
        console.print(
            f"Cheapest without a missed deadline: {chosen.design}, {comparison.above(chosen):.1%} above the bound{end}"
        )
        for part in parts:
            console.print(f"  {part.usd:+,.2f}  {part.text}")
    _show_alternatives(comparison, console)


def _show_alternatives(comparison: Comparison, console: Console) -> None:
    """What is cheaper than the recommended design, and how late."""
    chosen, always, nearly = comparison.recommended, comparison.baseline, comparison.nearly
    if chosen is not None and always.total < chosen.total:
        console.print(
            f"One instance that never sleeps costs less, ${always.total:,.2f}, and misses {always.missed:,} deadlines."
        )
    if nearly is not None and nearly is not always:
        console.print(
            f"If one request in a thousand may be late, {nearly.design} does for ${nearly.total:,.2f}: "
            f"{nearly.missed:,} missed."
        )
