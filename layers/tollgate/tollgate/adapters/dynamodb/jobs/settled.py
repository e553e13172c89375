"""Everything that ended in a span of time, by the sparse index `settled` of the table of jobs."""

from collections.abc import Iterator, Mapping
from copy import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.documents.bill import bill_of, count_of, settled_groups
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.file_items import PART, counted_part_of
from tollgate.adapters.dynamodb.jobs.items import LATE, from_item, late_of, time_of, time_text
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.usage import Dimensions, UsageRecord
from tollgate.domain.jobs.batches import FileCount
from tollgate.domain.jobs.file_batches import CountedPart
from tollgate.domain.jobs.job import Job, Usage
from tollgate.domain.spans import SLICE, slice_of

INDEX = "settled"


class SettledJobs:
    """The `RequestRecords` of jobs, of dropped files and of the parts of batches."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def between(self, start: datetime, end: datetime) -> Iterator[UsageRecord]:
        """See `RequestRecords`."""
        for item in self._items(start, end):
            if item.get("run_state") == LATE:
                yield _late_record(late_of(item))
            elif item.get("run_state") == PART:
                yield part_record(counted_part_of(item))
            else:
                yield _file_record(item) if "run_state" in item else job_record(from_item(item))

    def jobs_between(self, start: datetime, end: datetime) -> Iterator[Job | CountedPart]:
        """The jobs and parts of batches among them, and what jobs cost after their end, without bodies.

        Raises:
            StorageError
        """
        for item in self._items(start, end):
            if item.get("run_state") == LATE:
                yield late_of(item)
            elif item.get("run_state") == PART:
                yield counted_part_of(item)
            elif "run_state" not in item:
                yield from_item(item)

    def _items(self, start: datetime, end: datetime) -> Iterator[Mapping[str, Any]]:
        moment = slice_of(start)
        while moment < end:
            for group in settled_groups(moment):
                yield from self._group(group, start, end)
            moment += SLICE

    def _group(self, group: str, start: datetime, end: datetime) -> Iterator[Mapping[str, Any]]:
        with storage_errors("job store"):
            items = self._client.query_all(
                self._table,
                index=INDEX,
                key_condition="settled_group = :group AND settled_at BETWEEN :start AND :end",
                values={":group": group, ":start": time_text(start), ":end": time_text(end)},
            )
            # BETWEEN takes its end in; the next span begins there.
            yield from (item for item in items if item["settled_at"] < time_text(end))


def job_record(job: Job) -> UsageRecord:
    """How a job that has ended is counted."""
    bill = job.bill
    settled_at = job.created_at if bill is None else bill.settled_at
    finished = job.finished_at or settled_at
    return UsageRecord(
        request_id=job.job_id,
        ended_at=settled_at,
        dimensions=Dimensions(
            tenant=job.owner.tenant,
            key_id=job.owner.key_id,
            team=job.owner.team,
            model=job.model,
            inference_type=job.inference_type.value,
            deployment=job.deployment,
            variant="" if bill is None else bill.variant,
        ),
        outcome=job.state.value,
        latency_seconds=max(0.0, (finished - job.created_at).total_seconds()),
        usage=job.usage,
        effective=job.effective_cost,
        charged=Decimal(0) if bill is None else bill.charged,
        instance=None if bill is None else bill.instance,
        held_seconds=job.held_seconds,
        avoided={} if bill is None else bill.avoided,
    )


def _late_record(late: Job) -> UsageRecord:
    """Dollars and seconds only: the request was counted when the job ended."""
    return replace(job_record(late), requests=0, errors=0, latency_seconds=None)


def _file_record(item: Mapping[str, Any]) -> UsageRecord:
    settled_at = time_of(item["settled_at"])
    bill = bill_of(item["bill"], settled_at)
    count = count_of(item["counted"], bill)
    model, _, deployment = item["resource"].partition("/")
    dimensions = Dimensions("", "", "", model, InferenceType.BATCH.value, deployment, bill.variant)
    return _count_record(item["job_id"], dimensions, count)


def part_record(part: CountedPart) -> UsageRecord:
    """How a part of a batch is counted: as its lines, which belong to the batch's owner."""
    owner, (model, _, deployment) = part.owner, part.resource.partition("/")
    kind, variant = InferenceType.BATCH.value, part.count.bill.variant
    dimensions = Dimensions(owner.tenant, owner.key_id, owner.team, model, kind, deployment, variant)
    return _count_record(part.run_id, dimensions, part.count)


def _count_record(name: str, dimensions: Dimensions, count: FileCount) -> UsageRecord:
    bill = count.bill
    return UsageRecord(
        request_id=name,
        ended_at=bill.settled_at,
        dimensions=dimensions,
        outcome="completed",
        usage=Usage(count.input_tokens, count.output_tokens),
        effective=count.effective,
        charged=bill.charged,
        instance=bill.instance,
        held_seconds=count.held_seconds,
        avoided=bill.avoided,
        requests=count.requests,
        errors=count.errors,
        unknown_tokens=count.unknown_tokens,
    )
