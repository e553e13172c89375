"""The ledger in DynamoDB: one item for each counter, changed only by single conditional writes.

| item               | pk                              | sk             | attributes                                  |
|--------------------|---------------------------------|----------------|---------------------------------------------|
| counter            | ``budget#<scope>#<period>#...`` | ``committed``  | see `Counter`; every slot is one attribute  |
| call of a run      | ``workflow#<tenant>#<id>``      | inference id   | see `WorkflowCall`                          |
| unpublished notice | ``notice``                      | its id         | document, due in milliseconds of the epoch  |

One counter is changed by UpdateItem, which DynamoDB puts in order by itself however many race; several at once, or one
together with other items, by TransactWriteItems, which is refused when somebody else is at one of the items and is then
tried again. Conditions cannot add, so what must hold is said of `committed` before the write.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tollgate.adapters.aws.errors import AwsError, ConditionalCheckFailedError, TransactionCancelledError
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.transaction import TransactAction, TransactPut, TransactUpdate
from tollgate.domain.budgets.ledger import Change, Counter, LedgerWrite, Told, WorkflowCall
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import LedgerRefusedError, StorageError
from tollgate.domain.money import ZERO

if TYPE_CHECKING:
    from tollgate.domain.budgets.notices import OpenNotice

_SORT_KEY = "committed"
_CALLS_KEPT = timedelta(days=30)
_NOTICES = "notice"
_NOTICES_KEPT = timedelta(days=7)
_ATTEMPTS = 14
_LONGEST_WAIT_SECONDS = 0.4
_BUSY = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


def counter_key(counter: str) -> dict[str, str]:
    """Key of a counter's item."""
    return {"pk": f"budget#{counter}", "sk": _SORT_KEY}


class DynamoDBLedger:
    """The `Ledger` of AWS.

    Args:
        client: DynamoDB.
        table: name of the ledger table.
        sleep: waits between attempts.
    """

    def __init__(self, client: DynamoDBClient, table: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def write(self, writes: Sequence[LedgerWrite]) -> Mapping[str, Told]:
        """See `Ledger`."""
        (first, *others) = writes
        if others or isinstance(first, WorkflowCall):
            self.transact((), writes)
            return {}
        with storage_errors("ledger"):
            item = self._alone(first)
        if _SORT_KEY not in item:
            return {}
        calls = item.get("calls")
        return {first.counter: Told(item[_SORT_KEY], None if calls is None else int(calls))}

    def transact(self, actions: Sequence[TransactAction], writes: Sequence[LedgerWrite]) -> bool:
        """Do other actions and ledger writes together, all or none.

        Returns:
            Whether they were done; False when the condition of one of `actions` was false.

        Raises:
            LedgerRefusedError: the condition of some of `writes` was false, and none of `actions`.
            StorageError: the table failed, or others were in the way for too long.
        """
        updates = [self._action(write) for write in writes]
        token = os.urandom(16).hex()
        for attempt in range(1, _ATTEMPTS + 1):
            with storage_errors("ledger"):
                try:
                    self._client.transact_write_items([*actions, *updates], client_request_token=token)
                except TransactionCancelledError as cancelled:
                    refused = self._refused(cancelled, len(actions), writes)
                    if refused is None:
                        self._wait(attempt)
                        continue
                    if not refused:
                        return False
                    raise LedgerRefusedError(refused) from cancelled
            return True
        raise StorageError("The ledger is busy. Try again.", retry_after=2)

    def read(self, counters: Sequence[str], *, consistent: bool = False) -> Mapping[str, Counter]:
        """See `Ledger`."""
        if not counters:
            return {}
        with storage_errors("ledger"):
            found = self._client.batch_get_item(
                {self._table: [counter_key(counter) for counter in counters]}, consistent=consistent
            )
        return {item["pk"].removeprefix("budget#"): _counter(item) for item in found[self._table]}

    def tell_once(self, counter: str, at_percent: Decimal) -> bool:
        """See `Ledger`."""
        with storage_errors("ledger"):
            try:
                self._client.update_item(
                    self._table,
                    counter_key(counter),
                    update="ADD told :told",
                    condition="attribute_not_exists(told) OR NOT contains(told, :percent)",
                    values={":told": {at_percent}, ":percent": at_percent},
                )
            except ConditionalCheckFailedError:
                return False
        return True

    def open_notice(self, notice: "OpenNotice") -> bool:
        """See `Ledger`."""
        item = {
            "pk": _NOTICES,
            "sk": notice.notice_id,
            "document": json.dumps(notice.document),
            "due": _milliseconds(notice.due),
            "ttl": int((notice.due + _NOTICES_KEPT).timestamp()),
        }
        with storage_errors("ledger"):
            try:
                self._client.put_item(self._table, item, condition="attribute_not_exists(pk)")
            except ConditionalCheckFailedError:
                return False
        return True

    def open_notices(self, *, limit: int) -> "Sequence[OpenNotice]":
        """See `Ledger`."""
        from tollgate.domain.budgets.notices import OpenNotice  # noqa: PLC0415 -- only the schedule reads them

        with storage_errors("ledger"):
            page = self._client.query(self._table, key_condition="pk = :pk", values={":pk": _NOTICES}, limit=limit)
        return [
            OpenNotice(json.loads(item["document"]), datetime.fromtimestamp(int(item["due"]) / 1000, UTC))
            for item in page.items
        ]

    def postpone_notice(self, notice: "OpenNotice", due: datetime) -> bool:
        """See `Ledger`."""
        with storage_errors("ledger"):
            try:
                self._client.update_item(
                    self._table,
                    {"pk": _NOTICES, "sk": notice.notice_id},
                    update="SET due = :due",
                    condition="due = :seen",
                    values={":due": _milliseconds(due), ":seen": _milliseconds(notice.due)},
                )
            except ConditionalCheckFailedError:
                return False
        return True

    def close_notice(self, notice_id: str) -> None:
        """See `Ledger`."""
        with storage_errors("ledger"):
            self._client.delete_item(self._table, {"pk": _NOTICES, "sk": notice_id})

    def calls_of(self, tenant: str, workflow: str, *, limit: int) -> Sequence[WorkflowCall]:
        """See `Ledger`."""
        with storage_errors("ledger"):
            page = self._client.query(
                self._table,
                key_condition="pk = :pk",
                values={":pk": _workflow_key(tenant, workflow)},
                limit=limit,
            )
        return [_call(item) for item in page.items]

    def call(self, tenant: str, workflow: str, inference_id: str) -> WorkflowCall | None:
        """See `Ledger`."""
        with storage_errors("ledger"):
            item = self._client.get_item(
                self._table, {"pk": _workflow_key(tenant, workflow), "sk": inference_id}, consistent=True
            )
        return None if item is None else _call(item)

    def _alone(self, change: Change) -> Mapping[str, Any]:
        update, condition, names, values = _expressions(change)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return (
                    self._client.update_item(
                        self._table,
                        counter_key(change.counter),
                        update=update,
                        condition=condition,
                        names=names,
                        values=values,
                        return_changed=True,
                        return_item_on_failure=True,
                        # The condition on the slot tells a repetition from a first attempt.
                        retry=RetryPolicy.IDEMPOTENT,
                    )
                    or {}
                )
            except ConditionalCheckFailedError as refused:
                raise LedgerRefusedError({0: self._as_refused(change.counter, refused.item)}) from refused
            except AwsError as error:
                if error.code != "TransactionConflictException":
                    raise
            self._wait(attempt)
        raise StorageError("The ledger is busy. Try again.", retry_after=2)

    def _refused(
        self, cancelled: TransactionCancelledError, before: int, writes: Sequence[LedgerWrite]
    ) -> Mapping[int, Counter] | None:
        """The counters that refused; empty when something else than a counter did, None when it can be tried again.

        Raises:
            TransactionCancelledError: for another reason.
        """
        refused = {}
        for number, reason in enumerate(cancelled.reasons):
            if reason.code != "ConditionalCheckFailed":
                continue
            write = writes[number - before] if number >= before else None
            if not isinstance(write, Change):
                return {}
            refused[number - before] = self._as_refused(write.counter, reason.item)
        if refused:
            return refused
        if any(reason.code in _BUSY for reason in cancelled.reasons):
            return None
        raise cancelled

    def _as_refused(self, counter: str, item: Mapping[str, Any] | None) -> Counter:
        if item is None:
            item = self._client.get_item(self._table, counter_key(counter), consistent=True)
        return Counter() if item is None else _counter(item)

    def _wait(self, attempt: int) -> None:
        longest = min(_LONGEST_WAIT_SECONDS, 0.01 * 2**attempt)
        # Not from `random`, whose seed a SnapStart snapshot would share among all its copies.
        self._sleep(longest * int.from_bytes(os.urandom(2)) / 65_536)

    def _action(self, write: LedgerWrite) -> TransactAction:
        if isinstance(write, WorkflowCall):
            return TransactPut(self._table, _call_item(write))
        update, condition, names, values = _expressions(write)
        return TransactUpdate(self._table, counter_key(write.counter), update, condition, names, values)


def _expressions(change: Change) -> tuple[str, str | None, dict[str, str], dict[str, Any]]:
    """Update expression, condition, names and values."""
    names: dict[str, str] = {}
    values: dict[str, Any] = {}

    def name(slot: str) -> str:
        return names.setdefault(slot, f"#{len(names)}")

    def value(amount: Any) -> str:
        values[f":{len(values)}"] = amount
        return f":{len(values) - 1}"

    added = [
        f"{attribute} {value(amount)}"
        for attribute, amount in (
            ("committed", change.committed),
            ("spent", change.spent),
            ("overrun", change.overrun),
            ("calls", change.calls),
            ("shadow_refusals", change.shadow_refusals),
        )
        if amount
    ]
    added += [f"{name(slot)} {value(amount)}" for slot, amount in change.slots.items()]
    update = f"ADD {', '.join(added)}" if added else ""
    if change.dropped:
        update += f" REMOVE {', '.join(name(slot) for slot in sorted(change.dropped))}"
    if change.ttl is not None:
        update += f" SET {name('ttl')} = {value(change.ttl)}"
    conditions = []
    for attribute, most in (("committed", change.most_committed), ("calls", change.most_calls)):
        if most is not None:
            fits = f"{attribute} <= {value(most)}"
            conditions.append(f"(attribute_not_exists({attribute}) OR {fits})" if most >= 0 else fits)
    if change.absent:
        conditions.append(f"attribute_not_exists({name(change.absent)})")
    conditions += [f"{name(slot)} >= {value(amount)}" for slot, amount in change.least.items()]
    conditions += [f"{name(slot)} = {value(amount)}" for slot, amount in change.exactly.items()]
    placeholders = {placeholder: attribute for attribute, placeholder in names.items()}
    return update.strip(), " AND ".join(conditions) or None, placeholders, values


def _counter(item: Mapping[str, Any]) -> Counter:
    return Counter(
        committed=item.get("committed", ZERO),
        spent=item.get("spent", ZERO),
        overrun=item.get("overrun", ZERO),
        calls=int(item.get("calls", 0)),
        shadow_refusals=int(item.get("shadow_refusals", 0)),
        slots={slot: amount for slot, amount in item.items() if slot[0] in "hx" and slot[1:2].isdigit()},
        told=frozenset(item.get("told", ())),
    )


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _workflow_key(tenant: str, workflow: str) -> str:
    return f"workflow#{tenant}#{workflow}"


def _call_item(call: WorkflowCall) -> dict[str, Any]:
    item = {
        "pk": _workflow_key(call.tenant, call.workflow),
        "sk": call.inference_id,
        "parent": call.parent,
        "depth": call.depth,
        "model": call.model,
        "inference_type": call.inference_type.value,
        "call_status": call.status,
        "created_at": call.created_at.astimezone(UTC).isoformat(),
        "effective_cost": call.effective_cost,
        "ttl": int((call.created_at + _CALLS_KEPT).timestamp()),
    }
    return {name: value for name, value in item.items() if value is not None}


def _call(item: Mapping[str, Any]) -> WorkflowCall:
    _, tenant, workflow = item["pk"].split("#", 2)
    return WorkflowCall(
        tenant=tenant,
        workflow=workflow,
        inference_id=item["sk"],
        parent=item["parent"],
        depth=int(item["depth"]),
        model=item["model"],
        inference_type=InferenceType(item["inference_type"]),
        status=item["call_status"],
        created_at=datetime.fromisoformat(item["created_at"]),
        effective_cost=item.get("effective_cost"),
    )
