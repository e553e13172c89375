"""Batches of files are in usage, budgets and the export, to the last decimal place, whatever dies on the way."""

import json
from collections.abc import Sequence
from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tests.fakes.batch_road import BatchRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import OWNER, make_catalogue
from tollgate.adapters.dynamodb.jobs.settled import part_record
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import BatchPolicy, Catalogue
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.focus import FocusAccount, focus_jobs
from tollgate.domain.costs.usage import roll_up, sum_of
from tollgate.domain.errors import TollgateError
from tollgate.domain.jobs.batches import BatchState, FileCount
from tollgate.domain.jobs.file_batches import (
    COMPLETION_WINDOW,
    CountedPart,
    FileBatch,
    FileBatchStatus,
    FilePurpose,
    StoredFile,
)
from tollgate.domain.jobs.job import Bill

_EMBED = "/v1/embeddings"
_ACCOUNT = FocusAccount("123456789012", "us-east-1", "tollgate")
_TOTAL = "gateway#total#always"
_NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def _catalogue(limit: str | None = None, *, priced: bool = True) -> Catalogue:
    catalogue = make_catalogue(batch=BatchPolicy(records_per_file=2))
    echo = catalogue.model("echo")
    (deployment,) = echo.deployments
    if not priced:
        roads = {kind: replace(road, usd_per_hour=None) for kind, road in deployment.roads.items()}
        deployment = replace(deployment, roads=roads)
        echo = replace(echo, deployments=(deployment,))
    other = replace(echo, name="other", deployments=(replace(deployment, model="other"),))
    budgets = () if limit is None else (Budget(ScopeKind.GATEWAY, "", BudgetPeriod.TOTAL, Decimal(limit)),)
    return replace(catalogue, models={"echo": echo, "other": other}, budgets=budgets)


def _road(limit: str | None = None) -> BatchRoad:
    """Two models, and a budget for everything if asked for."""
    return BatchRoad(_catalogue(limit))


def _line(name: str, model: str = "echo") -> bytes:
    body = {"model": model, "input": f"text {name}"}
    return json.dumps({"custom_id": name, "method": "POST", "url": _EMBED, "body": body}).encode()


def _begin(road: BatchRoad, name: str, lines: Sequence[bytes]) -> None:
    now = road.clock.now()
    file = StoredFile(f"file-{name}", OWNER, "in.jsonl", FilePurpose.BATCH, 1, now, now + 30 * COMPLETION_WINDOW)
    road.objects.put_lines(file.key, lines)
    road.files.add(file)
    road.file_batches.add(FileBatch(f"batch_{name}", OWNER, _EMBED, file.file_id, now, now + COMPLETION_WINDOW))


def _transform(road: BatchRoad, name: str, bad: str, seconds: float) -> None:
    """A transform job that fails on every input file with the bad text in it."""
    job, began, failed = road.backend.started[name], road.clock.now(), False
    road.clock.advance(seconds)
    for key in list(road.objects.list_keys(job.input_prefix)):
        records = [json.loads(line) for line in road.objects.lines(key) or ()]
        if any(bad in record["body"]["inputs"] for record in records):
            failed = True
            continue
        out = [json.dumps({"id": r["id"], "SageMakerOutput": [[1.0] for _ in r["body"]["inputs"]]}) for r in records]
        answered = job.output_prefix + key.removeprefix(job.input_prefix) + ".out"
        road.objects.put_lines(answered, [line.encode() for line in out])
    road.backend.end(name, "Failed" if failed else "Completed", reason="bad" if failed else None, began=began)


def _round(
    road: BatchRoad, name: str, *, bad: str = "none", seconds: float = 60, point: CrashPoint | None = None
) -> None:
    """Everything that can go on does, as far as the process lives."""
    road.clock.advance(400)
    try:
        road.file_batch_runner(point).advance(f"batch_{name}")
        for run in road.batches.open_since(road.clock.now(), limit=100):
            if run.state is BatchState.PREPARING:
                road.drops(point).prepare(run)
        collector = road.collector(point)
        for job, status in list(road.backend.statuses.items()):
            if not status.ended and job in road.backend.stopped:
                road.backend.end(job, "Stopped", began=road.clock.now() - timedelta(seconds=7))
            elif not status.ended:
                _transform(road, job, bad, seconds)
            collector.ended(road.backend.statuses[job])
    except (CrashError, TollgateError):
        if point is None:
            raise


def _cancel(road: BatchRoad, name: str) -> None:
    batch = road.file_batches.batches[f"batch_{name}"]
    if batch.status in {FileBatchStatus.VALIDATING, FileBatchStatus.IN_PROGRESS}:
        road.file_batches.change(batch.at(FileBatchStatus.CANCELLING, road.clock.now()))


def _mixture(road: BatchRoad, random: Random, batches: int) -> None:
    """Batches of every kind, in processes that die."""
    for number in range(batches):
        name = f"{number:03d}"
        texts = [_line(str(n), random.choice(["echo", "other", "nobody"])) for n in range(random.randrange(1, 9))]
        _begin(road, name, [*texts, b"{"])
        bad = f"text {random.randrange(8)}"
        cancelled = random.randrange(8)
        for turn in range(14):
            if cancelled == turn:
                _cancel(road, name)
            dies = random.random() < 0.5 and turn < 6
            point = CrashPoint(random.randrange(1, 9), before=random.random() < 0.5) if dies else None
            seconds = random.randrange(1, 9_000_000) / 1e5
            _round(road, name, bad=bad, seconds=seconds, point=point)


@pytest.mark.parametrize("limit", [None, "1000", "0.1"])
def test_records_roll_ups_budgets_export_and_batches_agree(limit: str | None) -> None:
    """A hundred batches with good, bad, cancelled and refused lines: one sum, wherever it is asked for."""
    road = _road(limit)
    _mixture(road, Random(11), 100)  # noqa: S311 -- the same mixture in every run
    batches = list(road.file_batches.batches.values())
    assert {batch.status for batch in batches} == {FileBatchStatus.COMPLETED, FileBatchStatus.CANCELLED}
    shown = sum((batch.effective_cost or Decimal(0) for batch in batches), Decimal(0))
    parts = list(road.file_batches.counted.values())
    records = [part_record(part) for part in parts]
    totals = sum_of(roll_up([*records, *records], _NOON))
    day = focus_jobs(parts, _ACCOUNT)
    assert shown > 0
    assert totals.effective == totals.charged == shown
    assert (day.total, day.unknown) == (shown, ())
    assert sum((Decimal(row["EffectiveCost"]) for row in day.rows), Decimal(0)) == shown
    avoided = sum((batch.avoided_cost or Decimal(0) for batch in batches), Decimal(0))
    assert totals.avoided_total == avoided
    assert totals.requests == sum(part.count.requests for part in parts)
    answered = sum(batch.completed for batch in batches)
    assert answered < totals.requests <= sum(batch.total for batch in batches)
    assert 0 < totals.errors <= totals.requests - answered
    if limit is not None:
        counter = road.file_batches.ledger.counters[_TOTAL]
        assert counter.held == 0
        assert counter.spent + counter.overrun == shown
        assert counter.spent <= Decimal(limit)


def test_lines_that_never_ran_are_no_requests() -> None:
    """The budget had nothing for them, so nothing is counted."""
    road = _road("0.0000001")
    _begin(road, "1", [_line("a"), _line("b")])
    for _ in range(6):
        _round(road, "1")
    assert road.file_batches.batches["batch_1"].failed == 2
    assert road.file_batches.counted == {}


def test_a_part_is_counted_for_its_owner_and_deployment() -> None:
    """Without any budget too; cancelled lines are requests, but no errors."""
    road = _road()
    _begin(road, "1", [_line("a"), _line("b", "other"), _line("c")])
    _round(road, "1")
    _begin(road, "2", [_line("d")])
    road.file_batch_runner().advance("batch_2")
    _cancel(road, "2")
    for name in ("1", "2"):
        for _ in range(6):
            _round(road, name)
    records = [part_record(part) for part in road.file_batches.counted.values()]
    found = sorted((*r.dimensions[:6], r.requests, r.errors) for r in records)
    mine = (OWNER.tenant, OWNER.key_id, OWNER.team)
    assert found == [
        (*mine, "echo", "batch", "small", 1, 0),
        (*mine, "echo", "batch", "small", 2, 0),
        (*mine, "other", "batch", "small", 1, 0),
    ]
    assert road.file_batches.batches["batch_2"].status is FileBatchStatus.CANCELLED


def test_a_part_without_a_price_is_charged_as_it_was_held() -> None:
    """The price went while it ran: budget and usage have what was held, and the cost is unknown."""
    road = _road("10")
    _begin(road, "1", [_line("a"), _line("b")])
    road.file_batch_runner().advance("batch_1")
    held = road.file_batches.ledger.counters[_TOTAL].held
    road.catalogues.catalogue = _catalogue("10", priced=False)
    for _ in range(6):
        _round(road, "1")
    (part,) = road.file_batches.counted.values()
    totals = sum_of(roll_up([part_record(part)], _NOON))
    assert 0 < held == totals.charged == road.file_batches.ledger.counters[_TOTAL].spent
    assert (totals.effective, totals.unknown_costs, totals.avoided_total) == (Decimal(0), 2, Decimal(0))


def test_tokens_that_nobody_told_are_unknown() -> None:
    """A container of embeddings tells none; they are counted as unknown, never as 0 tokens known."""
    road = _road()
    _begin(road, "1", [_line("a"), _line("b")])
    for _ in range(6):
        _round(road, "1")
    (part,) = road.file_batches.counted.values()
    totals = sum_of(roll_up([part_record(part)], _NOON))
    assert (totals.requests, totals.unknown_tokens, totals.input_tokens) == (2, 2, 0)


def make_part(**changes: Any) -> CountedPart:
    """Three lines, one of them failed."""
    bill = Bill(_NOON, Decimal("0.25"), Decimal("0.2"), {AvoidedReason.BATCH: Decimal("0.5")})
    count = FileCount(bill, 3, 1, 10, 20, Decimal("0.25"), Decimal("1.5"))
    values: dict[str, Any] = {
        "run_id": "run-1",
        "batch_id": "batch_1",
        "owner": OWNER,
        "resource": "echo/small",
        "status": FileBatchStatus.COMPLETED,
        "estimate": Decimal("0.3"),
        "count": count,
    }
    return CountedPart(**values | changes)


def test_a_part_is_one_row_of_the_export() -> None:
    """With its lines as the quantity; a part of unknown cost has none, and is named."""
    part = make_part()
    unknown = make_part(run_id="run-2", count=replace(part.count, effective=None))
    day = focus_jobs([unknown, part], _ACCOUNT)
    (row,) = day.rows
    assert (row["EffectiveCost"], row["PricingQuantity"], row["ListUnitPrice"]) == ("0.25", "3", "0.083333333333")
    assert (row["x_Requests"], row["x_Errors"], row["x_AvoidedCost"]) == ("3", "1", "0.5")
    assert (row["x_Tenant"], row["x_KeyId"], row["x_RequestId"]) == (OWNER.tenant, OWNER.key_id, "run-1")
    assert (row["ChargePeriodStart"], row["x_State"]) == ("2026-03-01T12:00:00Z", "completed")
    assert day.unknown == ("run-2",)
