"""A batch of lines comes back in two files, every line once, whatever dies on the way."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.batch_road import BatchRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.ledger import InMemoryLedger
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import BatchPolicy, Catalogue
from tollgate.domain.errors import BackendError, ConflictError, TollgateError
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.file_batches import (
    COMPLETION_WINDOW,
    MOST_LINES,
    BatchLineError,
    FileBatch,
    FileBatchStatus,
    FilePurpose,
    StoredFile,
    batch_line,
)

_EMBED = "/v1/embeddings"


def _catalogue(*, budget: str | None = None, per_file: int = 2) -> Catalogue:
    """Two models, `echo` and `other`, which answer whatever they are asked."""
    catalogue = make_catalogue(batch=BatchPolicy(records_per_file=per_file))
    echo = catalogue.model("echo")
    (deployment,) = echo.deployments
    other = replace(echo, name="other", deployments=(replace(deployment, model="other"),))
    budgets = () if budget is None else (Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal(budget)),)
    return replace(catalogue, models={"echo": echo, "other": other}, budgets=budgets)


class _Road(BatchRoad):
    """The batch road with batches of embeddings on it; a container answers one number for each text."""

    def begin(self, *lines: Any, endpoint: str = _EMBED) -> FileBatch:
        now = self.clock.now()
        raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        file = StoredFile("file-1", OWNER, "in.jsonl", FilePurpose.BATCH, 1, now, now + COMPLETION_WINDOW * 30)
        self.objects.put_lines(file.key, raw)
        self.files.add(file)
        batch = FileBatch("batch_1", OWNER, endpoint, file.file_id, now, now + COMPLETION_WINDOW)
        self.file_batches.add(batch)
        return batch

    @property
    def batch(self) -> FileBatch:
        return self.file_batches.batches["batch_1"]

    def transform(self, name: str, *, bad: set[str] | frozenset[str] = frozenset(), seconds: float = 60) -> None:
        """As SageMaker does: a file with one bad record has no output at all."""
        job = self.backend.started[name]
        began = self.clock.now()
        self.clock.advance(seconds)
        failed = False
        for key in list(self.objects.list_keys(job.input_prefix)):
            records = [json.loads(line) for line in self.objects.lines(key) or ()]
            if any(set(record["body"]["inputs"]) & bad for record in records):
                failed = True
                continue
            answers = [
                {"id": r["id"], "SageMakerOutput": [[float(len(text))] for text in r["body"]["inputs"]]}
                for r in records
            ]
            out = job.output_prefix + key.removeprefix(job.input_prefix) + ".out"
            self.objects.put_lines(out, [json.dumps(answer).encode() for answer in answers])
        self.backend.end(name, "Failed" if failed else "Completed", reason="bad" if failed else None, began=began)

    def run(self, *, bad: set[str] | frozenset[str] = frozenset(), rounds: int = 12) -> None:
        """Let time pass until nothing is left to do: messages, transform jobs, events, and the sweeper's looks."""
        for _ in range(rounds):
            self.clock.advance(400)
            self.file_batch_runner().advance("batch_1")
            for run in self.batches.open_since(self.clock.now(), limit=100):
                if run.state is BatchState.PREPARING:
                    self.drops().prepare(run)
            for name in self.backend.stopped:
                if not self.backend.statuses[name].ended:
                    self.backend.end(name, "Stopped", began=self.clock.now())
            for name, status in list(self.backend.statuses.items()):
                if not status.ended:
                    self.transform(name, bad=bad)
                self.collect(name)

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        assert file_id is not None
        return [json.loads(line) for line in self.objects.lines(f"files/{file_id}") or ()]


def _line(name: str, text: str = "abc", model: str = "echo", **changes: Any) -> dict[str, Any]:
    body = {"model": model, "input": text}
    return {"custom_id": name, "method": "POST", "url": _EMBED, "body": body} | changes


def test_two_models_in_one_file_come_back_in_one() -> None:
    """One transform job for each model; answers in OpenAI's form, each with its price."""
    road = _Road(_catalogue())
    road.begin(_line("a", "x"), _line("b", "xx", "other"), _line("c", "xxx"))
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
        (_line("x", url="/v1/responses"), 400, "invalid_request"),
        (_line("x", method="GET"), 400, "invalid_request"),
        (_line("x", body={"model": "echo"}), 400, "invalid_request"),
        (_line("x", body={"model": "echo", "input": "x", "stream": True}), 400, "invalid_request"),
        (_line("x", model="nobody"), 404, "model_not_found"),
        (_line("x", body={"model": "echo", "input": "x", "dimensions": 3}), 400, "unsupported_parameter"),
        (_line("a"), 400, "invalid_request"),
    ],
)
def test_a_bad_line_goes_to_the_error_file(bad: Any, status: int, code: str) -> None:
    """And fails none of the rest; the last case repeats a custom_id, which runs once."""
    road = _Road(_catalogue())
    road.begin(_line("a"), bad, _line("b"))
    road.run()
    assert road.batch.status is FileBatchStatus.COMPLETED
    assert (road.batch.completed, road.batch.failed) == (2, 1)
    (said,) = road.lines(road.batch.error_file_id)
    assert said["response"]["status_code"] == status
    assert said["response"]["body"]["error"]["code"] == code
    assert said["tollgate"]["line"] == 2


@pytest.mark.parametrize("prompt", ["x" * 8_000_000, [0] * 400_001, [[]] * 200_001])
def test_a_line_that_would_fill_the_memory_is_refused_unread(prompt: Any) -> None:
    """The function that cuts files works for many tenants at a time."""
    line = {"custom_id": "one", "method": "POST", "url": "/v1/completions", "body": {"prompt": prompt}}
    with pytest.raises(BatchLineError, match="A line may have at most"):
        batch_line(json.dumps(line).encode(), "/v1/completions")


def test_a_file_may_name_a_model_that_was_just_applied() -> None:
    """It is cut by the catalogue in force, not by a copy that is some seconds old."""
    road = _Road(_catalogue())
    road.catalogues.held = replace(_catalogue(), models={})
    road.begin(_line("a"))
    road.run()
    assert (road.batch.completed, road.batch.failed) == (1, 0)


@pytest.mark.parametrize(("wanted", "kept"), [(None, 30 * 86_400), (3_600, 3_600), (90 * 86_400, 30 * 86_400)])
def test_results_are_kept_as_long_as_is_wanted(wanted: int | None, kept: int) -> None:
    """And never longer than the bucket keeps them; the failures' file as well."""
    road = _Road(_catalogue())
    batch = road.begin(_line("a", "x"), b"not json")
    road.file_batches.batches["batch_1"] = replace(batch, output_seconds=wanted)
    road.run()
    for file_id in (road.batch.output_file_id, road.batch.error_file_id):
        file = road.files.get(file_id or "")
        assert file is not None
        assert (file.expires_at - file.created_at).total_seconds() == kept


def test_a_batch_waits_while_spending_is_stopped() -> None:
    """Nothing is held for it or started; its file is checked all the same, and when the brake is off it runs whole."""
    road = _Road(_catalogue(budget="100"))
    road.held_back.add("other/small")
    road.begin(_line("a"), _line("b", "xx", "other"))
    road.run()
    waiting = road.batch
    assert waiting.status is FileBatchStatus.VALIDATING
    assert waiting.cut
    assert road.backend.started == {}
    (counter,) = road.file_batches.ledger.counters.values()
    assert counter.spent == 0
    road.held_back.clear()
    road.run()
    assert road.batch.status is FileBatchStatus.COMPLETED
    assert (road.batch.completed, road.batch.failed) == (2, 0)


def test_a_batch_that_waits_longer_than_its_window_expires() -> None:
    """A stop that lasts too long ends it as any other delay does: every line says so, and nothing was spent."""
    road = _Road(_catalogue(budget="100"))
    road.held_back.add("echo/small")
    road.begin(_line("a"), _line("b"))
    road.run()
    road.clock.advance(COMPLETION_WINDOW.total_seconds())
    road.run()
    assert road.batch.status is FileBatchStatus.EXPIRED
    assert {line["error"]["code"] for line in road.lines(road.batch.error_file_id)} == {"batch_expired"}
    assert road.backend.started == {}
    assert road.file_batches.ledger.counters == {}


def test_a_record_that_breaks_its_file_is_isolated() -> None:
    """Its neighbours are run again one by one and answered; it alone has failed."""
    road = _Road(_catalogue(per_file=4))
    road.begin(*[_line(str(n), f"text {n}") for n in range(6)])
    road.run(bad={"text 1"})
    assert (road.batch.completed, road.batch.failed) == (5, 1)
    (said,) = road.lines(road.batch.error_file_id)
    assert (said["custom_id"], said["response"]["status_code"]) == ("1", 502)
    assert len(road.lines(road.batch.output_file_id)) == 5


@pytest.mark.parametrize(
    ("lines", "code"),
    [((), "empty_file"), ([_line("a")] * (MOST_LINES + 1), "too_many_requests")],
    ids=["empty", "too many"],
)
def test_a_file_that_cannot_be_run_fails_its_batch(lines: Any, code: str) -> None:
    """With the reason, and nothing was started."""
    road = _Road(_catalogue())
    road.begin(*lines)
    road.run(rounds=1)
    assert road.batch.status is FileBatchStatus.FAILED
    assert [fault.code for fault in road.batch.faults] == [code]
    assert not road.backend.started


def test_a_deleted_file_fails_its_batch() -> None:
    """It was there when the batch was made."""
    road = _Road(_catalogue())
    road.begin(_line("a"))
    road.files.delete("file-1")
    road.run(rounds=1)
    assert [fault.code for fault in road.batch.faults] == ["input_file_missing"]


def test_lines_that_are_all_bad_make_a_batch_of_errors() -> None:
    """It completes, with an error file only."""
    road = _Road(_catalogue())
    road.begin(b"{", b"[]")
    road.run()
    assert road.batch.status is FileBatchStatus.COMPLETED
    assert road.batch.output_file_id is None
    assert len(road.lines(road.batch.error_file_id)) == 2


def _cancel(road: _Road) -> None:
    road.file_batches.change(road.batch.at(FileBatchStatus.CANCELLING, road.clock.now()))


def test_a_cancelled_batch_keeps_what_was_done() -> None:
    """The part that had ended is in the output file; the lines of the other are in the error file."""
    road = _Road(_catalogue())
    road.begin(_line("a"), _line("b", model="other"))
    road.file_batch_runner().advance("batch_1")
    first, second = road.backend.started
    road.transform(first)
    road.collect(first)
    _cancel(road)
    road.run()
    assert road.backend.stopped[0] == second
    assert road.batch.status is FileBatchStatus.CANCELLED
    assert [line["custom_id"] for line in road.lines(road.batch.output_file_id)] == ["a"]
    (undone,) = road.lines(road.batch.error_file_id)
    assert (undone["custom_id"], undone["error"]["code"], undone["response"]) == ("b", "batch_cancelled", None)


def test_a_batch_that_is_cancelled_before_it_began_starts_nothing() -> None:
    """Not even its file is read."""
    road = _Road(_catalogue())
    road.begin(_line("a"))
    _cancel(road)
    road.run(rounds=1)
    assert road.batch.status is FileBatchStatus.CANCELLED
    assert not road.backend.started


def test_a_batch_expires_after_its_window() -> None:
    """The job is stopped, and every line says why it has no answer."""
    road = _Road(_catalogue())
    road.begin(_line("a"), _line("b"))
    road.file_batch_runner().advance("batch_1")
    road.clock.advance(COMPLETION_WINDOW.total_seconds() + 1)
    road.file_batch_runner().advance("batch_1")
    road.run()
    assert road.batch.status is FileBatchStatus.EXPIRED
    assert {line["error"]["code"] for line in road.lines(road.batch.error_file_id)} == {"batch_expired"}


def test_a_refused_transform_job_fails_its_lines_only() -> None:
    """Those of the other model are answered."""
    road = _Road(_catalogue())
    road.begin(_line("a"), _line("b", model="other"))
    road.backend.errors = [BackendError("no such model")]
    road.run()
    assert (road.batch.completed, road.batch.failed) == (1, 1)
    (said,) = road.lines(road.batch.error_file_id)
    assert said["response"]["body"]["error"]["code"] == "backend_error"


def test_a_budget_admits_what_it_has_enough_for() -> None:
    """The first lines run, the others are refused as over quota, and the ledger holds what was really spent."""
    road = _Road(_catalogue(budget="0.0002", per_file=1))
    road.begin(*[_line(str(n)) for n in range(8)])
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
    road = _Road(_catalogue(budget="0.0000001"))
    road.begin(_line("a"), _line("b"))
    road.run()
    assert (road.batch.completed, road.batch.failed) == (0, 2)
    assert not road.backend.started


def test_a_change_by_others_is_not_overwritten() -> None:
    """The message comes back and is tried on what is there then."""
    road = _Road(_catalogue())
    road.begin(_line("a"))
    runner = road.file_batch_runner()
    stale = road.batch
    _cancel(road)
    with pytest.raises(ConflictError):
        runner._written(replace(stale, cut=True))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_nothing_is_lost_or_charged_twice_whatever_dies(data: st.DataObject) -> None:
    """A process dies after any of its effects, any number of times; every line comes back once, settled once."""
    road = _Road(_catalogue(budget="10", per_file=2))
    bad = {"text 3"} if data.draw(st.booleans(), "a bad line") else frozenset[str]()
    names = [str(n) for n in range(5)]
    lines: list[Any] = [_line(n, f"text {n}", "other" if n == "4" else "echo") for n in names]
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
            _cancel(road)
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
