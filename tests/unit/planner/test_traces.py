"""Traces are read as they are published, and what cannot be read is counted."""

import gzip
import json
from pathlib import Path

import pytest

from cli.main import main
from planner.opening import TraceError
from planner.reading import read_trace
from planner.trace import CLASSES, NO_DEADLINE
from planner.workload import DEADLINES, ClassMix, Workload, draw_deadlines
from tollgate.domain.catalogue import Priority


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_tenants_with_offsets_keep_their_zero(tmp_path: Path) -> None:
    """ServeGen's columns: groups by tenant, seconds as they are, sorted by arrival."""
    text = "tenant,t_s,input_tokens,output_tokens\nb,20.5,7,3\na,10,5,1\n"
    trace = read_trace(written(tmp_path, "t.csv.gz", text))
    assert list(trace.arrivals) == [10.0, 20.5]
    assert [trace.group_names[g] for g in trace.groups] == ["a", "b"]
    assert list(trace.only(trace.group_names.index("b")).input_tokens) == [7]


def test_dates_start_at_the_first_request(tmp_path: Path) -> None:
    """Azure's columns: timestamps with seven decimals become seconds since the first."""
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:05,1,8\n"
    trace = read_trace(written(tmp_path, "a.csv", text))
    assert list(trace.arrivals) == [0.0, pytest.approx(1.02004, abs=1e-5)]
    assert list(trace.output_tokens) == [10, 8]


def test_mooncake_counts_milliseconds_and_repeats_whole_requests(tmp_path: Path) -> None:
    """The same blocks and length are the same prompt; the same blocks with another length are not."""
    rows = [
        {"timestamp": t, "input_length": n, "output_length": 2, "hash_ids": [1, 2]}
        for t, n in ((0, 900), (1500, 900), (2000, 901))
    ]
    trace = read_trace(written(tmp_path, "m.jsonl", "\n".join(map(json.dumps, rows))))
    assert list(trace.arrivals) == [0.0, 1.5, 2.0]
    assert trace.prompts[0] == trace.prompts[1] != trace.prompts[2]


def test_burstgpt_columns_are_known(tmp_path: Path) -> None:
    """Timestamp, Model, Request tokens and Response tokens."""
    text = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,log\n"
    trace = read_trace(written(tmp_path, "b.csv", text))
    assert (trace.arrivals[0], trace.input_tokens[0], trace.output_tokens[0]) == (5.0, 472, 18)
    assert trace.group_names == ["ChatGPT"]


def test_own_columns_carry_class_deadline_and_duration(tmp_path: Path) -> None:
    """A row may name its class, its deadline and its seconds."""
    row = {"arrival_s": 1, "duration_s": 2.5, "class": "LOW", "deadline_s": 70, "prompt_hash": "x"}
    trace = read_trace(written(tmp_path, "o.jsonl", json.dumps(row)))
    assert CLASSES[trace.classes[0]] is Priority.LOW
    assert (trace.deadlines[0], trace.durations[0]) == (70.0, 2.5)
    assert trace.prompts[0] >= 0


def test_malformed_rows_are_counted_by_reason(tmp_path: Path) -> None:
    """Each bad row is left out under its reason, the good one stays."""
    rows = ["nonsense", "[1]", "{}", *(json.dumps(r) for r in (
        {"t_s": "soon", "input_tokens": 1}, {"t_s": -1, "input_tokens": 1}, {"t_s": 1},
        {"t_s": 1, "input_tokens": -4}, {"t_s": 1, "input_tokens": 1.5}, {"t_s": 1, "input_tokens": 1, "class": "vip"},
        {"t_s": 1, "input_tokens": "many"}, {"t_s": float("nan"), "input_tokens": 1}, {"t_s": 2, "input_tokens": 1},
    ))]  # fmt: skip
    trace = read_trace(written(tmp_path, "x.jsonl", "\n".join(rows)))
    assert len(trace) == 1
    assert trace.rows == 12
    assert trace.malformed == {
        "not a JSON object": 2,
        "no arrival time": 1,
        "arrival time is neither a number nor a date": 1,
        "arrival time out of range": 2,
        "neither tokens nor duration": 1,
        "tokens out of range": 2,
        "class is not high, medium or low": 1,
        "tokens is not a number": 1,
    }


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "t_s,input_tokens\n"])
def test_a_file_without_requests_is_refused(tmp_path: Path, text: str) -> None:
    """No column for the time, or no usable row, is an error and not an empty plan."""
    with pytest.raises(TraceError):
        read_trace(written(tmp_path, "e.csv", text))


def test_a_described_workload_is_the_same_for_the_same_seed() -> None:
    """Rates, sizes and repetition come out near what was asked, and again the same."""
    workload = Workload([600.0, 0.0], hours=20.0, burstiness=2.0, input_tokens=300.0, repeated=0.3)
    trace, again, other = workload.trace(3), workload.trace(3), workload.trace(4)
    assert trace.arrivals == again.arrivals
    assert trace.arrivals != other.arrivals
    assert len(trace) == pytest.approx(6_000, rel=0.1)
    assert sum(trace.input_tokens) / len(trace) == pytest.approx(300, rel=0.1)
    assert 1 - len(set(trace.prompts)) / len(trace) == pytest.approx(0.3, abs=0.03)
    assert not any(int(arrival // 3600) % 2 for arrival in trace.arrivals)


def test_deadlines_are_drawn_by_class_and_leave_given_ones_alone() -> None:
    """Shares come out as asked, with each class's deadline; a deadline of the trace's own stays."""
    trace = Workload([2_000.0], hours=1.0).trace(1)
    trace.deadlines[0] = 5.0
    draw_deadlines(trace, ClassMix(0.2, 0.3, 0.5), seed=2)
    assert trace.deadlines[0] == 5.0
    assert NO_DEADLINE not in trace.deadlines
    assert list(trace.classes).count(0) / len(trace) == pytest.approx(0.2, abs=0.04)
    pairs = set(zip(trace.classes[1:], trace.deadlines[1:], strict=True))
    assert pairs == {(n, DEADLINES[name]) for n, name in enumerate(CLASSES)}


def test_plan_prints_every_design_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command needs no stack; its total is the sum of the parts it prints."""
    text = "t_s,input_tokens,output_tokens\n" + "".join(f"{n * 50},500,40\n" for n in range(40)) + "x,1,1\n"
    assert main(["plan", str(written(tmp_path, "p.csv", text)), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["malformed"] == {"arrival time is neither a number nor a date": 1}
    assert printed["recommended"] in {d["design"] for d in printed["designs"]}
    for design in printed["designs"]:
        assert sum(map(float, design["bill"].values())) == pytest.approx(float(design["total_usd"]))


def test_plan_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json there is a table with the bound and the recommendation below it."""
    text = "t_s,input_tokens,output_tokens\n1,500,40\nx,1,1\n"
    assert main(["plan", str(written(tmp_path, "p.csv", text))]) == 0
    out = capsys.readouterr().out
    assert "Left out 1 of 2 rows" in out
    assert "Cheapest without a missed deadline" in out


def test_estimate_works_from_a_few_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """Two hundred requests a day over two days."""
    assert main(["estimate", "--requests-per-day", "200", "--days", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == pytest.approx(400, rel=0.2)


def test_a_trace_that_is_not_there_ends_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file is said on standard error, with status 2."""
    assert main(["plan", "absent.csv"]) == 2
    assert capsys.readouterr().err.startswith("tollgate:")


def test_the_gateways_own_export_is_a_trace(tmp_path: Path) -> None:
    """A row of one request and a row of an hour become requests of their hour, road and tenant; tokens are kept."""
    names = "ChargePeriodStart,ChargePeriodEnd,x_InferenceType,x_InputTokens,x_OutputTokens,x_RequestId,x_Requests"
    rows = (
        "2026-11-22T10:00:00Z,2026-11-22T11:00:00Z,batch,100,7,one,1,acme\n"
        "2026-11-22T11:00:00Z,2026-11-22T12:00:00Z,realtime,1000,50,,3,acme\n"
        "2026-11-22T11:00:00Z,2026-11-22T12:00:00Z,async,,,two,1,acme\n"
    )
    path = written(tmp_path, "part.csv.gz", f"{names},x_Tenant\n{rows}")
    trace = read_trace(path)
    assert list(trace.arrivals) == list(read_trace(path).arrivals)
    assert [CLASSES[position].value for position in trace.classes] == ["low", "high", "high", "high"]
    assert (sum(trace.input_tokens), sum(trace.output_tokens)) == (1_100, 57)
    assert 0 < trace.arrivals[1] <= 7_200
    assert trace.group_names == ["acme"]
    assert trace.malformed == {"neither tokens nor duration": 1}


def test_a_job_in_the_export_keeps_its_own_class_and_not_its_second(tmp_path: Path) -> None:
    """An export without counts has one request a row; only rows with a known hour are taken."""
    text = (
        "ChargePeriodStart,ChargePeriodEnd,x_InferenceType,x_InputTokens,x_OutputTokens,x_RequestId,x_Tenant\n"
        "2026-11-22T10:00:00Z,2026-11-22T11:00:00Z,async,10,1,a,t\nnever,2026-11-22T11:00:00Z,async,10,1,b,t\n"
    )
    trace = read_trace(written(tmp_path, "part.csv", text))
    assert (len(trace), trace.rows, sum(trace.malformed.values())) == (1, 2, 1)
