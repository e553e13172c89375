"""What somebody at a terminal meets: help with examples that work, and mistakes told in one line."""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main, parser
from cli.stack import Outputs, Stack, StackError

_OPTIONS_WITHOUT_VALUES = (argparse._HelpAction, argparse._SubParsersAction)


def _parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _parsers(child)


PARSERS = {found.prog: found for found in _parsers(parser())}
EXAMPLES = sorted(
    {
        line.strip()
        for found in PARSERS.values()
        for line in (found.epilog or "").splitlines()
        if line.startswith("  tollgate ")
    }
)
LEAVES = [prog for prog, found in PARSERS.items() if not any(a.nargs == argparse.PARSER for a in found._actions)]


@pytest.mark.parametrize("prog", LEAVES)
def test_every_command_shows_an_example_of_itself(prog: str) -> None:
    """Nobody learns a command from its list of options."""
    assert any(example.startswith(prog) for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_can_be_typed(example: str) -> None:
    """They are understood as they stand."""
    assert parser().parse_args(shlex.split(example)[1:]).command


@pytest.mark.parametrize("prog", PARSERS)
def test_every_argument_says_what_it_is(prog: str) -> None:
    """No option is left to guesses."""
    shown = [action for action in PARSERS[prog]._actions if not isinstance(action, _OPTIONS_WITHOUT_VALUES)]
    assert all(action.help for action in shown), [action.dest for action in shown if not action.help]


WRONG = """
nonsense | invalid choice
keys | required: ACTION
keys list acme | unrecognized
keys create | --tenant
keys create --tenant acme --expires-days x | whole number of 1 or more
keys create --tenant acme --expires-days 0 | whole number of 1 or more
keys disable | KEY
models apply | file
models rollback x | whole number
models rollback -1 | whole number
models compare | model
models promote assistant | deployment
report --from yesterday | not a time like
report --from 2026-13-45 | not a time like
report --to "" | not a time like
export | FORMAT
export focus | --date
export focus --date yesterday | not a day like
prices accept | NAME
prices accept --all ml.g5.xlarge | not allowed
brake | ACTION
brake set | level
brake set hard | choose from
brake set stop --until tomorrow | offset
brake set stop --until 2026-11-23 | offset
brake plan --level far | choose from
sleep | MODEL/DEPLOYMENT
sleep smollm2/main --road batch | choose from
wake smollm2/main --until noon | tollgate wake: unrecognized arguments: --until noon;
keys list --stack other | tollgate keys list: unrecognized arguments: --stack other (--stack goes before the command)
keys list --stack=other | (--stack goes before the command); see tollgate keys list --help
webhooks secret | --tenant
orphans --stop | expected one argument
calibrate | endpoint
calibrate it --rounds 0 | whole number of 1 or more
calibrate it --dialect cobol | choose from
plan | trace
plan t.csv --concurrency -1 | whole number of 1 or more
plan t.csv --base-seconds nan | number of 0 or more
plan t.csv --base-seconds inf | number of 0 or more
plan t.csv --seconds-per-input-token -1 | number of 0 or more
plan t.csv --startup-seconds 0 | number above 0
plan t.csv --commitment-discount x | a share
plan t.csv --commitment-discount 5 | a share
plan t.csv --commitment-discount nan | a share
plan t.csv --seed x | invalid int
estimate | --requests-per-day
estimate --requests-per-day 0 | number above 0
estimate --requests-per-day inf | number above 0
estimate --requests-per-day 100 --days 0 | whole number of 1 or more
estimate --requests-per-day 100 --busy-hours 25 | from 1 to 24
estimate --requests-per-day 100 --burstiness nan | number of 0 or more
estimate --requests-per-day 100 --input-tokens -4 | number above 0
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_a_wrong_line_is_told_in_one(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, what is wrong, and where to read more; no page of usage and no traceback."""
    typed, _, told = line.partition(" | ")
    with pytest.raises(SystemExit) as left:
        main(shlex.split(typed))
    printed = capsys.readouterr()
    assert left.value.code == 2
    assert printed.err.count("\n") == 1
    assert told in printed.err
    assert "--help" in printed.err
    assert not printed.out


OFFLINE = """
plan missing.csv | there is no such file
plan . | a folder, not a file
plan nonsense.csv | no column for the arrival time
plan empty.csv | no rows
plan broken.toml | Invalid value
plan broken.csv.gz | gzip
plan good.csv --quick --group x | no group 'x'
plan good.csv --quick --mix 1 | three shares
plan good.csv --quick --instance-type ml.none | no hour of ml.none
plan good.csv --quick --region nowhere | nowhere
plan good.csv --quick --token-model none | price book knows
plan good.csv --quick --instance-types ml.g6.2xlarge=fast | speeds above 0
plan good.csv --quick --model assistant | --catalogue
plan good.csv --quick --catalogue missing.toml --model assistant | there is no such file
plan good.csv --quick --out nonsense.csv | nothing can be written
estimate --requests-per-day 1e12 | more than 5,000,000
"""


@pytest.mark.parametrize("line", OFFLINE.strip().splitlines())
def test_a_file_or_value_that_will_not_do_is_told(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By commands that need no stack."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "nonsense.csv": "nonsense",
        "empty.csv": "",
        "broken.toml": "days = [",
        "broken.csv.gz": "no gzip",
        "good.csv": "t_s,input_tokens,output_tokens\n1,10,10\n2,20,20\n",
    }.items():
        Path(name).write_text(text)
    typed, _, told = line.partition(" | ")
    assert main(shlex.split(typed)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.splitlines()[-1].startswith("tollgate: ")


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Credentials that are made up, and an AWS that is not there."""
    for name, value in {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": "nonsense",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_an_endpoint_that_is_none_is_told(region: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a ValueError of botocore's."""
    assert region is not None
    assert main(["keys", "create", "--tenant", "acme"]) == 2
    assert "Invalid endpoint" in capsys.readouterr().err
    assert main(["calibrate", "it"]) == 2
    assert "Invalid endpoint" in capsys.readouterr().err


def test_another_stack_is_told() -> None:
    """One that has no such output, because it is no Tollgate stack."""
    with pytest.raises(StackError, match="RegistryTableName"):
        Outputs({"Other": "1"})["RegistryTableName"]


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt(), 130), (StackError("no\n such"), 2)])
def test_a_command_that_ends_early_leaves_no_traceback(
    raised: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C has the status that shells give it; a reason of several lines is told in one."""

    def find(_name: str) -> None:
        raise raised

    monkeypatch.setattr(Stack, "find", find)
    assert main(["models", "show"]) == status
    assert capsys.readouterr().err in {"", "tollgate: no such\n"}
