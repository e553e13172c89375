"""The commands of docs/prices.md are ones that the command line knows."""

import shlex

import pytest

from cli.main import main
from cli.stack import Stack, StackError
from tests.unit.template_document import ROOT

LINES = [
    line.partition("#")[0].removeprefix("./tollgate ")
    for line in (ROOT / "docs/prices.md").read_text().splitlines()
    if line.startswith("./tollgate ")
]


@pytest.mark.parametrize("line", LINES)
def test_a_documented_command_is_understood(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets as far as looking for the stack; a wrong option would end the program before."""

    def find(_name: str) -> Stack:
        raise StackError("there is no stack here")

    monkeypatch.setattr(Stack, "find", find)
    assert main(shlex.split(line)) == 2
    assert "there is no stack here" in capsys.readouterr().err


def test_the_commands_were_found() -> None:
    """The page has all three of `prices` and the export."""
    assert {" ".join(line.split()[:2]) for line in LINES} >= {
        "prices show",
        "prices refresh",
        "prices accept",
        "export focus",
    }
