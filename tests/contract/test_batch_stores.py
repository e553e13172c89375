"""Batch runs and leases: the same promises in memory and on DynamoDB."""

from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.contract.moto_stores import JOBS_TABLE, LEDGER_TABLE, LocalAws
from tests.fakes.batches import InMemoryBatchStore
from tests.fakes.ledger import InMemoryLedger
from tollgate.adapters.dynamodb.jobs.batches import DynamoDBBatchStore
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.jobs.settled import SettledJobs
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.domain.budgets.ledger import Hold, Reservation, reserve
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.usage import Dimensions
from tollgate.domain.errors import LedgerRefusedError
from tollgate.domain.jobs.batches import BatchRun, BatchState, FileCount
from tollgate.domain.jobs.job import Bill
from tollgate.ports.jobs import BatchStore

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_RUN = BatchRun(
    batch_id="tollgate-1",
    resource="echo/small",
    records=3,
    attempt=1,
    created_at=_NOW,
    state=BatchState.PREPARING,
)

_RESERVATION = Reservation("h29384640", Decimal("0.5"), (Hold("gateway#total#always", Decimal(1)),))
_COUNT = FileCount(
    bill=Bill(_NOW + timedelta(hours=1), Decimal("0.25"), Decimal("0.2"), {AvoidedReason.BATCH: Decimal("-0.1")}),
    requests=3,
    errors=1,
    input_tokens=7,
    output_tokens=0,
    effective=Decimal("0.25"),
    held_seconds=Decimal("1.5"),
)


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> BatchStore:
    if request.param == "memory":
        return InMemoryBatchStore(InMemoryLedger())
    local: LocalAws = request.getfixturevalue("aws")
    return DynamoDBBatchStore(local.dynamodb, JOBS_TABLE, DynamoDBLedger(local.dynamodb, LEDGER_TABLE))


def test_a_run_comes_back_as_it_was_stored(store: BatchStore) -> None:
    """With everything set, and with nothing optional set."""
    full = replace(
        _RUN,
        batch_id="tollgate-2",
        source="batch-input/echo/ä +.jsonl",
        job_ids_key="transform-input/ids",
        parent="tollgate-1",
        prior_seconds=Decimal("0.000001"),
        per_file=7,
        traceparent="00-a-b-01",
        reservation=_RESERVATION,
        count=_COUNT,
    )
    for run in (_RUN, full):
        assert store.add(run)
        assert store.get(run.batch_id) == run
    assert store.get("tollgate-3") is None


def test_a_run_is_added_once(store: BatchStore) -> None:
    """The second one is refused and the first stays."""
    assert store.add(_RUN)
    assert not store.add(replace(_RUN, records=9))
    assert store.get(_RUN.batch_id) == _RUN


def test_a_run_moves_on_from_the_expected_state_only(store: BatchStore) -> None:
    """Of two that do the same step, one succeeds."""
    store.add(_RUN)
    running = replace(_RUN, state=BatchState.RUNNING)
    assert store.change(running, expected=BatchState.PREPARING)
    assert not store.change(running, expected=BatchState.PREPARING)
    assert not store.change(replace(running, batch_id="tollgate-9"), expected=BatchState.PREPARING)
    assert store.get(_RUN.batch_id) == running


def test_runs_that_have_not_ended_are_found_oldest_first(store: BatchStore) -> None:
    """Ended and recent ones are left out."""
    for number in (2, 1, 3):
        store.add(replace(_RUN, batch_id=f"tollgate-{number}", created_at=_NOW + timedelta(seconds=number)))
    store.change(
        replace(_RUN, batch_id="tollgate-1", state=BatchState.ENDED, created_at=_NOW), expected=BatchState.PREPARING
    )
    found = store.open_since(_NOW + timedelta(seconds=3), limit=9)
    assert [run.batch_id for run in found] == ["tollgate-2"]


def test_a_lease_has_one_holder_at_a_time(store: BatchStore) -> None:
    """It can be renewed by its holder, given back by its holder only, and taken over when it has run out."""
    until = _NOW + timedelta(seconds=60)
    assert store.lease("dispatch", holder="a", now=_NOW, until=until)
    assert not store.lease("dispatch", holder="b", now=_NOW, until=until)
    assert store.lease("dispatch", holder="a", now=_NOW, until=until)
    store.release("dispatch", holder="b")
    assert not store.lease("dispatch", holder="b", now=_NOW, until=until)
    assert store.lease("dispatch", holder="b", now=until, until=until + timedelta(seconds=60))
    store.release("dispatch", holder="b")
    assert store.lease("dispatch", holder="c", now=_NOW, until=until)
    assert store.lease("other", holder="a", now=_NOW, until=until)


def test_a_run_is_not_a_job(aws: LocalAws) -> None:
    """Both share a table; neither is taken for the other, whatever id a caller asks for."""
    runs = DynamoDBBatchStore(aws.dynamodb, JOBS_TABLE)
    runs.add(_RUN)
    runs.lease("x", holder="a", now=_NOW, until=_NOW)
    jobs = DynamoDBJobStore(aws.dynamodb, JOBS_TABLE)
    assert jobs.get(_RUN.batch_id) is None
    assert jobs.get("lease#x") is None
    assert list(jobs.get_many([_RUN.batch_id, "lease#x"])) == []
    assert runs.get("lease#x") is None


def test_a_reservation_is_taken_once_and_never_lost(store: BatchStore) -> None:
    """Of two that hold money for the same run one goes through; who read the run before cannot drop it."""
    held = replace(_RUN, reservation=_RESERVATION)
    charge = reserve(_RESERVATION, _RESERVATION.holds[0])
    assert store.add(_RUN)
    assert store.change(held, expected=BatchState.PREPARING, charges=(charge,), reserving=True)
    assert not store.change(held, expected=BatchState.PREPARING, charges=(charge,), reserving=True)
    assert not store.change(replace(_RUN, state=BatchState.RUNNING), expected=BatchState.PREPARING)
    assert store.get(_RUN.batch_id) == held
    assert store.change(replace(held, state=BatchState.RUNNING), expected=BatchState.PREPARING)


def test_a_ledger_that_refuses_leaves_the_run_as_it_was(store: BatchStore) -> None:
    """Both are written or none."""
    full = _RESERVATION._replace(amount=Decimal(2))
    charge = reserve(full, full.holds[0])
    assert store.add(_RUN)
    with pytest.raises(LedgerRefusedError):
        store.change(replace(_RUN, reservation=full), expected=BatchState.PREPARING, charges=(charge,), reserving=True)
    assert store.get(_RUN.batch_id) == _RUN


@pytest.mark.parametrize("unknown", [False, True])
def test_a_counted_file_is_a_record_of_usage(aws: LocalAws, unknown: bool) -> None:
    """With what it cost, as long as that is known; it belongs to no key."""
    count = replace(_COUNT, effective=None, held_seconds=None) if unknown else _COUNT
    ended = replace(_RUN, state=BatchState.ENDED, count=count)
    assert DynamoDBBatchStore(aws.dynamodb, JOBS_TABLE).add(ended)
    moment = count.bill.settled_at
    (record,) = SettledJobs(aws.dynamodb, JOBS_TABLE).between(moment, moment + timedelta(minutes=5))
    assert record.dimensions == Dimensions("", "", "", "echo", "batch", "small", "")
    assert (record.requests, record.errors, record.effective) == (3, 1, count.effective)
    assert (record.charged, record.avoided) == (Decimal("0.25"), count.bill.avoided)
