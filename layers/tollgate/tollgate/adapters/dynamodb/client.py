"""DynamoDB with plain Python values; see `values` for the types.

Expressions are DynamoDB's own strings. `names` are expression attribute names (`#n`), `values` expression
attribute values (`:v`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.errors import ThrottledError
from tollgate.adapters.aws.retry import FailureKind, RetryPolicy
from tollgate.adapters.aws.transport import AwsTransport
from tollgate.adapters.dynamodb.transaction import TransactAction, write_fields
from tollgate.adapters.dynamodb.values import from_attributes, to_attributes

_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_CONTENT_TYPE = ("content-type", "application/x-amz-json-1.0")
_HEADERS = {
    operation: (_CONTENT_TYPE, ("x-amz-target", f"DynamoDB_20120810.{operation}"))
    for operation in (
        "GetItem",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "Query",
        "BatchGetItem",
        "TransactWriteItems",
    )
}
_MAX_BATCH_KEYS = 100
_MAX_BATCH_ROUNDS = 5
_MAX_TRANSACTION_ACTIONS = 100

type Item = dict[str, Any]


class QueryPage(NamedTuple):
    """One page of a query.

    Attributes:
        items: in key order.
        last_key: `start_key` of the next page; None after the last one.
        item_count: items in this page; also set when `count_only` left the items out.
    """

    items: tuple[Item, ...]
    last_key: Item | None
    item_count: int


class DynamoDBClient:
    """The item operations of the hot path.

    Reads, and unconditional puts and deletes, are repeated after any transient failure. Updates and
    conditional writes are not unless `retry` says so: after a lost answer the first attempt may have been
    applied, so that a counter would move twice, or a condition fail because of our own write. Such a failure
    is raised with `outcome_unknown` true.

    Args:
        transport: makes the calls.
        read_timeout_s: for every attempt, instead of the transport's.
        retry: for every operation, instead of its own. A cache would rather be without an answer than wait for one.
    """

    def __init__(
        self, transport: AwsTransport, *, read_timeout_s: float | None = None, retry: RetryPolicy | None = None
    ) -> None:
        self._transport = transport
        self._read_timeout_s = read_timeout_s
        self._retry = retry

    def get_item(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        consistent: bool = False,
        projection: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Item | None:
        """Read one item; None when there is none.

        A read costs half a unit per 4 KB, a whole one when `consistent`.

        Raises:
            AwsError: see `aws.errors`.
        """
        fields: dict[str, Any] = {"TableName": table, "Key": to_attributes(key)}
        if consistent:
            fields["ConsistentRead"] = True
        if projection is not None:
            fields["ProjectionExpression"] = projection
        if names:
            fields["ExpressionAttributeNames"] = names
        item = self._read("GetItem", fields).get("Item")
        return None if item is None else from_attributes(item)

    def put_item(
        self,
        table: str,
        item: Mapping[str, Any],
        *,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        return_item_on_failure: bool = False,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Write a whole item.

        Raises:
            ConditionalCheckFailedError: the condition was false.
            AwsError: see `aws.errors`.
        """
        fields = write_fields(table, condition, names, values, return_item_on_failure=return_item_on_failure)
        fields["Item"] = to_attributes(item)
        self._call("PutItem", fields, retry or _default_retry(condition))

    def put_next(self, table: str, item: Mapping[str, Any], *, after: int) -> None:
        """Write a whole item whose `revision` counts its writes, unless somebody else has written meanwhile.

        Args:
            table: whose partition key is `pk`.
            item: with its new revision.
            after: the revision that was read; 0 where there was no item.

        Raises:
            ConditionalCheckFailedError: somebody has.
            AwsError: see `aws.errors`.
        """
        if after == 0:
            self.put_item(table, item, condition="attribute_not_exists(pk)")
        else:
            self.put_item(table, item, condition="revision = :revision", values={":revision": after})

    def update_item(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        update: str,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        return_changed: bool = False,
        return_item_on_failure: bool = False,
        retry: RetryPolicy = RetryPolicy.UNPROCESSED,
    ) -> Item | None:
        """Change an item in place; what its changed attributes are now, if `return_changed`.

        Raises:
            ConditionalCheckFailedError: the condition was false.
            AwsError: see `aws.errors`; `outcome_unknown` tells whether it may have been applied.
        """
        fields = write_fields(table, condition, names, values, return_item_on_failure=return_item_on_failure)
        fields |= {"Key": to_attributes(key), "UpdateExpression": update}
        if return_changed:
            fields["ReturnValues"] = "UPDATED_NEW"
        changed = self._call("UpdateItem", fields, retry).get("Attributes")
        return None if changed is None else from_attributes(changed)

    def delete_item(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Delete an item, which need not exist.

        Raises:
            ConditionalCheckFailedError: the condition was false.
            AwsError: see `aws.errors`.
        """
        fields = write_fields(table, condition, names, values)
        fields["Key"] = to_attributes(key)
        self._call("DeleteItem", fields, _default_retry(condition))

    def query(
        self,
        table: str,
        *,
        key_condition: str,
        values: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
        index: str | None = None,
        projection: str | None = None,
        limit: int | None = None,
        forward: bool = True,
        start_key: Mapping[str, Any] | None = None,
        consistent: bool = False,
        count_only: bool = False,
    ) -> QueryPage:
        """Read one page (up to 1 MB, or `limit` items) of a partition.

        Raises:
            AwsError: see `aws.errors`.
        """
        fields: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": key_condition,
            "ExpressionAttributeValues": to_attributes(values),
        }
        optional = {
            "ExpressionAttributeNames": names or None,
            "IndexName": index,
            "ProjectionExpression": projection,
            "Limit": limit,
            "ScanIndexForward": None if forward else False,
            "ExclusiveStartKey": to_attributes(start_key) if start_key else None,
            "ConsistentRead": True if consistent else None,
            "Select": "COUNT" if count_only else None,
        }
        fields.update((name, value) for name, value in optional.items() if value is not None)
        answer = self._read("Query", fields)
        last_key = answer.get("LastEvaluatedKey")
        return QueryPage(
            items=tuple(from_attributes(item) for item in answer.get("Items") or ()),
            last_key=from_attributes(last_key) if last_key else None,
            item_count=int(answer.get("Count", 0)),
        )

    def query_all(
        self,
        table: str,
        *,
        key_condition: str,
        values: Mapping[str, Any],
        index: str | None = None,
        consistent: bool = False,
    ) -> Iterator[Item]:
        """Read a partition to its end, a page at a time as the items are taken.

        Raises:
            AwsError: see `aws.errors`.
        """
        start: Item | None = None
        while True:
            page = self.query(
                table,
                key_condition=key_condition,
                values=values,
                index=index,
                consistent=consistent,
                start_key=start,
            )
            yield from page.items
            start = page.last_key
            if start is None:
                return

    def batch_get_item(
        self, keys: Mapping[str, Sequence[Mapping[str, Any]]], *, consistent: bool = False
    ) -> dict[str, list[Item]]:
        """Read items of one or more tables, at most 100 keys; missing ones are left out, order is not kept.

        Keys that DynamoDB left unread are asked for again, up to five requests in all.

        Raises:
            ValueError: no key, or more than 100.
            ThrottledError: some keys were still unread after the last request.
            AwsError: see `aws.errors`.
        """
        total = sum(len(wanted) for wanted in keys.values())
        if not 1 <= total <= _MAX_BATCH_KEYS:
            raise ValueError(f"a batch read takes 1 to {_MAX_BATCH_KEYS} keys, not {total}")
        found: dict[str, list[Item]] = {table: [] for table in keys}
        pending: dict[str, Any] = {}
        for table, wanted in keys.items():
            if wanted:
                pending[table] = {"Keys": [to_attributes(key) for key in wanted]}
                if consistent:
                    pending[table]["ConsistentRead"] = True
        for round_number in range(1, _MAX_BATCH_ROUNDS + 1):
            answer = self._read("BatchGetItem", {"RequestItems": pending})
            for table, items in answer.get("Responses", {}).items():
                found[table].extend(from_attributes(item) for item in items)
            pending = answer.get("UnprocessedKeys") or {}
            if not pending:
                return found
            if round_number < _MAX_BATCH_ROUNDS:
                self._transport.pause(AwsService.DYNAMODB, round_number)
        raise ThrottledError(
            "UnprocessedKeys",
            f"keys left unread after {_MAX_BATCH_ROUNDS} requests",
            200,
            operation="BatchGetItem",
            kind=FailureKind.THROTTLED,
        )

    def transact_write_items(
        self,
        actions: Sequence[TransactAction],
        *,
        client_request_token: str | None = None,
    ) -> None:
        """Write up to 100 items, all or none. Costs twice the units of the single writes.

        Args:
            actions: on distinct items.
            client_request_token: 1 to 36 characters; the same token and actions within ten minutes are
                applied once, which makes the call safe to repeat.

        Raises:
            ValueError: no action, or more than 100.
            TransactionCancelledError: a condition was false, or another write was in the way.
            AwsError: see `aws.errors`.
        """
        if not 1 <= len(actions) <= _MAX_TRANSACTION_ACTIONS:
            raise ValueError(f"a transaction takes 1 to {_MAX_TRANSACTION_ACTIONS} actions")
        fields: dict[str, Any] = {"TransactItems": [action.to_request() for action in actions]}
        if client_request_token is not None:
            fields["ClientRequestToken"] = client_request_token
        retry = RetryPolicy.UNPROCESSED if client_request_token is None else RetryPolicy.IDEMPOTENT
        self._call("TransactWriteItems", fields, retry)

    def _read(self, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        return self._call(operation, fields, RetryPolicy.IDEMPOTENT)

    def _call(self, operation: str, fields: dict[str, Any], retry: RetryPolicy) -> dict[str, Any]:
        return self._transport.send_for_object(
            AwsCall(
                service=AwsService.DYNAMODB,
                operation=operation,
                path="/",
                headers=_HEADERS[operation],
                body=_ENCODE(fields).encode(),
                retry=self._retry or retry,
                read_timeout_s=self._read_timeout_s,
            )
        )


def _default_retry(condition: str | None) -> RetryPolicy:
    return RetryPolicy.IDEMPOTENT if condition is None else RetryPolicy.UNPROCESSED
