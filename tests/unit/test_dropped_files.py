"""A file dropped into the bucket comes back beside itself, line by line, in its own order."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.batch_road import BatchRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import make_catalogue
from tollgate.domain.catalogue import BatchPolicy
from tollgate.domain.errors import BackendError, InvalidRequestError
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.dropped_files import DroppedFile, DroppedLine, dropped_file, dropped_line

_KEY = "batch-input/echo/night run.jsonl"
_RESULT = "batch-output/echo/night run.jsonl"
_SUMMARY = "batch-output/echo/night run.summary.json"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("batch-input/echo/a.jsonl", DroppedFile("echo", "a")),
        ("batch-input/echo/2026/03/ä +.jsonl", DroppedFile("echo", "2026/03/ä +")),
        ("batch-input/echo/.jsonl", None),
        ("batch-input/a.jsonl", None),
        ("batch-input//a.jsonl", None),
        ("batch-input/echo/a.csv", None),
        ("files/echo/a.jsonl", None),
    ],
)
def test_the_key_names_the_model(key: str, expected: DroppedFile | None) -> None:
    """Other keys are none of ours."""
    assert dropped_file(key) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'"text"', DroppedLine("text")),
        (b"[1, null]", DroppedLine([1, None])),
        (b'{"input": 1}', DroppedLine(1)),
        (b'{"id": "a", "input": {"x": 1}, "parameters": {"t": 0.5}}', DroppedLine({"x": 1}, {"t": 0.5}, "a")),
        (b'{"messages": []}', DroppedLine({"messages": []})),
        (b'{"input": 1, "other": 2}', DroppedLine({"input": 1, "other": 2})),
        (b'{"id": null, "input": 1}', DroppedLine(1)),
    ],
)
def test_a_line_is_an_envelope_or_the_input_itself(line: bytes, expected: DroppedLine) -> None:
    """An object is an envelope only when it has nothing but an envelope's parts."""
    assert dropped_line(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\xff",
        b"NaN",
        b'{"input": 1e999}',
        b'{"input": ' + b"9" * 5000 + b"}",
        b'{"input": 1, "id": 7}',
        b'{"input": 1, "id": ""}',
        b'{"input": 1, "parameters": []}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_wrong_is_refused(line: bytes) -> None:
    """However it is wrong."""
    with pytest.raises(InvalidRequestError):
        dropped_line(line)


def _drop(road: BatchRoad, *lines: bytes, key: str = _KEY, version: str = "v1") -> None:
    road.objects.put(key, b"\n".join(lines) + b"\n")
    road.drops().dropped(key, version)


def _results(road: BatchRoad, key: str = _RESULT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in road.objects.lines(key) or ()]


def _summary(road: BatchRoad) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(road.objects.objects[_SUMMARY])
    return found


def test_a_dropped_file_comes_back_in_its_order() -> None:
    """With the callers' own ids, errors for invalid lines in their place, and a summary with the cost."""
    road = BatchRoad()
    _drop(road, b'"a"', b'{"id": "mine", "input": "b"}', b"{oops", b"", b'"c"', b'{"id": 5, "input": 1}')
    [name] = road.backend.started
    road.run_transform(name, seconds=30)
    road.collect(name)
    results = _results(road)
    assert results[0] == {"line": 1, "output": {"echo": "a"}}
    assert results[1] == {"id": "mine", "output": {"echo": "b"}}
    assert results[2]["line"] == 3
    assert results[2]["error"]["code"] == "invalid_request"
    assert results[3] == {"line": 5, "output": {"echo": "c"}}
    assert "error" in results[4]
    summary = _summary(road)
    assert (summary["records"], summary["completed"], summary["failed"], summary["invalid"]) == (5, 3, 0, 2)
    assert Decimal(summary["instance_seconds"]) == Decimal(30)
    share = Decimal(30) * Decimal("0.115") / 3600
    assert share < Decimal(summary["effective_cost_usd"]) < share + Decimal("0.001")
    assert summary["source"] == _KEY
    assert not road.jobs.jobs
    [record] = road.telemetry.requests
    assert record.outcome == "completed"


def test_the_same_event_twice_runs_once() -> None:
    """A new writing of the same key runs again."""
    road = BatchRoad()
    _drop(road, b"1")
    road.drops().dropped(_KEY, "v1")
    assert len(road.backend.started) == 1
    road.drops().dropped(_KEY, "v2")
    assert len(road.backend.started) == 2


def test_an_unknown_model_is_said_beside_the_results() -> None:
    """With the names that are known; nothing runs."""
    road = BatchRoad()
    _drop(road, b"1", key="batch-input/gpt-9/a.jsonl")
    error = json.loads(road.objects.objects["batch-output/gpt-9/a.error.json"])["error"]
    assert error["code"] == "unknown_model"
    assert "echo" in error["message"]
    assert not road.batches.runs


def test_files_that_are_gone_or_named_otherwise_are_passed_over() -> None:
    """Events may be late, and people drop all sorts of things."""
    road = BatchRoad()
    road.drops().dropped("batch-input/echo/gone.jsonl", "v1")
    _drop(road, b"1", key="batch-input/echo/readme.txt")
    assert not road.batches.runs
    assert not road.backend.started


def test_a_file_without_a_valid_line_ends_at_once() -> None:
    """All errors, no transform job, and only the gateway's own cost."""
    road = BatchRoad()
    _drop(road, b"oops", b"{")
    assert not road.backend.started
    assert [sorted(result) for result in _results(road)] == [["error", "line"], ["error", "line"]]
    assert _summary(road)["invalid"] == 2
    assert {run.state for run in road.batches.runs.values()} == {BatchState.ENDED}


def test_an_empty_file_ends_with_an_empty_result() -> None:
    """And a summary that says so."""
    road = BatchRoad()
    _drop(road, b"")
    assert road.objects.objects[_RESULT] == b""
    assert _summary(road)["records"] == 0


def test_a_refused_transform_job_is_said_beside_the_results() -> None:
    """The run has ended."""
    road = BatchRoad()
    road.backend.errors = [BackendError("refused")]
    _drop(road, b"1")
    assert "batch-output/echo/night run.error.json" in road.objects.objects
    assert {run.state for run in road.batches.runs.values()} == {BatchState.ENDED}


def test_bad_lines_fail_alone() -> None:
    """Their file is run again line by line; what fails then has failed, and both runs are paid for."""
    road = BatchRoad()
    lines = [str(number).encode() for number in range(7)]
    _drop(road, *lines)
    road.run_everything(bad=[2, 5].__contains__)
    results = _results(road)
    assert [result["line"] for result in results] == [1, 2, 3, 4, 5, 6, 7]
    assert [result["line"] - 1 for result in results if "error" in result] == [2, 5]
    summary = _summary(road)
    assert (summary["completed"], summary["failed"]) == (5, 2)
    # Two jobs of 60 s.
    assert Decimal(summary["instance_seconds"]) == pytest.approx(Decimal(120), abs=Decimal("1E-6"))
    assert len(road.backend.started) == 2


def _effects() -> int:
    road = BatchRoad()
    road.objects.put(_KEY, b"0\n{\n1\n2\n3\n")
    counter = CrashPoint(0)
    road.drops(counter).dropped(_KEY, "v1")
    return counter.effects


def _effects_of_collection() -> int:
    road = BatchRoad()
    _drop(road, b"0", b"{", b"1", b"2", b"3")
    [name] = road.backend.started
    road.run_transform(name, bad=[2].__contains__)
    counter = CrashPoint(0)
    road.collect(name, counter)
    return counter.effects


def _expected(results: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(result["line"], "error" if "error" in result else str(result["output"]["echo"])) for result in results]


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", range(1, _effects() + 1))
def test_a_death_while_preparing_loses_nothing(step: int, before: bool) -> None:
    """The event comes back, or the run is taken up again; the result is the same."""
    road = BatchRoad()
    road.objects.put(_KEY, b"0\n{\n1\n2\n3\n")
    with pytest.raises(CrashError):
        road.drops(CrashPoint(step, before=before)).dropped(_KEY, "v1")
    road.drops().dropped(_KEY, "v1")
    road.run_everything()
    assert _expected(_results(road)) == [(1, "0"), (2, "error"), (3, "1"), (4, "2"), (5, "3")]
    assert len(road.backend.started) == 1


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", range(1, _effects_of_collection() + 1))
def test_a_death_while_collecting_loses_nothing(step: int, before: bool) -> None:
    """Results, summary and number of transform jobs are as without it."""
    bad = [2].__contains__
    road = BatchRoad()
    _drop(road, b"0", b"{", b"1", b"2", b"3")
    [name] = road.backend.started
    road.run_transform(name, bad=bad)
    with pytest.raises(CrashError):
        road.collect(name, CrashPoint(step, before=before))
    road.collect(name)
    road.run_everything(bad=bad)
    assert _expected(_results(road)) == [(1, "0"), (2, "error"), (3, "1"), (4, "error"), (5, "3")]
    assert Decimal(_summary(road)["instance_seconds"]) == pytest.approx(Decimal(120), abs=Decimal("1E-6"))
    assert len(road.backend.started) == 2


def test_a_long_file_is_cut_into_few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """And in the same pieces when the catalogue changes before a crashed preparation is taken up."""
    monkeypatch.setattr("tollgate.services.batches.drop_chunks.MOST_FILES", 3)
    road = BatchRoad()
    road.objects.put(_KEY, b"\n".join(str(number).encode() for number in range(14)))
    with pytest.raises(CrashError):
        road.drops(CrashPoint(3)).dropped(_KEY, "v1")
    road.catalogues.catalogue = make_catalogue(batch=BatchPolicy(records_per_file=1))
    road.drops().dropped(_KEY, "v1")
    [job] = road.backend.started.values()
    files = [list(road.objects.lines(key) or ()) for key in road.objects.list_keys(job.input_prefix)]
    assert [len(lines) for lines in files] == [5, 5, 4]
    road.run_everything()
    assert [result["line"] for result in _results(road)] == list(range(1, 15))


def test_what_was_written_before_a_death_is_not_written_again() -> None:
    """A file that takes longer than one function may run gets on with every call."""
    road = BatchRoad()
    road.objects.put(_KEY, b"\n".join(str(number).encode() for number in range(8)))
    with pytest.raises(CrashError):
        road.drops(CrashPoint(4)).dropped(_KEY, "v1")
    again = CrashPoint(0)
    road.drops(again).dropped(_KEY, "v1")
    # Four files in all, three were there; the last of those may be incomplete and is written again.
    # The rest is the count of records, the start, and the state.
    assert again.effects == 1 + 2 + 3


def test_mass_failure_is_not_repeated_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """When so many lines have no answer, it is not for one bad record among them."""
    monkeypatch.setattr("tollgate.services.batches.collect_drop.MOST_REPEATED", 3)
    road = BatchRoad()
    _drop(road, *(str(number).encode() for number in range(4)))
    road.run_everything(bad=lambda _value: True)
    assert len(road.backend.started) == 1
    assert _summary(road)["failed"] == 4


_LINES = [b"", b"  ", b"{", b"1", b'{"input": 2}', b'{"id": "x", "input": 3}', b'"\\ud800"']


@settings(deadline=None)
@given(
    lines=st.lists(st.sampled_from(_LINES)),
    bad=st.sets(st.integers(1, 3)),
    per_file=st.integers(1, 4),
)
def test_every_line_has_its_own_result(lines: list[bytes], bad: set[int], per_file: int) -> None:
    """One for each line that is not empty, in order, whatever fails and however it is cut."""
    road = BatchRoad(make_catalogue(batch=BatchPolicy(records_per_file=per_file)))
    _drop(road, *lines)
    road.run_everything(bad=bad.__contains__)
    results = _results(road)
    wanted = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    assert len(results) == len(wanted)
    for (number, line), result in zip(wanted, results, strict=True):
        assert result.get("line", number) == number
        bad_line = line in {b"{", b'"\\ud800"'}
        value = None if bad_line else json.loads(line)
        inner = value["input"] if isinstance(value, dict) else value
        fails = bad_line or inner in bad
        assert ("error" in result) == fails
