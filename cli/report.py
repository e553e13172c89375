"""`tollgate report`: usage as tables and a chart in the terminal, and as a picture."""

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cli.report_picture import Chart, bar, chart_of, svg_of
from cli.stack import Stack, StackError
from tollgate.adapters.dynamodb_usage import DynamoDBUsage
from tollgate.adapters.system import SystemClock
from tollgate.domain.jobs import Owner
from tollgate.domain.latency import quantile
from tollgate.domain.money import usd_text
from tollgate.domain.spans import DAY, HOUR, day_of
from tollgate.services.usage_queries import GROUPS, UsageLine, UsageQueries, UsageReport

_EVERYONE = Owner(tenant="", key_id="", scopes=frozenset({"admin"}))
_HOURS_SHOWN = timedelta(days=2)
_BAR_WIDTH = 40
_TIMES = ("hour", "day")
_Cell = Callable[[UsageLine], str]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("report", help="print what requests cost, as tables and a chart")
    parser.add_argument("--group-by", default="model,inference_type", help=f"comma list of {', '.join(GROUPS)}")
    parser.add_argument("--from", dest="start", type=_moment, help="UTC, like 2026-11-22 or 2026-11-22T09:00")
    parser.add_argument("--to", dest="end", type=_moment, help="as --from; now if not given")
    parser.add_argument("--picture", type=Path, help="write the chart as SVG to this file")
    parser.set_defaults(run=report)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def report(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print usage by group and by time; write the picture if asked.

    Raises:
        StackError: the picture cannot be written.
        InvalidRequestError: the groups or the times cannot be asked for.
        StorageError: the ledger cannot be read.
    """
    queries = UsageQueries(store=DynamoDBUsage(stack.tables, stack.outputs["LedgerTableName"]), clock=SystemClock())
    names = [name.strip() for name in arguments.group_by.split(",") if name.strip()]
    found = queries.usage(_EVERYONE, group_by=names, start=arguments.start, end=arguments.end)
    console = Console()
    title = f"{found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC"
    console.print(_table(found, title, _REQUESTS))
    console.print(_table(found, "US dollars", _DOLLARS))
    span = found.end - found.start
    time = "hour" if span <= _HOURS_SHOWN else "day"
    series = next((name for name in names if name not in _TIMES), "inference_type")
    over_time = queries.usage(_EVERYONE, group_by=[time, series], start=found.start, end=found.end)
    chart = chart_of(
        f"Effective cost by {time} and {series}, US dollars",
        _times(found, time),
        {(_label(line.group[time]), line.group[series]): line.totals.effective for line in over_time.lines},
    )
    console.print(_bars(chart))
    if arguments.picture is not None:
        try:
            arguments.picture.write_text(svg_of(chart), encoding="utf-8")
        except OSError as error:
            raise StackError(f"The picture cannot be written: {error}") from error
        print(f"Picture: {arguments.picture}")
    if found.loaded_until is None or found.loaded_until < found.end:
        print("Loaded cost is known for closed hours only: half an hour after their end.")
    return 0


def _table(found: UsageReport, title: str, columns: Mapping[str, _Cell]) -> Table:
    """Some columns of the report. Where the terminal is narrow the groups' names are folded, never a figure."""
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in found.group_by:
        table.add_column(name, overflow="fold")
    if not found.group_by:
        table.add_column()
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for line in found.lines:
        table.add_row(*(line.group[name] for name in found.group_by), *(cell(line) for cell in columns.values()))
    table.add_section()
    blank = [""] * (len(found.group_by) - 1)
    table.add_row("total", *blank, *(cell(found.total) for cell in columns.values()))
    return table


def _milliseconds(line: UsageLine, share: float) -> str:
    value = quantile(line.totals.latencies, share)
    return "" if value is None else f"{value:.0f}"


def _money(amount: Decimal | None) -> str:
    return "?" if amount is None else usd_text(amount)


_REQUESTS: Mapping[str, _Cell] = {
    "requests": lambda line: str(line.totals.requests),
    "errors": lambda line: str(line.totals.errors),
    "hits": lambda line: str(line.totals.cache_hits),
    "p50 ms": lambda line: _milliseconds(line, 0.5),
    "p95 ms": lambda line: _milliseconds(line, 0.95),
    "p99 ms": lambda line: _milliseconds(line, 0.99),
    "tokens\nin": lambda line: str(line.totals.input_tokens),
    "tokens\nout": lambda line: str(line.totals.output_tokens),
}
_DOLLARS: Mapping[str, _Cell] = {
    "effective": lambda line: usd_text(line.totals.effective),
    "loaded": lambda line: _money(line.loaded),
    "avoided": lambda line: usd_text(line.totals.avoided_total),
    "per 1k\nrequests": lambda line: _money(line.cost_per_thousand_requests),
    "per 1M\ntokens": lambda line: _money(line.cost_per_million_tokens),
}


def _times(found: UsageReport, time: str) -> list[str]:
    """Every hour or day of the span, those without requests too."""
    step, moment = (HOUR, found.start) if time == "hour" else (DAY, day_of(found.start))
    times = []
    while moment < found.end:
        times.append(f"{moment:%d %H:00}" if time == "hour" else f"{moment:%m-%d}")
        moment += step
    return times


def _label(time: str) -> str:
    """``2026-11-22T13:00Z`` or ``2026-11-22`` as the chart has it."""
    return f"{time[8:10]} {time[11:16]}" if "T" in time else time[5:]


def _bars(chart: Chart) -> Table:
    table = Table(title=chart.title, box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(min_width=_BAR_WIDTH)
    table.add_column(justify="right", no_wrap=True)
    totals = chart.totals
    highest = max((*totals, Decimal(0)))
    for time, amount in zip(chart.times, totals, strict=True):
        table.add_row(time, bar(amount, highest, _BAR_WIDTH), usd_text(amount))
    return table
