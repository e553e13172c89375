"""A batch of lines comes back in two files, every line once, whatever dies on the way."""

import itertools
import json
from collections.abc import Iterable
from copy import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.files_road import FilesRoad, embedding_line, two_models
from tests.fakes.ledger import InMemoryLedger
from tollgate.domain.errors import BackendError, ConflictError, StorageError, TollgateError
from tollgate.domain.jobs.file_batches import (
    MOST_LINES,
    BatchLineError,
    FileBatchStatus,
    batch_line,
)
from tollgate.services.batches.file_batch_changes import written


def test_two_models_in_one_file_come_back_in_one() -> None:
    """One transform job for each model; answers in OpenAI's form, each with its price."""
    road = FilesRoad(two_models())
    road.begin(embedding_line("a", "x"), embedding_line("b", "xx", "other"), embedding_line("c", "xxx"))
    road.run()
    batch = road.batch
    assert batch.status is FileBatchStatus.COMPLETED
    assert (batch.total, batch.completed, batch.failed) == (3, 3, 0)
    assert batch.error_file_id is None
    assert {job.road.target for job in road.backend.started.values()} == {"tollgate-echo"}
    assert len(road.backend.started) == 2
    found = {line["custom_id"]: line for line in road.lines(batch.output_file_id)}
    assert {name: line["response"]["body"]["data"][0]["embedding"] for name, line in found.items()} == {
        "a": [1.0],
        "b": [2.0],
        "c": [3.0],
    }
    assert found["a"]["response"]["status_code"] == 200
    assert found["a"]["error"] is None
    assert found["b"]["tollgate"]["deployment"] == "other/small"
    prices = [Decimal(line["tollgate"]["effective_cost_usd"]) for line in found.values()]
    assert all(price > 0 for price in prices)
    assert sum(prices) == batch.effective_cost
    assert list(batch.times) == [
        FileBatchStatus.IN_PROGRESS,
        FileBatchStatus.FINALIZING,
        FileBatchStatus.COMPLETED,
    ]


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (b"{", 400, "invalid_request"),
        (b'{"custom_id": "x"}', 400, "invalid_request"),
        (embedding_line("x", url="/v1/responses"), 400, "invalid_request"),
        (embedding_line("x", method="GET"), 400, "invalid_request"),
        (embedding_line("x", body={"model": "echo"}), 400, "invalid_request"),
        (embedding_line("x", body={"model": "echo", "input": "x", "stream": True}), 400, "invalid_request"),
        (embedding_line("x", model="nobody"), 404, "model_not_found"),
        (embedding_line("x", body={"model": "echo", "input": "x", "dimensions": 3}), 400, "unsupported_parameter"),
        (embedding_line("x", body={"model": "echo", "input": "x", "trim": {}}), 400, "unsupported_parameter"),
        (embedding_line("x", body={"model": "echo", "input": "x", "quality": 0}), 400, "unsupported_parameter"),
        (embedding_line("x", body={"model": "echo", "input": "x", "cascade": True}), 400, "unsupported_parameter"),
        (
            embedding_line("x", body={"model": "echo", "input": "x", "cache": {"mode": "only"}}),
            400,
            "unsupported_parameter",
        ),
        (embedding_line("a"), 400, "invalid_request"),
    ],
)
def test_a_bad_line_goes_to_the_error_file(bad: Any, status: int, code: str) -> None:
    """And fails none of the rest; the last case repeats a custom_id, which runs once."""
    road = FilesRoad(two_models())
    road.begin(embedding_line("a"), bad, embedding_line("b"))
    road.run()
    assert road.batch.status is FileBatchStatus.COMPLETED
    assert (road.batch.completed, road.batch.failed) == (2, 1)
    (said,) = road.lines(road.batch.error_file_id)
    assert said["response"]["status_code"] == status
    assert said["response"]["body"]["error"]["code"] == code
    assert said["tollgate"]["line"] == 2


def test_a_wish_that_a_batch_meets_anyway_is_no_fault() -> None:
    """Nothing of it is read from the cache, and nobody asked for a second model."""
    road = FilesRoad(two_models())
    wishes = {"cache": {"mode": "bypass"}, "cascade": False, "quality": None, "conversation_id": "c", "trim": None}
    road.begin(embedding_line("a", body={"model": "echo", "input": "x", **wishes}))
    road.run()
    assert (road.batch.completed, road.batch.failed) == (1, 0)


@pytest.mark.parametrize("prompt", ["x" * 8_000_000, [0] * 400_001, [[]] * 200_001])
def test_a_line_that_would_fill_the_memory_is_refused_unread(prompt: Any) -> None:
    """The function that cuts files works for many tenants at a time."""
    line = {"custom_id": "one", "method": "POST", "url": "/v1/completions", "body": {"prompt": prompt}}
    with pytest.raises(BatchLineError, match="A line may have at most"):
        batch_line(json.dumps(line).encode(), "/v1/completions")


def test_a_file_may_name_a_model_that_was_just_applied() -> None:
    """It is cut by the catalogue in force, not by a copy that is some seconds old."""
    road = FilesRoad(two_models())
    road.catalogues.held = replace(two_models(), models={})
    road.begin(embedding_line("a"))
    road.run()
    assert (road.batch.completed, road.batch.failed) == (1, 0)


@pytest.mark.parametrize(("wanted", "kept"), [(None, 30 * 86_400), (3_600, 3_600), (90 * 86_400, 30 * 86_400)])
def test_results_are_kept_as_long_as_is_wanted(wanted: int | None, kept: int) -> None:
    """And never longer than the bucket keeps them; the failures' file as well."""
    road = FilesRoad(two_models())
    batch = road.begin(embedding_line("a", "x"), b"not json")
    road.file_batches.batches["batch_1"] = replace(batch, output_seconds=wanted)
    road.run()
    for file_id in (road.batch.output_file_id, road.batch.error_file_id):
        file = road.files.get(file_id or "")
        assert file is not None
        assert (file.expires_at - file.created_at).total_seconds() == kept


def test_a_record_that_breaks_its_file_is_isolated() -> None:
    """Its neighbours are run again one by one and answered; it alone has failed."""
    road = FilesRoad(two_models(per_file=4))
    road.begin(*[embedding_line(str(n), f"text {n}") for n in range(6)])
    road.run(bad={"text 1"})
    assert (road.batch.completed, road.batch.failed) == (5, 1)
    (said,) = road.lines(road.batch.error_file_id)
    assert (said["custom_id"], said["response"]["status_code"]) == ("1", 502)
    assert len(road.lines(road.batch.output_file_id)) == 5


@pytest.mark.parametrize(
    ("lines", "code"),
    [((), "empty_file"), ([embedding_line("a")] * (MOST_LINES + 1), "too_many_requests")],
    ids=["empty", "too many"],
)
def test_a_file_that_cannot_be_run_fails_its_batch(lines: Any, code: str) -> None:
    """With the reason, and nothing was started."""
    road = FilesRoad(two_models())
    road.begin(*lines)
    road.run(rounds=1)
    assert road.batch.status is FileBatchStatus.FAILED
    assert [fault.code for fault in road.batch.faults] == [code]
    assert not road.backend.started


def test_a_deleted_file_fails_its_batch() -> None:
    """It was there when the batch was made."""
    road = FilesRoad(two_models())
    road.begin(embedding_line("a"))
    road.files.delete("file-1")
    road.run(rounds=1)
    assert [fault.code for fault in road.batch.faults] == ["input_file_missing"]


def test_lines_that_are_all_bad_make_a_batch_of_errors() -> None:
    """It completes, with an error file only."""
    road = FilesRoad(two_models())
    road.begin(b"{", b"[]")
    road.run()
    assert road.batch.status is FileBatchStatus.COMPLETED
    assert road.batch.output_file_id is None
    assert len(road.lines(road.batch.error_file_id)) == 2


def test_a_refused_transform_job_fails_its_lines_only() -> None:
    """Those of the other model are answered."""
    road = FilesRoad(two_models())
    road.begin(embedding_line("a"), embedding_line("b", model="other"))
    road.backend.errors = [BackendError("no such model")]
    road.run()
    assert (road.batch.completed, road.batch.failed) == (1, 1)
    (said,) = road.lines(road.batch.error_file_id)
    assert said["response"]["body"]["error"]["code"] == "backend_error"


def test_a_budget_admits_what_it_has_enough_for() -> None:
    """The first lines run, the others are refused as over quota, and the ledger holds what was really spent."""
    road = FilesRoad(two_models(budget="0.0002", per_file=1))
    road.begin(*[embedding_line(str(n)) for n in range(8)])
    road.run()
    batch = road.batch
    assert batch.status is FileBatchStatus.COMPLETED
    assert batch.completed > 0
    assert batch.failed > 0
    assert batch.total == 8
    codes = {line["response"]["body"]["error"]["code"] for line in road.lines(batch.error_file_id)}
    assert codes == {"insufficient_quota"}
    answered = [int(line["custom_id"]) for line in road.lines(batch.output_file_id)]
    assert answered == list(range(batch.completed))
    _spent_is_settled(road.file_batches.ledger)


def _spent_is_settled(ledger: InMemoryLedger) -> None:
    counters = ledger.read(list(ledger.counters))
    assert counters
    for counter in counters.values():
        assert counter.held == 0
        assert counter.spent > 0


def test_a_budget_with_nothing_left_refuses_every_line() -> None:
    """Nothing is started and nothing is charged."""
    road = FilesRoad(two_models(budget="0.0000001"))
    road.begin(embedding_line("a"), embedding_line("b"))
    road.run()
    assert (road.batch.completed, road.batch.failed) == (0, 2)
    assert not road.backend.started


def test_a_change_by_others_is_not_overwritten() -> None:
    """The message comes back and is tried on what is there then."""
    road = FilesRoad(two_models())
    road.begin(embedding_line("a"))
    stale = road.batch
    road.cancel()
    with pytest.raises(ConflictError):
        written(road.file_batches, replace(stale, cut=True))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_nothing_is_lost_or_charged_twice_whatever_dies(data: st.DataObject) -> None:
    """A process dies after any of its effects, any number of times; every line comes back once, settled once."""
    road = FilesRoad(two_models(budget="10", per_file=2))
    bad = {"text 3"} if data.draw(st.booleans(), "a bad line") else frozenset[str]()
    names = [str(n) for n in range(5)]
    lines: list[Any] = [embedding_line(n, f"text {n}", "other" if n == "4" else "echo") for n in names]
    road.begin(*lines, b"{")
    cancels = data.draw(st.booleans(), "cancelled")
    for round_ in range(data.draw(st.integers(1, 8), "crashes")):
        road.clock.advance(400)
        point = CrashPoint(data.draw(st.integers(1, 12), "dies after"), before=data.draw(st.booleans(), "before"))
        try:
            if data.draw(st.booleans(), "runner dies"):
                road.file_batch_runner(point).advance("batch_1")
            for name, status in list(road.backend.statuses.items()):
                if not status.ended:
                    road.transform(name, bad=bad)
                road.collect(name, point)
        except (CrashError, TollgateError):
            pass
        if cancels and round_ == 2 and road.batch.status in {FileBatchStatus.VALIDATING, FileBatchStatus.IN_PROGRESS}:
            road.cancel()
    road.run(bad=bad)
    batch = road.batch
    assert batch.status in {FileBatchStatus.COMPLETED, FileBatchStatus.CANCELLED}
    if batch.cut:
        found = [
            line["custom_id"]
            for file_id in (batch.output_file_id, batch.error_file_id)
            if file_id is not None
            for line in road.lines(file_id)
        ]
        assert sorted(found, key=str) == sorted([*names, None], key=str)
        assert batch.completed + batch.failed == batch.total == 6
    for counter in road.file_batches.ledger.read(list(road.file_batches.ledger.counters)).values():
        assert counter.held == 0
        assert batch.effective_cost is not None
        assert abs(counter.spent - batch.effective_cost) < Decimal("0.0000001")


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_bucket_that_fails_during_the_cut_fails_no_line(call: int) -> None:
    """The cut is tried again; no line gets the blame, and none gets lost between its file and the errors."""
    road = FilesRoad(two_models(per_file=1))
    road.begin(*(embedding_line(name) for name in "abc"))
    put, calls = road.objects.put_lines, itertools.count(1)

    def fails_once(key: str, lines: Iterable[bytes], **named: Any) -> None:
        if next(calls) == call:
            raise StorageError(key)
        put(key, lines, **named)

    road.objects.put_lines = fails_once  # type: ignore[method-assign]  # see above
    with pytest.raises(StorageError):
        road.file_batch_runner().advance("batch_1")
    road.run()
    assert (road.batch.completed, road.batch.failed) == (3, 0)
    assert {line["custom_id"] for line in road.lines(road.batch.output_file_id)} == set("abc")
