"""What `tollgate plan` prints below its table and writes into a folder."""

import argparse
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cli.tables import counted, folding_table
from planner.advice import Advice
from planner.certainty import Certainty
from planner.commitment import CommitmentAdvice
from planner.comparison import Comparison
from planner.instance_types import OnType
from planner.pictures import cost_against_p99, cost_by_design, over_time
from planner.strategies import Contribution
from planner.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found about the recommended design.

    Attributes:
        strategies: alone and together; empty where that was not asked for.
        certainty: None where that was not asked for.
        types: instance types side by side; empty where that was not asked for.
    """

    comparison: Comparison
    advice: Advice
    line: Timeline
    commitment: CommitmentAdvice
    strategies: tuple[Contribution, ...] = ()
    certainty: Certainty | None = None
    types: tuple[OnType, ...] = ()


def write(findings: Findings, folder: Path) -> list[Path]:
    """Settings and pictures; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = findings.comparison.recommended
    name = chosen.design if chosen else "no design"
    texts = {
        "samconfig.toml": findings.advice.samconfig,
        "models.toml": findings.advice.models,
        "cost-by-design.svg": cost_by_design(findings.comparison),
        "cost-against-p99.svg": cost_against_p99(findings.comparison),
        "over-time.svg": over_time(findings.line, f"{name} over time"),
    }
    written = []
    for file, text in texts.items():
        path = folder / file
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def show_assumed(arguments: argparse.Namespace, drawn: int, console: Console) -> None:
    """What the figures rest on that nobody measured."""
    seconds = (
        f"{arguments.base_seconds:g} + {arguments.seconds_per_input_token:g} x input + "
        f"{arguments.seconds_per_output_token:g} x output tokens"
    )
    console.print(
        f"Taken from the arguments or their defaults, not measured here: {arguments.instance_type} with "
        f"{counted(arguments.concurrency, 'place')}, a start-up of {arguments.startup_seconds:g} s, and {seconds} in "
        "seconds. "
        "`tollgate calibrate` measures them" + ("." if arguments.quick else "; how much they matter is shown below.")
    )
    if drawn:
        console.print(
            f"Requests that name no deadline: {drawn:,}; theirs is that of their class, or else drawn by --mix "
            f"{arguments.mix} (high 60 s, medium 15 min, low 24 h)."
        )


def show(findings: Findings, console: Console) -> None:
    """The bill by part, the strategies, how sure it is, and commitments."""
    _show_parts(findings.comparison, console)
    if findings.strategies:
        _show_strategies(findings.strategies, console)
    if findings.types:
        _show_types(findings.types, console)
    if findings.certainty is not None:
        _show_certainty(findings.certainty, console)
    advice = findings.commitment
    if advice.instances:
        console.print(
            f"Commit to {counted(advice.instances, 'instance')}: ${advice.committed:,.2f} instead of "
            f"${advice.uncommitted:,.2f}; ${advice.regret:,.2f} lost if traffic falls by half."
        )
    else:
        console.print(
            f"Commit to nothing: that pays for an instance which runs {advice.break_even:.0%} of the hours; none does."
        )


def percent(share: float | Decimal) -> str:
    """With one digit, and no sign before a zero."""
    text = f"{share:.1%}"
    return "0.0%" if text == "-0.0%" else text


def _show_parts(comparison: Comparison, console: Console) -> None:
    parts = sorted({part for outcome in comparison.outcomes for part in outcome.bill})
    table = slim_table("bill by part, $")
    for part in parts:
        table.add_column(part.removesuffix(" instances"), justify="right", overflow="fold")
    for heading in ("$/1k req", "$/1M tok", "used"):
        table.add_column(heading.replace(" ", "\n"), justify="right", overflow="fold")
    for outcome in comparison.outcomes:
        tokens = outcome.per_million_tokens
        table.add_row(
            outcome.design,
            *(f"{outcome.bill[part]:,.2f}" if part in outcome.bill else "-" for part in parts),
            f"{outcome.per_thousand_requests or 0:.4g}",
            "-" if tokens is None else f"{tokens:.4g}",
            percent(outcome.utilisation),
        )
    console.print(table)


def slim_table(title: str) -> Table:
    """A table of designs, without lines between its columns: many of them fit into 80 characters."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("design", no_wrap=True)
    return table


def _show_strategies(strategies: tuple[Contribution, ...], console: Console) -> None:
    table = folding_table((), title="what each strategy saves, alone and together")
    for heading in ("strategy", "saves", "half/twice", "missed", "rests on"):
        words = heading in {"strategy", "rests on"}
        table.add_column(heading, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for one in strategies:
        table.add_row(one.name, percent(1 - one.factor), _range(one), f"{one.missed:,}", one.basis)
    console.print(table)
    console.print("half/twice: what it saves if the assumed figure were half as great, and twice as great.")


def _range(one: Contribution) -> str:
    if one.if_half is None or one.if_twice is None:
        return ""
    return f"{percent(1 - one.if_half)} / {percent(1 - one.if_twice)}"


def _show_types(types: tuple[OnType, ...], console: Console) -> None:
    table = folding_table((), title="instance types side by side")
    for heading in ("instance", "$/hour", "speed", "design", "bill $", "always on $"):
        words = heading in {"instance", "design"}
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "speed")
    for one in types:
        speed = f"{one.speed:.2f}" + ("" if one.measured else " (data sheets)")
        bill = "-" if one.total is None else f"{one.total:,.2f}"
        table.add_row(
            one.instance_type,
            str(one.usd_per_hour),
            speed,
            one.design or "none in time",
            bill,
            f"{one.always_on:,.2f}",
        )
    console.print(table)


def _show_certainty(certainty: Certainty, console: Console) -> None:
    console.print(
        f"Over {certainty.seeds} seeds it saves {percent(certainty.low)} to {percent(certainty.high)}, "
        f"with at most {certainty.missed:,} missed."
    )
    for variation in certainty.sensitive:
        console.print(f"  {variation.name}: saves {percent(variation.saved)}, {variation.missed:,} missed")


def document(findings: Findings) -> dict[str, Any]:
    """The same for `--json`; dollars are strings."""
    return {
        "settings": asdict(findings.advice),
        "commitment": {name: str(value) for name, value in asdict(findings.commitment).items()},
        "strategies": [_plain(asdict(one)) for one in findings.strategies],
        "instance_types": [_plain(asdict(one)) for one in findings.types],
        "certainty": None if findings.certainty is None else asdict(findings.certainty),
    }


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in entry.items()}
