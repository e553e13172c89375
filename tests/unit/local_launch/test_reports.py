"""What the launcher says to a person."""

import json
import shlex
from decimal import Decimal

import pytest

from local.launch.__main__ import main
from local.launch.errors import PortBusyError, StepFailedError
from local.launch.layout import ROOT, Layout
from local.launch.programs import SECRET_KEY
from local.launch.stack import how_to_use
from local.launch.three_roads import EXAMPLES, RoadReport, answer_text, curl


def test_a_report_shows_cost_and_baseline() -> None:
    """The baseline is what was paid plus what was avoided."""
    report = RoadReport("batch", "langid", "priority=low", "de", Decimal("0.00000512"), Decimal("0.00001000"), 3.21)
    assert "cost $0.00000512, always-on baseline $0.00001512, 3.2 s" in report.lines()[2]


def test_an_unknown_cost_is_not_zero() -> None:
    """A missing figure is called unknown, and so is what is computed from it."""
    report = RoadReport("batch", "langid", "priority=low", "de", None, Decimal(1), 3.0)
    assert "cost unknown, always-on baseline unknown" in report.lines()[2]


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ({"text": "A toll\n booth.", "finish_reason": "stop"}, "A toll booth."),
        ([[0.123456, -0.5]], "[[0.123, -0.5]]"),
        ([[{"label": "de", "score": 0.99999}]], '[[{"label": "de", "score": 1.0}]]'),
        ("plain", "plain"),
    ],
)
def test_an_answer_is_shown_on_one_line(output: object, shown: str) -> None:
    """Texts as they are, anything else as short JSON."""
    assert answer_text(output) == shown


def test_a_long_answer_is_cut() -> None:
    """An embedding has hundreds of numbers."""
    assert len(answer_text([0.125] * 384)) < 200


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.road)
def test_a_curl_line_survives_the_shell(example: object) -> None:
    """What the shell hands to curl is the very body that the launcher sent."""
    assert isinstance(example, type(EXAMPLES[0]))
    words = shlex.split(curl(example))
    assert json.loads(words[words.index("-d") + 1]) == example.body


def test_the_three_examples_take_three_roads() -> None:
    """One for each priority, each with a model that has weights."""
    assert [example.body["priority"] for example in EXAMPLES] == ["high", "medium", "low"]
    assert "echo" not in {example.body["model"] for example in EXAMPLES}


def test_a_failed_step_says_all_four_things() -> None:
    """What failed, the end of its log, where the log is, what to do."""
    error = StepFailedError("It broke.", advice="mend it.", log_tail=["line 1"], log_path=".local/4566/logs/x.log")
    assert str(error).splitlines() == [
        "It broke.",
        "Its log ends with:",
        "    line 1",
        "The whole log: .local/4566/logs/x.log",
        "What to do: mend it.",
    ]


def test_a_busy_port_names_itself_and_a_way_out() -> None:
    """The way out is another TOLLGATE_PORT."""
    assert "Port 4567 (the AWS emulator)" in str(PortBusyError(4567, "the AWS emulator"))
    assert "TOLLGATE_PORT=" in str(PortBusyError(4567, "the AWS emulator"))


@pytest.mark.parametrize("port", ["80", "65534", "x", "-1", ""])
def test_a_wrong_port_is_refused_before_anything_starts(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the variable that a user of make sets."""
    with pytest.raises(SystemExit) as ended:
        main(["up", "--port", port])
    assert ended.value.code == 2
    assert "TOLLGATE_PORT must be a number" in capsys.readouterr().err


@pytest.mark.parametrize("printed", ["tg_" + "a" * 43, "Secret key: tg_" + "A-_9" * 10 + "abc\nKeep it."])
def test_the_key_is_found_in_what_the_command_prints(printed: str) -> None:
    """Whatever words stand around it."""
    found = SECRET_KEY.search(printed)
    assert found is not None
    assert len(found.group()) == 46


def test_who_starts_the_stack_again_is_told_that_the_key_is_new() -> None:
    """Other terminals still have the earlier one, which is answered with a 401 that cannot say why."""
    (said,) = [line for line in how_to_use(Layout(ROOT, 4567), "tg_x") if "Variables" in line]
    assert said.endswith("Variables: .local/4567/env (a new key at each start)")
