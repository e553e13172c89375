"""`tollgate report`: usage as tables and a chart in the terminal, and as a picture."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

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
    console.print(_table(found))
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


def _table(found: UsageReport) -> Table:
    table = Table(title=f"{found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC")
    for name in found.group_by:
        table.add_column(name, overflow="fold")
    for heading in (
        *("requests", "errors", "hits", "p50 ms", "p95 ms", "p99 ms", "tokens in", "tokens out"),
        *("effective $", "loaded $", "avoided $", "$ per 1k", "$ per 1M tokens"),
    ):
        table.add_column(heading, justify="right", overflow="fold")
    for line in found.lines:
        table.add_row(*(line.group[name] for name in found.group_by), *_cells(line))
    table.add_section()
    table.add_row(*("total" if place == 0 else "" for place in range(len(found.group_by))), *_cells(found.total))
    return table


def _cells(line: UsageLine) -> Sequence[str]:
    totals = line.totals
    latencies = [quantile(totals.latencies, share) for share in (0.5, 0.95, 0.99)]
    return (
        str(totals.requests),
        str(totals.errors),
        str(totals.cache_hits),
        *("" if value is None else f"{value:.0f}" for value in latencies),
        str(totals.input_tokens),
        str(totals.output_tokens),
        usd_text(totals.effective),
        _money(line.loaded),
        usd_text(totals.avoided_total),
        _money(line.cost_per_thousand_requests),
        _money(line.cost_per_million_tokens),
    )


def _money(amount: Decimal | None) -> str:
    return "?" if amount is None else usd_text(amount)


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
