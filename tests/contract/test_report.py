"""`tollgate report` prints what GET /v1/usage answers, and draws it."""

import itertools
import xml.etree.ElementTree as ET
from copy import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from cli.report_amounts import amount_texts, ticks_for
from cli.report_picture import bar, chart_of, svg_of
from cli.stack import Stack
from tests.contract.moto_stores import LEDGER_TABLE, LocalAws
from tests.fakes.usage import DIMENSIONS, NOON, make_record
from tollgate.adapters.dynamodb.usage import DynamoDBUsage
from tollgate.domain.costs.usage import roll_up
from tollgate.domain.jobs.job import Usage
from tollgate.domain.spans import HOUR
from tollgate.ports.usage import Span

SPAN = ("--from", "2026-03-01T10:00", "--to", "2026-03-01T14:00")


@pytest.fixture
def stack(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> LocalAws:
    """Two closed hours of a stack, with a cheap and a dear road."""
    outputs = {"LedgerTableName": LEDGER_TABLE}
    monkeypatch.setattr(Stack, "find", lambda name: Stack(name, "us-east-1", outputs, "arm64"))
    monkeypatch.setenv("COLUMNS", "220")
    store = DynamoDBUsage(aws.dynamodb, LEDGER_TABLE)
    for hour, cost in ((NOON, "0.25"), (NOON + HOUR, "0.5")):
        records = [
            make_record(f"{kind}{hour}", effective=Decimal(cost), dimensions=DIMENSIONS._replace(inference_type=kind))
            for kind in ("realtime", "async")
        ]
        rows = roll_up(records, hour)
        store.put(Span.HOUR, [replace(row, totals=replace(row.totals, loaded=Decimal(1))) for row in rows])
    store.close(Span.HOUR, NOON + 2 * HOUR)
    return aws


@pytest.mark.usefixtures("stack")
def test_the_report_has_groups_a_total_and_bars(capsys: pytest.CaptureFixture[str]) -> None:
    """Each road with its cost, the total of both, and an hour twice as dear with a bar twice as long."""
    assert main(["report", *SPAN]) == 0
    lines = capsys.readouterr().out.splitlines()
    _, realtime, _ = [line for line in lines if "realtime" in line]
    _, total, _ = [line for line in lines if "total" in line]
    assert ["0.7500" in line for line in (realtime, total)] == [True, False]
    assert "1.5000" in total
    bars = {line.split()[2]: line.count("█") for line in lines if line.strip().startswith("Mar 01 ")}
    assert bars == {"10:00": 0, "11:00": 0, "12:00": 20, "13:00": 40}


@pytest.mark.usefixtures("stack")
def test_hours_without_cost_are_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Three or more in a row are dots; the hours with cost are all there."""
    assert main(["report", "--from", "2026-03-01T00:00", "--to", "2026-03-02T00:00"]) == 0
    *_, rows = capsys.readouterr().out.split("Effective cost by hour")
    assert [row.split()[0] for row in rows.splitlines()[1:5]] == ["...", "Mar", "Mar", "..."]
    assert len([row for row in rows.splitlines() if "█" in row]) == 2


@pytest.mark.usefixtures("stack")
def test_a_narrow_terminal_shows_every_figure_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names may be folded; what was counted and what it cost stands on one line each."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["report", *SPAN]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    counted, cost, tokens = [line.split() for line in lines if "total" in line]
    assert counted[1:5] == ["4", "0", "0", "0"]
    assert cost[1] == "1.5000"
    assert tokens[1:] == ["?", "?", "?"]
    assert any(line.split().count("ms") == 3 for line in lines)


def test_tokens_from_a_prompt_cache_have_a_column(stack: LocalAws, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a provider told any; the sum of both hours stands in the total."""
    store = DynamoDBUsage(stack.dynamodb, LEDGER_TABLE)
    for hour in (NOON, NOON + HOUR):
        record = make_record(f"cached{hour}", usage=Usage(1_000, 10, 400), dimensions=DIMENSIONS._replace(model="chat"))
        store.put(Span.HOUR, roll_up([record], hour))
    assert main(["report", *SPAN]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("of these cached" in line for line in lines)
    (*_, row) = [line.split() for line in lines if line.split()[:2] == ["chat", "realtime"]]
    assert row[2:5] == ["2,000", "800", "20"]


@pytest.mark.usefixtures("stack")
def test_the_picture_is_an_svg_of_the_same_amounts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Valid XML with a column for each hour and road, and a title for those who cannot see it."""
    target = tmp_path / "costs.svg"
    assert main(["report", *SPAN, "--group-by", "inference_type", "--picture", str(target)]) == 0
    assert str(target) in capsys.readouterr().out.replace("\n", "")
    root = ET.fromstring(target.read_text())  # noqa: S314 -- our own picture
    space = "{http://www.w3.org/2000/svg}"
    titles = [title.text for title in root.iter(f"{space}title")]
    assert titles[0] == "Effective cost by hour and inference_type, US dollars"
    assert set(titles[1:]) == {"realtime", "async"} | {
        f"Mar 01 {hour} {kind}: ${cost}"
        for hour, cost in (("12:00", "0.25"), ("13:00", "0.5"))
        for kind in ("realtime", "async")
    }


@pytest.mark.usefixtures("stack")
def test_a_picture_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As are groups that there are not."""
    assert main(["report", *SPAN, "--picture", str(tmp_path / "no" / "costs.svg")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main(["report", "--group-by", "colour"]) == 2
    assert "colour" in capsys.readouterr().err


@pytest.mark.usefixtures("stack")
def test_a_time_without_requests_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Instead of three empty tables and a chart of nothing."""
    assert main(["report", "--from", "2025-01-01", "--to", "2025-01-02"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Nothing is on record from 2025-01-01 00:00 to 2025-01-02 00:00 UTC")
    assert printed.count("\n") == 1


@pytest.mark.usefixtures("stack")
def test_a_picture_of_nothing_is_written_without_empty_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who asked for the file gets it; the terminal says that there is nothing."""
    target = tmp_path / "costs.svg"
    assert main(["report", "--from", "2025-01-01", "--to", "2025-01-02", "--picture", str(target)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Nothing is on record")
    assert "total" not in printed
    assert target.read_text().startswith("<svg")


def test_a_long_span_is_shown_by_day(stack: LocalAws, capsys: pytest.CaptureFixture[str]) -> None:
    """Days without requests have their place too; the present has no loaded cost yet."""
    DynamoDBUsage(stack.dynamodb, LEDGER_TABLE).close(Span.DAY, NOON - timedelta(hours=12))
    assert main(["report", "--from", "2026-02-27", "--to", "2026-03-02"]) == 0
    printed = capsys.readouterr().out
    assert [day in printed for day in ("Feb 27", "Feb 28", "Mar 01")] == [True, True, True]
    assert "closed hours only" in printed


def test_many_series_are_gathered() -> None:
    """Eight colours can be told apart; the ninth and all that are smaller are one."""
    chart = chart_of("many", ["a"], {("a", f"s{number:02}"): Decimal(20 - number) for number in range(12)})
    assert list(chart.series) == [*(f"s{number:02}" for number in range(7)), "others"]
    assert chart.totals == [Decimal(sum(range(9, 21)))]
    assert svg_of(chart).count("<rect") == 1 + 8 + 8
    assert svg_of(chart_of("<none>", ["a"], {})).count("&lt;none&gt;") == 2


@pytest.mark.parametrize(("amount", "drawn"), [("0", ""), ("1", "████"), ("0.5", "██"), ("0.0001", "▏")])
def test_bars_are_to_scale(amount: str, drawn: str) -> None:
    """To an eighth of a character; what is not nothing can be seen."""
    assert bar(Decimal(amount), Decimal(1), 4) == drawn


@pytest.mark.parametrize(
    ("amounts", "texts"),
    [
        (["0.025894915712", "0.000565108817", "0"], ["0.025895", "0.000565", "0"]),
        (["1234567.891", "-0.5"], ["1,234,567.89", "-0.50"]),
        (["12.5", "0.0000001", "-0.0000001", None], ["12.500", "<0.001", ">-0.001", "?"]),
        (["0.000000000001"], ["0.000000000001"]),
        ([None], ["?"]),
    ],
)
def test_dollars_stand_in_columns(amounts: list[str | None], texts: list[str]) -> None:
    """As many places as the largest calls for; nothing that is not zero is shown as zero."""
    assert amount_texts([None if amount is None else Decimal(amount) for amount in amounts]) == texts


@given(st.decimals(min_value="1e-12", max_value="1e9", places=12))
def test_axes_have_round_numbers_and_room_for_the_highest(highest: Decimal) -> None:
    """A few steps, evenly far apart, the last not below the highest column and not twice as high."""
    ticks = ticks_for(highest)
    assert 3 <= len(ticks) <= 6
    assert {later - earlier for earlier, later in itertools.pairwise(ticks)} == {ticks[1]}
    assert ticks[1].normalize().as_tuple().digits in {(1,), (1, 5), (2,), (2, 5), (5,)}
    assert ticks[-2] < highest <= ticks[-1]


def test_an_empty_axis_has_numbers_too() -> None:
    """Nothing was spent."""
    assert ticks_for(Decimal(0)) == [0, 1]
