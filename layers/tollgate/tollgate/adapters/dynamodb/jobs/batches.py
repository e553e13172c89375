"""Batch runs and leases, in the Jobs table under names that are not job ids."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.documents.bill import bill_of, bill_text, count_of, counted_text, settled_group
from tollgate.adapters.documents.reservation import reservation_document, reservation_of
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.items import time_of, time_text
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.dynamodb.transaction import TransactPut
from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.batches import BatchRun, BatchState, FileCount

_GROUP = "runs"
_KEPT = timedelta(days=30)
_LEASE_KEPT = timedelta(hours=1)


class DynamoDBBatchStore:
    """The `BatchStore` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str, ledger: DynamoDBLedger | None = None) -> None:
        self._client = client
        self._table = table
        self._ledger = ledger

    def add(self, run: BatchRun) -> bool:
        """See `BatchStore`."""
        return self._put(run, "attribute_not_exists(job_id)", {})

    def get(self, batch_id: str) -> BatchRun | None:
        """See `BatchStore`."""
        with storage_errors("batch store"):
            item = self._client.get_item(self._table, {"job_id": batch_id}, consistent=True)
        return None if item is None or "run_state" not in item else _from_item(item)

    def change(
        self,
        run: BatchRun,
        *,
        expected: BatchState,
        charges: Sequence[LedgerWrite] = (),
        reserving: bool = False,
    ) -> bool:
        """See `BatchStore`."""
        values = {":expected": expected.value}
        condition = "run_state = :expected AND attribute_not_exists(reservation)"
        if run.reservation is not None and not reserving:
            values[":held"] = json.dumps(reservation_document(run.reservation))
            condition = "run_state = :expected AND reservation = :held"
        if not charges:
            return self._put(run, condition, values)
        if self._ledger is None:
            raise StorageError("This function was not given the ledger.")
        return self._ledger.transact((TransactPut(self._table, _to_item(run), condition, values=values),), charges)

    def open_since(self, before: datetime, *, limit: int) -> Sequence[BatchRun]:
        """See `BatchStore`."""
        with storage_errors("batch store"):
            page = self._client.query(
                self._table,
                index="open",
                key_condition="open_group = :group AND created_at < :before",
                values={":group": _GROUP, ":before": time_text(before)},
                limit=limit,
            )
        runs = (self.get(item["job_id"]) for item in page.items)
        return [run for run in runs if run is not None and run.state is not BatchState.ENDED]

    def lease(self, name: str, *, holder: str, now: datetime, until: datetime) -> bool:
        """See `BatchStore`."""
        with storage_errors("batch store"):
            try:
                self._client.put_item(
                    self._table,
                    {
                        "job_id": f"lease#{name}",
                        "holder": holder,
                        "held_until": time_text(until),
                        "ttl": int((until + _LEASE_KEPT).timestamp()),
                    },
                    condition="attribute_not_exists(job_id) OR holder = :holder OR held_until <= :now",
                    values={":holder": holder, ":now": time_text(now)},
                )
            except ConditionalCheckFailedError:
                return False
        return True

    def release(self, name: str, *, holder: str) -> None:
        """See `BatchStore`."""
        with storage_errors("batch store"):
            try:
                self._client.delete_item(
                    self._table,
                    {"job_id": f"lease#{name}"},
                    condition="holder = :holder",
                    values={":holder": holder},
                )
            except ConditionalCheckFailedError:
                return

    def _put(self, run: BatchRun, condition: str, values: Mapping[str, Any]) -> bool:
        with storage_errors("batch store"):
            try:
                self._client.put_item(self._table, _to_item(run), condition=condition, values=values)
            except ConditionalCheckFailedError:
                return False
        return True


def _to_item(run: BatchRun) -> dict[str, Any]:
    ended = run.state is BatchState.ENDED
    item: dict[str, Any] = {
        "job_id": run.batch_id,
        "resource": run.resource,
        "records": run.records,
        "attempt": run.attempt,
        "created_at": time_text(run.created_at),
        "run_state": run.state.value,
        "source": run.source,
        "job_ids_key": run.job_ids_key,
        "parent": run.parent,
        "prior_seconds": run.prior_seconds,
        "per_file": run.per_file or None,
        "largest": run.largest or None,
        "traceparent": run.traceparent or None,
        "reservation": None if run.reservation is None else json.dumps(reservation_document(run.reservation)),
        "open_group": None if ended else _GROUP,
        "ttl": int((run.created_at + _KEPT).timestamp()) if ended else None,
    }
    if run.count is not None:
        item |= {
            "bill": bill_text(run.count.bill),
            "counted": counted_text(run.count),
            "settled_at": time_text(run.count.bill.settled_at),
            "settled_group": settled_group(run.batch_id, run.count.bill),
        }
    return {name: value for name, value in item.items() if value is not None}


def _from_item(item: Mapping[str, Any]) -> BatchRun:
    return BatchRun(
        batch_id=item["job_id"],
        resource=item["resource"],
        records=int(item["records"]),
        attempt=int(item["attempt"]),
        created_at=time_of(item["created_at"]),
        state=BatchState(item["run_state"]),
        source=item.get("source"),
        job_ids_key=item.get("job_ids_key"),
        parent=item.get("parent"),
        prior_seconds=item["prior_seconds"],
        per_file=int(item.get("per_file", 0)),
        largest=int(item.get("largest", 0)),
        traceparent=item.get("traceparent", ""),
        reservation=reservation_of(json.loads(item["reservation"])) if "reservation" in item else None,
        count=_count(item),
    )


def _count(item: Mapping[str, Any]) -> FileCount | None:
    if "counted" not in item:
        return None
    return count_of(item["counted"], bill_of(item["bill"], time_of(item["settled_at"])))
