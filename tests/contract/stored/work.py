"""Jobs, runs of batches, files and what is kept of them."""

from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.contract.moto_stores import JOBS_TABLE, LEDGER_TABLE, LocalAws
from tests.contract.stored.kind import StoredKind
from tests.fakes.examples import OWNER, make_job
from tests.fakes.messages import BUCKET
from tollgate.adapters.dynamodb.jobs.batches import DynamoDBBatchStore
from tollgate.adapters.dynamodb.jobs.files import DynamoDBFileBatchStore, DynamoDBFileStore
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.jobs.settled import SettledJobs
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.domain.budgets.ledger import Hold, Reservation, WorkflowCall
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.catalogue import InferenceType, Priority
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.jobs.batches import BatchRun, BatchState, FileCount
from tollgate.domain.jobs.file_batches import (
    BatchFault,
    CountedPart,
    FileBatch,
    FileBatchStatus,
    FilePart,
    FilePurpose,
    FileState,
    StoredFile,
)
from tollgate.domain.jobs.job import Bill, Job, JobFailure, JobState, Payload, Usage
from tollgate.services.jobs.kept_work import keep_work, kept_work

_NOW = make_job().created_at
_LATER = _NOW + timedelta(hours=1, microseconds=1)


RESERVATION = Reservation(
    "h29384756",
    Decimal("0.25"),
    (Hold("gateway#day#2026-03-01", Decimal("12.5"), None, 7), Hold("workflow:t/w#total#always", None, 3)),
    2.5,
    WorkflowCall("t", "w", "inf_1", "inf_0", 2, "echo", InferenceType.ASYNC, "queued", _NOW),
)
_BILL = Bill(
    datetime(2026, 3, 1, 12, 31, tzinfo=UTC),
    Decimal("0.1"),
    Decimal("0.05"),
    {AvoidedReason.TIER: Decimal(1)},
    "blue",
)


_MINUTE = (_BILL.settled_at, _BILL.settled_at + timedelta(minutes=1))


def full_job() -> Job:
    """A job with everything that a job can have."""
    return make_job(
        state=JobState.FAILED,
        parameters={"temperature": 0.1, "stop": ["é", None]},
        priority=Priority.LOW,
        deadline_at=_NOW + timedelta(seconds=9),
        metadata={"run": "7"},
        webhook_url="https://example.com/hook",
        webhook_pending=True,
        submit_lease_until=_NOW,
        submitted_at=_NOW + timedelta(microseconds=1),
        started_at=_NOW,
        finished_at=_NOW + timedelta(seconds=2),
        output_location="s3://b/out",
        failure_location="s3://b/err",
        batch_id="tollgate-1",
        input=Payload(key="files/input"),
        output=Payload(inline={"score": 0.30000000000000004, "list": [1, 2.5, False, None]}),
        usage=Usage(3, 0, 2, 0),
        failure=JobFailure("model_failed", ""),
        effective_cost=Decimal("0.000000000001"),
        avoided_cost=Decimal("-0.5"),
        bill=_BILL,
        held_seconds=Decimal("1.250000"),
        earlier_parts=Decimal("0.000000000003"),
        rates_version=7,
        reservation=RESERVATION,
        cache=CacheTicket("k" * 64, 3, 600, 60, 1_800_000_000_000, "private#acme", "ns", reads=False),
    )


def _waiting_job() -> Job:
    return make_job(job_id="inf_2", input=Payload(inline={"text": "ü", "n": 1.5}))


def _write_jobs(aws: LocalAws) -> None:
    store = DynamoDBJobStore(aws.dynamodb, JOBS_TABLE)
    store.add(full_job())
    store.add(_waiting_job())
    store.add_late(replace(full_job(), job_id="inf_3"), ())


def _read_jobs(aws: LocalAws) -> object:
    store, settled = DynamoDBJobStore(aws.dynamodb, JOBS_TABLE), SettledJobs(aws.dynamodb, JOBS_TABLE)
    jobs = store.get_many([full_job().job_id, "inf_2"])
    opened = store.open_since(_LATER, limit=9).jobs
    return (
        list(jobs),
        list(opened),
        list(settled.jobs_between(_BILL.settled_at, _BILL.settled_at + timedelta(minutes=1))),
    )


_COUNT = FileCount(_BILL, 3, 1, 7, 0, effective=Decimal("0.25"), held_seconds=Decimal("1.5"), unknown_tokens=1)


def _batch_store(aws: LocalAws) -> DynamoDBBatchStore:
    return DynamoDBBatchStore(aws.dynamodb, JOBS_TABLE, DynamoDBLedger(aws.dynamodb, LEDGER_TABLE))


def _write_runs(aws: LocalAws) -> None:
    run = BatchRun("tollgate-1", "echo/small", records=3, attempt=1, created_at=_NOW, state=BatchState.PREPARING)
    store = _batch_store(aws)
    store.add(run)
    full = replace(run, batch_id="tollgate-2", source="batch-input/echo/ä +.jsonl", job_ids_key="transform-input/ids")
    full = replace(full, parent="tollgate-1", prior_seconds=Decimal("0.000001"), per_file=7, largest=90)
    store.add(replace(full, traceparent="00-a-b-01", reservation=RESERVATION, count=_COUNT))
    store.lease("echo/small", holder="one", now=_NOW, until=_LATER)


def _read_runs(aws: LocalAws) -> object:
    store = _batch_store(aws)
    taken = store.lease("echo/small", holder="two", now=_NOW, until=_LATER)
    return store.get("tollgate-1"), store.get("tollgate-2"), taken


def _write_files(aws: LocalAws) -> None:
    store = DynamoDBFileStore(aws.dynamodb, JOBS_TABLE)
    file = StoredFile("file-1", OWNER, "ä.jsonl", FilePurpose.BATCH, 7, _NOW, _LATER)
    upload = replace(file, file_id="upload_1", upload_id="file-2", state=FileState.PENDING, keep_seconds=3_600)
    store.add(file)
    store.add(upload)
    store.add(replace(file, file_id="file-0"))
    store.delete("file-0")
    batch = FileBatch("batch_1", OWNER, "/v1/embeddings", "file-1", _NOW, _LATER)
    part = FilePart("echo/small", "run-1", lines=3, chunks=2, largest=90, estimate=Decimal("0.1"))
    done = replace(part, run_id="run-2", decided=True, admitted=1, refusal="too dear", reservation=RESERVATION)
    done = replace(done, ended=True, last_run="run-2-r2", seconds=Decimal("1.5"), earlier_seconds=Decimal("0.5"))
    full = replace(
        batch,
        batch_id="batch_2",
        metadata={"a": "b"},
        traceparent="00-a-b-01",
        cut=True,
        invalid_id="run-0",
        parts=(part, replace(done, outcome="Failed", reason="bad", settled=True)),
        stop=FileBatchStatus.EXPIRED,
        faults=(BatchFault("empty_file", "nothing", 1),),
        total=6,
        completed=4,
        failed=2,
        output_file_id="file-2",
        error_file_id="file-3",
        usage=Usage(5, 6),
        estimated_cost=Decimal("0.2"),
        effective_cost=Decimal("0.3"),
        avoided_cost=Decimal("-0.1"),
        output_seconds=3_600,
        times={FileBatchStatus.IN_PROGRESS: _NOW},
    )
    batches = DynamoDBFileBatchStore(aws.dynamodb, JOBS_TABLE, DynamoDBLedger(aws.dynamodb, LEDGER_TABLE))
    batches.add(batch)
    batches.add(full)
    counted = CountedPart("run-2", "batch_2", OWNER, "echo/small", FileBatchStatus.EXPIRED, Decimal("0.1"), _COUNT)
    batches.change(full, counted=counted)


def _read_files(aws: LocalAws) -> object:
    store, batches = DynamoDBFileStore(aws.dynamodb, JOBS_TABLE), DynamoDBFileBatchStore(aws.dynamodb, JOBS_TABLE)
    settled = SettledJobs(aws.dynamodb, JOBS_TABLE)
    return (
        [store.get(name) for name in ("file-0", "file-1", "upload_1")],
        store.list_of(OWNER, purpose=None, limit=9, after="file-0", oldest_first=True),
        [batches.get(name) for name in ("batch_1", "batch_2")],
        list(settled.jobs_between(*_MINUTE)),
        list(settled.between(*_MINUTE)),
    )


KINDS = {
    "jobs": StoredKind(_write_jobs, _read_jobs),
    "batch_runs": StoredKind(_write_runs, _read_runs),
    "files": StoredKind(_write_files, _read_files),
    "kept_work": StoredKind(
        lambda aws: keep_work(S3DirectObjects(aws.s3, BUCKET), full_job(), {"output": "s3://b/out", "seconds": "1.5"}),
        lambda aws: kept_work(S3DirectObjects(aws.s3, BUCKET), full_job()),
    ),
}
