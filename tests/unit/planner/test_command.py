"""`tollgate plan` and `tollgate estimate` as a user calls them: no stack, no credentials."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from cli.main import main

WORKLOAD = "requests_per_hour = [0, 60]\ndays = 0.5\nburstiness = 2\nrepeated = 0.1\n"


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    path = tmp_path / "workload.toml"
    path.write_text(WORKLOAD)
    return path


def test_a_plan_prints_tables_and_writes_settings_and_pictures(
    workload: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every part of the plan is printed, and five files are written that parse."""
    out = tmp_path / "advice"
    assert main(["plan", str(workload), "--out", str(out), "--instance-types", "ml.g6.2xlarge"]) == 0
    printed = capsys.readouterr().out
    for part in (
        "wake for deadlines",
        "clairvoyant bound",
        "bill by part",
        "what each strategy saves",
        "instance types side by side",
        "Over 5 seeds",
        "Commit to",
        "not measured here",
        "name no deadline",
        "half/twice",
    ):
        assert part in printed
    assert {path.name for path in out.iterdir()} == {
        "samconfig.toml",
        "models.toml",
        "cost-by-design.svg",
        "cost-against-p99.svg",
        "over-time.svg",
    }
    assert "planned" in tomllib.loads((out / "models.toml").read_text())["models"]


def test_a_narrow_terminal_cuts_no_figure(
    workload: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all designs, in 80 columns; and figures that `--quick` leaves out are not promised."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", str(workload), "--quick", "--token-model", "meta.llama3-1-8b-instruct-v1:0"]) == 0
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "wake or tokens + cache" in printed
    assert "…" not in printed
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert "shown below" not in printed


def test_a_narrow_terminal_names_every_instance_type_and_strategy_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing ends in dots."""
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,input_tokens,output_tokens\n0,500,150\n40,300,80\n")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", str(trace), "--instance-types", "ml.g6.2xlarge,ml.g4dn.12xlarge=0.4"]) == 0
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "ml.g4dn.12xlarge" in printed
    assert "product of the factors" in printed
    assert "…" not in printed
    assert max(len(line) for line in printed.splitlines()) <= 80


def test_json_says_what_the_tables_say(workload: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Dollars are strings, each design is there, and the reasons are with them."""
    assert main(["plan", str(workload), "--quick", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    totals = {one["design"]: float(one["total_usd"]) for one in document["designs"]}
    assert document["recommended"] in totals
    above = sum(float(one["usd"]) for one in document["above_the_bound"])
    assert above == pytest.approx(totals[document["recommended"]] - float(document["least_usd"]), abs=1e-9)


def test_rates_say_how_much_of_them_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of rates is planned, and its groups are known."""
    path = tmp_path / "rates.csv"
    path.write_text("workload,t_s,requests_per_s\na,0,0.1\nb,0,2000\n")
    assert main(["plan", str(path), "--quick", "--group", "a"]) == 0
    assert "are drawn" not in capsys.readouterr().err
    assert main(["plan", str(path), "--quick", "--group", "c"]) == 2
    assert "it has a, b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.csv", None, "there is no such file"),
        ("absent.toml", None, "there is no such file"),
        (".", None, "that is a folder, not a file"),
        ("plain.csv.gz", b"t_s,input_tokens", "gzip did not make it"),
        ("binary.csv", b"a\0b", "not text in UTF-8"),
        ("workload.toml", b"days = ", "Invalid value"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_plain_sentence(
    tmp_path: Path, name: str, content: bytes | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, the file and the reason, and nothing of the system's own words."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["plan", str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert reason in said
    assert "Errno" not in said


def test_one_request_without_tokens_is_priced_with_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request that failed and counts nothing costs nothing by the token, and spoils no plan."""
    path = tmp_path / "trace.csv"
    path.write_text("t_s,input_tokens,output_tokens\n0,500,100\n60,0,0\n90,40,7\n")
    assert main(["plan", str(path), "--quick", "--json", "--token-model", "meta.llama3-1-8b-instruct-v1:0"]) == 0
    assert json.loads(capsys.readouterr().out)["recommended"]


def test_a_trace_without_tokens_cannot_be_paid_by_the_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a request tells its duration alone, nothing says what it would cost a provider's customer."""
    path = tmp_path / "trace.csv"
    path.write_text("t_s,duration_s\n1,2\n")
    assert main(["plan", str(path), "--quick"]) == 0
    assert main(["plan", str(path), "--quick", "--token-model", "gpt-4o-mini"]) == 2
    assert "needs a trace with the tokens of every request" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--catalogue", "absent.toml"], "there is no such file"),
        (["--mix", "0,0,0"], "three shares"),
        (["--mix", "a,b"], "three shares"),
        (["--instance-type", "ml.none"], "no hour of ml.none"),
        (["--token-model", "none"], "the price book knows"),
        (["--instance-types", "ml.g6.2xlarge=0"], "speeds above 0"),
        (["--instance-types", "ml.none"], "no hour of ml.none"),
        (["--instance-types", "ml.c5.xlarge"], "must be given, as in ml.c5.xlarge=0.5"),
        (["--out", __file__], "nothing can be written"),
        (["--group", "a"], "no groups"),
        (["--catalogue", "models.toml", "--model", "echo"], "in two tiers"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_with_the_reason(
    workload: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and one line, no traceback, and before anything was replayed."""
    assert main(["plan", str(workload), *arguments]) == 2
    printed = capsys.readouterr()
    assert reason in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--concurrency", "0", "not a whole number of 1 or more"),
        ("--startup-seconds", "-5", "not a number above 0"),
        ("--base-seconds", "nan", "not a number of 0 or more"),
        ("--commitment-discount", "3", "not a share from 0 to below 1"),
        ("--commitment-discount", "much", "not a share from 0 to below 1"),
    ],
)
def test_a_number_out_of_its_range_is_refused_before_anything_is_read(
    option: str, value: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, the option and the range, even where the trace does not exist."""
    with pytest.raises(SystemExit) as stopped:
        main(["plan", "absent.csv", option, value])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert option in said
    assert reason in said


def test_an_estimate_of_too_many_requests_says_how_many_are_possible(capsys: pytest.CaptureFixture[str]) -> None:
    """A billion requests a day are refused at once."""
    assert main(["estimate", "--requests-per-day", "1e9"]) == 2
    assert "more than 5,000,000 requests" in capsys.readouterr().err


def test_an_estimate_needs_five_numbers_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    """A few numbers give the same table."""
    assert main(["estimate", "--requests-per-day", "100", "--days", "1", "--quick"]) == 0
    assert "wake for deadlines" in capsys.readouterr().out
    assert main(["estimate", "--requests-per-day", "0.001", "--days", "1", "--quick"]) == 2
