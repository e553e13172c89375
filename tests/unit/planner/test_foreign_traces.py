"""Traces that nobody made for the planner: other formats, clocks, packings, and files with dirt in them."""

import bz2
import gzip
import io
import json
import lzma
import re
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from planner.opening import TraceError
from planner.rates import read_rates
from planner.reading import read_trace
from planner.trace import CLASSES, Trace
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import Owner, Usage
from tollgate.domain.records import RequestRecord

_BEGIN = datetime(2026, 11, 1, 12, tzinfo=UTC)
_EPOCH = int(_BEGIN.timestamp())
_PLAIN = "t_s,input_tokens,output_tokens\n0,500,150\n40,300,80\n"


def _read(folder: Path, content: str | bytes, name: str = "trace.csv") -> Trace:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_rates(path) is None
    return read_trace(path)


def _same(trace: Trace, *, seconds: tuple[float, ...] = (0.0, 40.0)) -> None:
    assert list(trace.arrivals) == pytest.approx(seconds, abs=1e-3)
    assert (list(trace.input_tokens), list(trace.output_tokens)) == ([500, 300], [150, 80])
    assert not trace.malformed


_OPENAI = {"object": "chat.completion", "model": "m", "choices": [{"message": {"role": "assistant", "content": "{"}}]}
_LITELLM = {"call_type": "acompletion", "metadata": {"usage_object": {"prompt_tokens": 1}}, "request_tags": [{"a": 1}]}


def _openai(created: int, read: int, written: int) -> dict[str, object]:
    usage = {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    return _OPENAI | {"created": created, "usage": usage}


def _span(second: int, read: int, written: int) -> dict[str, object]:
    sizes = {"gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": written}
    return {"startTimeUnixNano": str((_EPOCH + second) * 10**9), "attributes": sizes}


def _lines(*rows: object) -> str:
    return "\n".join(map(json.dumps, rows)) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("﻿t_s,input_tokens,output_tokens\r\n0,500,150\r\n40,300,80\r\n", id="BOM and CRLF"),
        pytest.param("T_S; Input_Tokens; Output_Tokens\n0; 500; 150\n40; 300; 80\n", id="semicolons, capitals"),
        pytest.param("t_s\tinput_tokens\toutput_tokens\n0\t500\t150\n40\t300\t80\n", id="tabs"),
        pytest.param('"t_s","input_tokens","output_tokens"\n"0","500","150"\n"40","300.0","80"\n', id="quoted"),
        pytest.param(
            't_s,prompt,input_tokens,output_tokens\n0,"a ""b"",\nc",500,150\n\n40,x,300,80\n', id="text in between"
        ),
        pytest.param("t_s,input_tokens,output_tokens\n40,300,80,,\n0,500,150,\n", id="unsorted, commas at the end"),
        pytest.param("arrived_at,num_prefill_tokens,num_decode_tokens\n0,500,150\n40,300,80\n", id="Vidur"),
        pytest.param(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n"
            "2024-05-10 00:00:00.009930+00:00,500,150\n2024-05-10 00:00:40.009930+00:00,300,80\n",
            id="Azure 2024",
        ),
        pytest.param(
            "timestamp,input_tokens,output_tokens\n2026-11-01T14:00:00.123456+02:00,500,150\n"
            "2026-11-01T12:00:40.123456Z,300,80\n",
            id="two zones",
        ),
        pytest.param(
            "time,input_tokens,output_tokens\n2026-11-01 12:00:00 UTC,500,150\n2026-11-01 12:00:40,300,80\n",
            id="a zone in words",
        ),
        pytest.param(
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
            "5,1,3.5,GPT-4,500,150,650,Conversation log\n45,,1,GPT-4,300,80,380,API log\n",
            id="BurstGPT",
        ),
        pytest.param(
            "request_created_at,response_status,latency,prompt_tokens,completion_tokens,total_tokens,model\n"
            "2026-11-01T12:00:00.1Z,200,812,500,150,650,m\n2026-11-01T12:00:40.1Z,200,500,300,80,380,m\n",
            id="Helicone",
        ),
        pytest.param(
            _lines(
                {"startTime": "2026-11-01T12:00:00Z", "input": "hi", "usage": {"input": 500, "output": 150}},
                {"startTime": "2026-11-01T12:00:40Z", "input": {"m": "x"}, "usage": {"input": 300, "output": 80}},
            ),
            id="Langfuse",
        ),
        pytest.param(
            json.dumps(
                [
                    _LITELLM | {"startTime": _BEGIN.isoformat(), "prompt_tokens": 500, "completion_tokens": 150},
                    _LITELLM | {"startTime": "2026-11-01T12:00:40", "prompt_tokens": 300, "completion_tokens": 80},
                ],
                indent=1,
            ),
            id="LiteLLM's spend",
        ),
        pytest.param(_lines(_openai(_EPOCH, 500, 150), _openai(_EPOCH + 40, 300, 80)), id="OpenAI's answers"),
        pytest.param(
            _lines(
                {"custom_id": "a", "response": {"status_code": 200, "body": _openai(_EPOCH, 500, 150)}, "error": None},
                {"custom_id": "b", "response": {"status_code": 200, "body": _openai(_EPOCH + 40, 300, 80)}},
            ),
            id="OpenAI's batch output",
        ),
        pytest.param(
            json.dumps({"data": [_openai(_EPOCH, 500, 150), _openai(_EPOCH + 40, 300, 80)], "has_more": False}),
            id="a page of answers",
        ),
        pytest.param(
            _lines(_span(0, 500, 150), _span(40, 300, 80)),
            id="OpenTelemetry",
        ),
        pytest.param(
            '"@timestamp","@message"\n'
            + "".join(
                f'"2026-11-01 12:00:{second}.000","{json.dumps(row).replace(chr(34), chr(34) * 2)}"\n'
                for second, row in (
                    ("00", {"input_tokens": 500, "output_tokens": 150}),
                    ("40", {"input_tokens": 300, "output_tokens": 80}),
                )
            ),
            id="Logs Insights",
        ),
    ],
)  # fmt: skip
def test_other_formats_are_read_as_they_are(tmp_path: Path, text: str) -> None:
    """The same two requests, forty seconds apart, as other programs write them."""
    trace = _read(tmp_path, text, "export.txt")
    _same(trace, seconds=(5.0, 45.0) if "Session ID" in text else (0.0, 40.0))


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_time_since_1970_is_read_in_any_unit(tmp_path: Path, scale: int) -> None:
    """Seconds, milliseconds, microseconds and nanoseconds are told apart by their size."""
    rows = f"timestamp,input_tokens,output_tokens\n{_EPOCH * scale},500,150\n{(_EPOCH + 40) * scale},300,80\n"
    _same(_read(tmp_path, rows))


@pytest.mark.parametrize(
    ("column", "scale"), [("arrival_ms", 10**3), ("timestamp (us)", 10**6), ("timeNanos", 10**9), ("time_seconds", 1)]
)
def test_a_unit_in_the_name_counts(tmp_path: Path, column: str, scale: int) -> None:
    """Offsets have no size that gives them away."""
    _same(_read(tmp_path, f"{column},input_tokens,output_tokens\n0,500,150\n{40 * scale},300,80\n"))


def test_a_date_written_as_one_number_is_no_time_since_1970(tmp_path: Path) -> None:
    """20261101120000 taken for milliseconds would put an hour into ten seconds; such rows are left out, and counted."""
    rows = "timestamp,input_tokens,output_tokens\n20261101120000,500,150\n20261101130000,5,5\n"
    with pytest.raises(TraceError, match="2 x arrival time out of range"):
        _read(tmp_path, rows)


@pytest.mark.parametrize(("column", "held"), [("duration", -1.0), ("duration_ms", 1.5), ("Duration (s)", 1500.0)])
def test_a_duration_without_a_unit_does_not_stand_in_for_tokens(tmp_path: Path, column: str, held: float) -> None:
    """Beside tokens it counts only where its name tells the unit: 1500 may be milliseconds."""
    trace = _read(tmp_path, f"t_s,input_tokens,output_tokens,{column}\n0,500,150,1500\n")
    assert list(trace.durations) == [held]


def _zipped(text: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("folder/trace.csv", text)
        archive.writestr("__MACOSX/._trace.csv", b"\0")
    return packed.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, _zipped])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_packed_files_are_known_by_what_is_in_them(
    tmp_path: Path, pack: Callable[[bytes], bytes], encoding: str
) -> None:
    """Whatever the name says, in either encoding."""
    _same(_read(tmp_path, pack(_PLAIN.encode(encoding)), "trace.csv"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (b"t_s,input_tokens,output_tokens\n", "no rows"),
        (b"0,500,150\n40,300,80\n", "has to name the columns"),
        (b"when,input_tokens\n1,2\n", "no column for the arrival time"),
        (b"when,input_tokens\n1,2\n", "it has when, input_tokens"),
        (b"timestamp,total_tokens\n1,2\n", "no column for tokens or a duration"),
        (b'{"when": 1, "input_tokens": 2}\n', "its first row has when, input_tokens"),
        (b"t_s,input_tokens,priority\n1,2,7\n", "1 x priority is not high, medium or low"),
        (b"\x28\xb5\x2f\xfd....", "packed by zstd"),
        (b"PAR1....", "Parquet"),
        (b"PK\x03\x04....", "damaged"),
        (b"\x1f\x8b\x08....", "its end is missing"),
        (b"a,b\0c\n", "not text"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_what_it_lacks(tmp_path: Path, content: bytes, reason: str) -> None:
    """One sentence, which names the column where one is missing."""
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=re.escape(reason)):
        read_rates(path) or read_trace(path)


def test_dirt_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    """Cut rows, shifted columns, clocks of another age, rows that came twice: each under its reason."""
    rows = [
        "request_id,timestamp,input_tokens,output_tokens",
        f"a,{_EPOCH},500,150",
        f"a,{_EPOCH},500,150",
        f"b,{_EPOCH + 5}",
        f"c,{_EPOCH + 6},1,000,7",
        "d,12,5,5",
        f"e,{_EPOCH * 2},5,5",
        f"f,{_EPOCH + 7},-3,5",
        f"a,{_EPOCH + 40},300,80",
        f"g,{_EPOCH + 50},NULL,80",
    ]
    trace = _read(tmp_path, "\n".join(rows).encode() + b"\ncaf\xe9,soon,1,1\n")
    assert (list(trace.arrivals), trace.rows) == ([0.0, 40.0, 50.0], 10)
    assert trace.malformed == {
        "the same request again": 1,
        "fewer fields than the header has names": 1,
        "more fields than the header has names": 1,
        "arrival time is more than a year away from most others": 2,
        "tokens out of range": 1,
        "arrival time is neither a number nor a date": 1,
    }
    assert trace.notes == {"requests without input tokens, taken as 0": 1}


def test_a_broken_first_line_costs_that_line_only(tmp_path: Path) -> None:
    """JSON Lines whose first line was cut are still read line by line."""
    rows = (
        {"t_s": 0, "input_tokens": 500, "output_tokens": 150},
        {"t_s": 40, "input_tokens": 300, "output_tokens": 80},
    )
    trace = _read(tmp_path, '{"t_s": 3, "inp\n' + _lines(*rows), "x.jsonl")
    assert (len(trace), trace.malformed) == (2, {"not a JSON object": 1})


def test_hours_before_the_first_request_are_not_billed(tmp_path: Path) -> None:
    """A part cut out of a longer trace begins with its first request's hour."""
    month = 30 * 86_400
    rows = f"t_s,input_tokens,output_tokens\n{month + 90},500,150\n{month + 130},300,80\n"
    _same(_read(tmp_path, rows), seconds=(90.0, 130.0))


def test_other_names_of_a_class_are_known(tmp_path: Path) -> None:
    """Service tiers and kinds of road name classes; a default names none."""
    names = ("priority", "Flex", "default", "async", "low")
    rows = "".join(f"{number},5,5,{name}\n" for number, name in enumerate(names))
    trace = _read(tmp_path, f"t_s,input_tokens,output_tokens,service_tier\n{rows}")
    found = [None if position < 0 else CLASSES[position].value for position in trace.classes]
    assert found == ["high", "low", None, "medium", "low"]


def test_a_file_of_many_customers_is_read_in_linear_time(tmp_path: Path) -> None:
    """Forty thousand names take less than a second or two, not their square."""
    rows = "".join(f"{number},5,5,customer {number}\n" for number in range(40_000))
    began = time.process_time()
    trace = _read(tmp_path, f"t_s,input_tokens,output_tokens,customer\n{rows}")
    assert time.process_time() - began < 5
    assert len(trace.group_names) == 40_000
    assert trace.group_names[trace.groups[39_999]] == "customer 39999"


def test_a_moment_is_a_deadline_too(tmp_path: Path) -> None:
    """Seconds after the arrival, or the date by which the answer has to be there."""
    rows = (
        "timestamp,deadline,input_tokens,output_tokens\n2026-11-01T12:00:00Z,2026-11-01T12:15:00Z,500,150\n"
        "2026-11-01T12:00:40Z,70,300,80\n"
    )
    assert list(_read(tmp_path, rows).deadlines) == [900.0, 70.0]


def test_openai_s_usage_is_spread_over_its_time(tmp_path: Path) -> None:
    """A row of a page tells an hour or a day of requests; their tokens add up."""
    result = {"object": "organization.usage.completions.result", "model": "m", "batch": True}
    bucket = {
        "object": "bucket",
        "start_time": _EPOCH,
        "end_time": _EPOCH + 3600,
        "results": [result | {"input_tokens": 1001, "output_tokens": 50, "num_model_requests": 10}],
    }
    trace = _read(tmp_path, json.dumps({"object": "page", "data": [bucket, bucket | {"start_time": _EPOCH}]}))
    assert (len(trace), sum(trace.input_tokens), sum(trace.output_tokens)) == (20, 2002, 100)
    assert trace.seconds < 3600
    assert {CLASSES[position].value for position in trace.classes} == {"low"}


def _log(*records: RequestRecord) -> list[str]:
    lines: list[str] = []
    telemetry = Telemetry(namespace="Tollgate", service="gateway", write=lines.append, now=lambda: _BEGIN)
    telemetry.log("INFO", "cold start")
    for record in records:
        telemetry.request(record)
    telemetry.count("BudgetAlarm")
    return lines


def _record(name: str, outcome: str, usage: Usage) -> RequestRecord:
    owner = Owner(tenant="acme", key_id="k", team="t")
    return RequestRecord(name, owner, InferenceType.REALTIME, "chat/main", outcome, 2.5, usage=usage)


@pytest.mark.parametrize(
    "wrap", [str, "2026-11-01T12:00:00.000Z {}".format, lambda line: json.dumps({"message": line})]
)
def test_the_gateway_s_own_log_is_a_trace(tmp_path: Path, wrap: Callable[[str], str]) -> None:
    """A request's line and its metric record are one request, which came as much earlier as it took."""
    lines = _log(
        _record("one", "completed", Usage(500, 150)),
        _record("two", "accepted", Usage(9, 9)),
        _record("three", "completed", Usage(300, 80)),
    )
    trace = _read(tmp_path, "START RequestId: x\n" + "\n".join(map(wrap, lines)), "log.txt")
    assert sorted(trace.input_tokens) == [300, 500]
    assert trace.group_names == ["acme"] or set(trace.groups) == {trace.group_names.index("acme")}
    assert {CLASSES[position].value for position in trace.classes} == {"high"}
    assert trace.malformed == {"not a JSON object": 1}
    assert trace.notes["metric records beside the log lines of the same requests"] == 2
    assert trace.notes["lines of the gateway's log that are no finished request"] == 3


def test_metric_records_alone_are_a_trace(tmp_path: Path) -> None:
    """Who exports the records without the lines gets the same requests, by model."""
    lines = _log(_record("one", "completed", Usage(500, 150)), _record("two", "completed", Usage(300, 80)))
    trace = _read(tmp_path, "\n".join(line for line in lines if "_aws" in line), "log.jsonl")
    assert (sorted(trace.input_tokens), trace.group_names) == ([300, 500], ["chat"])
