"""Jobs in DynamoDB, changed by conditional writes only."""

import base64
import binascii
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.items import (
    WEBHOOK_GROUPS,
    from_item,
    groups_of,
    late_item,
    time_of,
    time_text,
    to_item,
)
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.dynamodb.transaction import TransactPut
from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import ConflictError, InvalidRequestError, StorageError
from tollgate.domain.jobs.job import FINAL_STATES, Job, JobState, Owner
from tollgate.domain.json_values import strict_json
from tollgate.ports.jobs import JobPage, PooledJob

if TYPE_CHECKING:
    from tollgate.domain.jobs.open_jobs import OpenJob

_ROADS_ITEM = "open#roads"
"""Names every road of every deployment that ever had a job, so that those of a deployment that has left the catalogue
are still found."""

_READ_AT_ONCE = 100
_POOLED_AT_ONCE = 50
_LONGEST_NAME = 64
"""Of what a cursor names: ids, times and groups."""


def encode_cursor(position: Mapping[str, str]) -> str:
    """A page's end as an opaque text."""
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(text: str, names: frozenset[str]) -> dict[str, str]:
    """The position that `encode_cursor` wrote.

    Raises:
        InvalidRequestError: it is not one, or of another list.
    """
    try:
        position = strict_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        position = None
    # A table refuses other keys, which would look like a failure of the table.
    if (
        not isinstance(position, dict)
        or set(position) != names
        or not all(isinstance(v, str) and v.isascii() and 0 < len(v) <= _LONGEST_NAME for v in position.values())
    ):
        raise InvalidRequestError("'after' is not a cursor from an earlier page. Leave it out to start.", param="after")
    return position


class DynamoDBJobStore:
    """The `JobStore` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str, ledger: DynamoDBLedger | None = None) -> None:
        self._client = client
        self._table = table
        self._ledger = ledger
        self._known_roads: set[str] = set()

    def add(self, job: Job, charges: Sequence[LedgerWrite] = ()) -> None:
        """See `JobStore`."""
        item, condition = to_item(job), "attribute_not_exists(job_id)"
        with storage_errors("job store"):
            self._note_road(job)
            if charges:
                added = self._charged(TransactPut(self._table, item, condition), charges)
            else:
                try:
                    self._client.put_item(self._table, item, condition=condition)
                    added = True
                except ConditionalCheckFailedError:
                    added = False
        if not added:
            raise ConflictError(f"There is already a job '{job.job_id}'.")

    def get(self, job_id: str) -> Job | None:
        """See `JobStore`."""
        with storage_errors("job store"):
            item = self._client.get_item(self._table, {"job_id": job_id}, consistent=True)
        return None if item is None or not _is_job(item) else from_item(item)

    def get_many(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """See `JobStore`."""
        found: dict[str, Job] = {}
        for chunk in itertools.batched(dict.fromkeys(job_ids), _READ_AT_ONCE, strict=False):
            found |= {item["job_id"]: from_item(item) for item in self._items(chunk)}
        return [found[job_id] for job_id in job_ids if job_id in found]

    def _items(self, job_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        keys = {self._table: [{"job_id": job_id} for job_id in job_ids]}
        with storage_errors("job store"):
            items = self._client.batch_get_item(keys, consistent=True)[self._table]
        return [item for item in items if _is_job(item)]

    def list_of(self, owner: Owner, *, state: JobState | None, limit: int, after: str | None) -> JobPage:
        """See `JobStore`."""
        start = None
        if after is not None:
            start = decode_cursor(after, frozenset({"job_id", "created_at"})) | {"tenant": owner.tenant}
        with storage_errors("job store"):
            page = self._client.query(
                self._table,
                index="by_owner",
                key_condition="tenant = :tenant",
                values={":tenant": owner.tenant},
                forward=False,
                limit=limit,
                start_key=start,
            )
        jobs = self.get_many([item["job_id"] for item in page.items])
        return JobPage(
            jobs=[job for job in jobs if state is None or job.state is state],
            after=_cursor_after(page.last_key, "job_id", "created_at"),
        )

    def change(
        self,
        job: Job,
        *,
        expected: frozenset[JobState],
        lease_free_at: datetime | None = None,
        as_read: Job | None = None,
        charges: Sequence[LedgerWrite] = (),
    ) -> bool:
        """See `JobStore`."""
        values: dict[str, Any] = {f":s{number}": state.value for number, state in enumerate(sorted(expected))}
        condition = f"#state IN ({', '.join(values)})"
        if lease_free_at is not None:
            values[":free"] = time_text(lease_free_at)
            condition += " AND (attribute_not_exists(submit_lease_until) OR submit_lease_until <= :free)"
        if as_read is not None:
            lease = as_read.submit_lease_until
            read = {"submit_lease_until": None if lease is None else time_text(lease), "batch_id": as_read.batch_id}
            for name, value in read.items():
                if value:
                    values[f":{name}"] = value
                    condition += f" AND {name} = :{name}"
                else:
                    condition += f" AND attribute_not_exists({name})"
        return self._replaced(job, condition, values | {":was": job.deployment}, charges)

    def hand_on(self, job: Job, *, was: str, charges: Sequence[LedgerWrite] = ()) -> bool:
        """See `JobStore`."""
        with storage_errors("job store"):
            self._note_road(job)
        condition = "#state = :queued AND attribute_not_exists(submit_lease_until)"
        return self._replaced(job, condition, {":queued": JobState.QUEUED.value, ":was": was}, charges)

    def _replaced(self, job: Job, condition: str, values: Mapping[str, Any], charges: Sequence[LedgerWrite]) -> bool:
        condition += " AND #deployment = :was"
        names = {"#state": "state", "#deployment": "deployment"}
        if charges:
            return self._charged(TransactPut(self._table, to_item(job), condition, names, values), charges)
        with storage_errors("job store"):
            try:
                self._client.put_item(self._table, to_item(job), condition=condition, names=names, values=values)
            except ConditionalCheckFailedError:
                return False
        return True

    def add_late(self, late: Job, charges: Sequence[LedgerWrite]) -> bool:
        """See `JobStore`."""
        item, condition = late_item(late), "attribute_not_exists(job_id)"
        if charges:
            return self._charged(TransactPut(self._table, item, condition), charges)
        with storage_errors("job store"):
            try:
                self._client.put_item(self._table, item, condition=condition)
            except ConditionalCheckFailedError:
                return False
        return True

    def _charged(self, put: TransactPut, charges: Sequence[LedgerWrite]) -> bool:
        if self._ledger is None:
            raise StorageError("This function was not given the ledger.")
        return self._ledger.transact((put,), charges)

    def open_since(self, before: datetime, *, limit: int, after: str | None = None) -> JobPage:
        """See `JobStore`."""
        groups = self._open_groups()
        start: dict[str, str] | None = None
        if after is not None:
            position = decode_cursor(after, frozenset({"open_group", "job_id", "created_at"}))
            groups = [group for group in groups if group >= position["open_group"]]
            start = position
        found: list[str] = []
        last: Mapping[str, Any] | None = None
        with storage_errors("job store"):
            for group in groups:
                begin = start if start is not None and start["open_group"] == group else None
                page = self._client.query(
                    self._table,
                    index="open",
                    key_condition="open_group = :group AND created_at < :before",
                    values={":group": group, ":before": time_text(before)},
                    limit=limit - len(found),
                    start_key=begin,
                )
                found += [item["job_id"] for item in page.items]
                last = page.last_key or (page.items[-1] if page.items else None)
                if len(found) >= limit:
                    break
            else:
                last = None
        return JobPage(jobs=self.get_many(found), after=_cursor_after(last, "open_group", "job_id", "created_at"))

    def waiting_for_batch(self, resource: str, *, limit: int) -> Sequence[Job]:
        """See `JobStore`."""
        found = self.get_many(self._in_group(f"batch#{resource}", limit))
        # The index may lag behind a job that has just left.
        return [job for job in found if job.state is JobState.QUEUED]

    def pool_of(self, resource: str, *, limit: int) -> Sequence[PooledJob]:
        """See `JobStore`."""
        found: dict[str, PooledJob] = {}
        ids = self._in_group(f"batch#{resource}", limit)
        for chunk in itertools.batched(ids, _POOLED_AT_ONCE, strict=False):
            for item in self._items(chunk):
                if item["state"] == JobState.QUEUED:
                    deadline = time_of(item["deadline_at"]) if "deadline_at" in item else None
                    found[item["job_id"]] = PooledJob(item["job_id"], time_of(item["created_at"]), deadline)
        return [found[job_id] for job_id in ids if job_id in found]

    def unfinished(self, resource: str, inference_type: InferenceType, *, limit: int) -> Sequence[Job]:
        """See `JobStore`."""
        groups = groups_of(resource, inference_type)
        found = self.get_many([name for group in groups for name in self._in_group(group, limit)])
        # The index may lag behind a job that has ended, or was handed on.
        left = [job for job in found if job.state not in FINAL_STATES and job.resource == resource]
        return sorted(left, key=lambda job: (job.created_at, job.job_id))[:limit]

    def open_of(self, resource: str, inference_type: InferenceType, *, limit: int) -> "Sequence[OpenJob]":
        """See `JobStore`."""
        from tollgate.adapters.dynamodb.jobs.open_items import outline_of  # noqa: PLC0415 -- only those who look after places

        found: list[OpenJob] = []
        ids = [name for group in groups_of(resource, inference_type) for name in self._in_group(group, limit)]
        for chunk in itertools.batched(ids, _POOLED_AT_ONCE, strict=False):
            found += map(outline_of, self._items(chunk))
        left = [job for job in found if job.state not in FINAL_STATES and job.resource == resource]
        return sorted(left, key=lambda job: (job.created_at, job.job_id))[:limit]

    def _in_group(self, group: str, limit: int) -> list[str]:
        found: list[str] = []
        start: Mapping[str, Any] | None = None
        with storage_errors("job store"):
            while len(found) < limit:
                page = self._client.query(
                    self._table,
                    index="open",
                    key_condition="open_group = :group",
                    values={":group": group},
                    limit=limit - len(found),
                    start_key=start,
                )
                found += [item["job_id"] for item in page.items]
                start = page.last_key
                if start is None:
                    break
        return found

    def count_open(self, resource: str, inference_type: InferenceType) -> int:
        """See `JobStore`."""
        return sum(self._count(group) for group in groups_of(resource, inference_type))

    def _count(self, group: str) -> int:
        counted = 0
        start: Mapping[str, Any] | None = None
        with storage_errors("job store"):
            while True:
                page = self._client.query(
                    self._table,
                    index="open",
                    key_condition="open_group = :group",
                    values={":group": group},
                    start_key=start,
                    count_only=True,
                )
                counted += page.item_count
                start = page.last_key
                if start is None:
                    return counted

    def _note_road(self, job: Job) -> None:
        road = f"{job.inference_type}#{job.resource}"
        if road in self._known_roads:
            return
        self._client.update_item(
            self._table, {"job_id": _ROADS_ITEM}, update="ADD roads :road", values={":road": {road}}
        )
        self._known_roads.add(road)

    def _open_groups(self) -> list[str]:
        with storage_errors("job store"):
            item = self._client.get_item(self._table, {"job_id": _ROADS_ITEM}, consistent=True) or {}
        groups = list(WEBHOOK_GROUPS)
        for road in item.get("roads", ()):
            inference_type, _, resource = road.partition("#")
            groups += groups_of(resource, InferenceType(inference_type))
        return sorted(groups)


def _is_job(item: Mapping[str, Any]) -> bool:
    """Runs, leases and the list of roads live in the same table, under names that callers may ask for."""
    return "inference_type" in item


def _cursor_after(last: Mapping[str, Any] | None, *names: str) -> str | None:
    return None if last is None else encode_cursor({name: last[name] for name in names})
