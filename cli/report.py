"""`tollgate report`: usage as tables and a chart in the terminal, and as a picture."""

import argparse
from calendar import month_abbr
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cli.arguments import add, moment
from cli.report_amounts import amount_texts
from cli.report_picture import Chart, bar, chart_of, svg_of
from cli.stack import Stack, StackError
from cli.tables import new_console
from tollgate.adapters.dynamodb.usage import DynamoDBUsage
from tollgate.adapters.system import SystemClock
from tollgate.domain.jobs.job import Owner
from tollgate.domain.roads.latency import quantile
from tollgate.domain.spans import DAY, HOUR, day_of
from tollgate.services.usage.queries import GROUPS, UsageLine, UsageQueries, UsageReport

_EVERYONE = Owner(tenant="", key_id="", scopes=frozenset({"admin"}))
_HOURS_SHOWN = timedelta(days=2)
_BAR_WIDTH = 40
_EMPTY_ROWS = 2
"""Of times without cost that are shown one by one."""
_TIMES = ("hour", "day")
_Cell = Callable[[UsageLine], str]
_Amount = Callable[[UsageLine], Decimal | None]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(
        commands,
        "report",
        "print what requests cost, as tables and a chart",
        "report",
        "report --group-by team,model --from 2026-11-21 --picture costs.svg",
    )
    parser.add_argument(
        "--group-by",
        default="model,inference_type",
        help=f"comma list of {', '.join(GROUPS)} (default: model,inference_type)",
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=moment,
        metavar="TIME",
        help="UTC, like 2026-11-22 or 2026-11-22T09:00 (default: a day before --to)",
    )
    parser.add_argument("--to", dest="end", type=moment, metavar="TIME", help="as --from (default: now)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the chart as SVG to this file")
    parser.set_defaults(run=report)


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
    chart = None
    if found.lines or arguments.picture is not None:
        chart = _chart(queries, found, names)
    if chart is not None and found.lines:
        _show(found, chart)
    else:
        print(
            f"Nothing is on record from {found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC; "
            "usage appears within five minutes."
        )
    if chart is not None and arguments.picture is not None:
        try:
            arguments.picture.write_text(svg_of(chart), encoding="utf-8")
        except OSError as error:
            raise StackError(f"The picture cannot be written: {error}") from error
        print(f"Picture: {arguments.picture}")
    return 0


def _chart(queries: UsageQueries, found: UsageReport, names: Sequence[str]) -> Chart:
    """Effective cost of the same span by time, a series for each value of the first other group."""
    time = "hour" if found.end - found.start <= _HOURS_SHOWN else "day"
    series = next((name for name in names if name not in _TIMES), "inference_type")
    over_time = queries.usage(_EVERYONE, group_by=[time, series], start=found.start, end=found.end)
    return chart_of(
        f"Effective cost by {time} and {series}, US dollars",
        _times(found, time),
        {(_label(line.group[time]), line.group[series]): line.totals.effective for line in over_time.lines},
    )


def _show(found: UsageReport, chart: Chart) -> None:
    console = new_console()
    title = f"{found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC"
    shown = [*found.lines, found.total]
    console.print(_table(found, title, {name: [cell(line) for line in shown] for name, cell in _REQUESTS.items()}))
    dollars = {name: amount_texts([amount(line) for line in shown]) for name, amount in _DOLLARS.items()}
    console.print(_table(found, "US dollars", dollars))
    tokens = {name: [cell(line) for line in shown] for name, cell in _TOKENS.items()}
    if not found.total.totals.cached_input_tokens:
        # Only providers with a prompt cache tell any.
        del tokens["of these cached"]
    each = amount_texts([line.cost_per_million_tokens for line in shown])
    console.print(_table(found, "Tokens", tokens | {"US dollars\nper 1M": each}))
    console.print(_bars(chart))
    if found.loaded_until is None or found.loaded_until < found.end:
        print("Loaded cost is known for closed hours only: half an hour after their end.")
    if any(line.totals.unknown_tokens for line in shown):
        print("? and >: some containers do not report their tokens.")


def _table(found: UsageReport, title: str, columns: Mapping[str, Sequence[str]]) -> Table:
    """Some columns of the report, each with a text for every line and for the total.

    Where the terminal is narrow the groups' names are folded, never a figure.
    """
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in found.group_by:
        table.add_column(name, overflow="fold")
    if not found.group_by:
        table.add_column()
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for number, line in enumerate(found.lines):
        names = (line.group[name] or "-" for name in found.group_by)
        table.add_row(*names, *(texts[number] for texts in columns.values()))
    table.add_section()
    blank = [""] * (len(found.group_by) - 1)
    table.add_row("total", *blank, *(texts[-1] for texts in columns.values()))
    return table


def _milliseconds(line: UsageLine, share: float) -> str:
    value = quantile(line.totals.latencies, share)
    return "" if value is None else f"{value:.0f}"


def _tokens(line: UsageLine, known: int) -> str:
    if not line.totals.unknown_tokens:
        return f"{known:,}"
    return f">{known:,}" if known else "?"


_REQUESTS: Mapping[str, _Cell] = {
    "requests": lambda line: f"{line.totals.requests:,}",
    "errors": lambda line: f"{line.totals.errors:,}",
    "refused": lambda line: f"{line.totals.rejected:,}",
    "hits": lambda line: f"{line.totals.cache_hits:,}",
    "p50\nms": lambda line: _milliseconds(line, 0.5),
    "p95\nms": lambda line: _milliseconds(line, 0.95),
    "p99\nms": lambda line: _milliseconds(line, 0.99),
}
_TOKENS: Mapping[str, _Cell] = {
    "in": lambda line: _tokens(line, line.totals.input_tokens),
    "of these cached": lambda line: f"{line.totals.cached_input_tokens:,}",
    "out": lambda line: _tokens(line, line.totals.output_tokens),
}
_DOLLARS: Mapping[str, _Amount] = {
    "effective": lambda line: line.totals.effective,
    "loaded": lambda line: line.loaded,
    "avoided": lambda line: line.totals.avoided_total,
    "per 1k\nrequests": lambda line: line.cost_per_thousand_requests,
}


def _times(found: UsageReport, time: str) -> list[str]:
    """Every hour or day of the span, those without requests too."""
    step, moment = (HOUR, found.start) if time == "hour" else (DAY, day_of(found.start))
    times = []
    while moment < found.end:
        times.append(_label(f"{moment:%Y-%m-%dT%H:00}" if time == "hour" else f"{moment:%Y-%m-%d}"))
        moment += step
    return times


def _label(time: str) -> str:
    """``2026-11-22T13:00Z`` or ``2026-11-22`` as the chart has it: ``Nov 22 13:00``, ``Nov 22``."""
    day = f"{month_abbr[int(time[5:7])]} {time[8:10]}"
    return f"{day} {time[11:16]}" if "T" in time else day


def _bars(chart: Chart) -> Table:
    """A bar for every time; several in a row without any cost are one line of dots."""
    table = Table(title=chart.title, box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(min_width=_BAR_WIDTH)
    table.add_column(justify="right", no_wrap=True)
    totals = chart.totals
    highest = max((*totals, Decimal(0)))
    rows = list(zip(chart.times, totals, amount_texts(totals), strict=True))
    for empty, run in groupby(rows, key=lambda row: not row[1]):
        found = list(run)
        if empty and len(found) > _EMPTY_ROWS:
            table.add_row("...", "", "0")
            continue
        for time, amount, text in found:
            table.add_row(time, bar(amount, highest, _BAR_WIDTH), text)
    return table
