"""Names in the command line's tables are never cut, on a narrow terminal nor in a pipe."""

import io

import pytest
from rich.console import Console

from cli.tables import counted, folding_table, name_of, new_console

_NAME = "inference-component/customer-support-summaries-in-german-v12"
_WHY = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."


def test_a_narrow_terminal_folds_what_does_not_fit() -> None:
    """Every character of a name and of a reason is there at forty columns."""
    table = folding_table(("place", "why"))
    table.add_row(_NAME, _WHY)
    printed = io.StringIO()
    Console(file=printed, width=40).print(table)
    heading, _, *rows = printed.getvalue().splitlines()
    second = heading.index("why")
    assert "".join(row[:second].strip() for row in rows) == _NAME
    assert "".join(row[second:] for row in rows).replace(" ", "") == _WHY.replace(" ", "")


def test_a_column_that_is_to_be_whole_is_not_folded() -> None:
    """An instance type stays on one line, and the long name beside it makes room."""
    table = folding_table(("place", "now"), whole={"now"})
    table.add_row(_NAME, "ml.g5.12xlarge")
    printed = io.StringIO()
    Console(file=printed, width=40).print(table)
    assert "ml.g5.12xlarge" in printed.getvalue()
    assert max(len(line.rstrip()) for line in printed.getvalue().splitlines()) <= 40


def test_a_pipe_gets_every_row_in_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the terminal behind it is as wide as, so that `grep` finds what it looks for."""
    monkeypatch.setenv("COLUMNS", "40")
    table = folding_table(("place", "why"))
    table.add_row(_NAME, _WHY)
    new_console().print(table)
    [line] = [line for line in capsys.readouterr().out.splitlines() if _NAME in line]
    assert _WHY in line


def test_brackets_and_colons_of_names_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like markup or an emoji in a name is part of the name, in tables and in sentences."""
    table = folding_table(("team",))
    table.add_row("[red]x[/i] :fire:")
    console = new_console()
    console.print(table)
    console.print("[/class] is not known")
    printed = capsys.readouterr().out
    assert "[red]x[/i] :fire:" in printed
    assert "[/class] is not known" in printed


def test_a_name_of_usual_length_is_in_one_line() -> None:
    """At eighty columns, however much there is to say beside it."""
    name = "tollgate-smollm2-realtime"
    table = folding_table(("name", "kind", "what happens next"), names={"name": [name]})
    table.add_row(name, "realtime", _WHY)
    printed = io.StringIO()
    Console(file=printed, width=60).print(table)
    assert name in printed.getvalue()
    assert max(len(line.rstrip()) for line in printed.getvalue().splitlines()) <= 60


def test_a_name_of_usual_length_cuts_nothing_else() -> None:
    """All that is said beside it is there, however narrow the terminal; a longer name is folded as anything is."""
    for name in ("tollgate-smollm2-realtime", _NAME):
        table = folding_table(("name", "state", "what happens next"), names={"name": [name]})
        table.add_row(name, "falling asleep", _WHY)
        printed = io.StringIO()
        Console(file=printed, width=50).print(table)
        _, _, rows = printed.getvalue().rpartition("─")
        everything = sorted("".join(rows.split()))
        assert everything == sorted((name + "falling asleep" + _WHY).replace(" ", ""))


def test_one_is_not_many() -> None:
    """A count and its noun agree."""
    assert [counted(number, "request") for number in (0, 1, 1_000)] == ["0 requests", "1 request", "1,000 requests"]


def test_a_place_is_shown_by_its_name() -> None:
    """The kind stands in a column of its own; the gateway itself has none."""
    assert [name_of(key) for key in ("async_endpoint/tollgate-echo", "gateway")] == ["tollgate-echo", "gateway"]
