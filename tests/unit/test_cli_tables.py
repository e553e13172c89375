"""Names in the command line's tables are never cut, on a narrow terminal nor in a pipe."""

import io

import pytest
from rich.console import Console

from cli.tables import folding_table, new_console

_NAME = "inference-component/customer-support-summaries-in-german-v12"
_WHY = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."


def test_a_narrow_terminal_folds_what_does_not_fit() -> None:
    """Every character of a name and of a reason is there at forty columns."""
    table = folding_table(("place", "why"))
    table.add_row(_NAME, _WHY)
    printed = io.StringIO()
    Console(file=printed, width=40).print(table)
    rows = [line.split("│")[1:3] for line in printed.getvalue().splitlines() if line.startswith("│")]
    assert "".join(cells[0].strip() for cells in rows) == _NAME
    assert "".join(cells[1] for cells in rows).replace(" ", "") == _WHY.replace(" ", "")


def test_a_pipe_gets_every_row_in_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the terminal behind it is as wide as, so that `grep` finds what it looks for."""
    monkeypatch.setenv("COLUMNS", "40")
    table = folding_table(("place", "why"))
    table.add_row(_NAME, _WHY)
    new_console().print(table)
    [line] = [line for line in capsys.readouterr().out.splitlines() if _NAME in line]
    assert _WHY in line
