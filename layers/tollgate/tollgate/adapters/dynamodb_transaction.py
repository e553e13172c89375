"""The actions of a DynamoDB transaction."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tollgate.adapters.dynamodb_values import to_attributes


def _shared(
    table: str,
    condition: str | None,
    names: Mapping[str, str] | None,
    values: Mapping[str, Any] | None,
    return_item_on_failure: bool,
) -> dict[str, Any]:
    fields: dict[str, Any] = {"TableName": table}
    if condition is not None:
        fields["ConditionExpression"] = condition
    if names:
        fields["ExpressionAttributeNames"] = names
    if values:
        fields["ExpressionAttributeValues"] = to_attributes(values)
    if return_item_on_failure:
        fields["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return fields


class TransactPut(NamedTuple):
    """Write a whole item."""

    table: str
    item: Mapping[str, Any]
    condition: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None
    return_item_on_failure: bool = False

    def to_request(self) -> dict[str, Any]:
        """The action in DynamoDB JSON."""
        fields = _shared(self.table, self.condition, self.names, self.values, self.return_item_on_failure)
        return {"Put": {**fields, "Item": to_attributes(self.item)}}


class TransactUpdate(NamedTuple):
    """Change an item in place."""

    table: str
    key: Mapping[str, Any]
    update: str
    condition: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None
    return_item_on_failure: bool = False

    def to_request(self) -> dict[str, Any]:
        """The action in DynamoDB JSON."""
        fields = _shared(self.table, self.condition, self.names, self.values, self.return_item_on_failure)
        return {"Update": {**fields, "Key": to_attributes(self.key), "UpdateExpression": self.update}}


class TransactDelete(NamedTuple):
    """Delete an item."""

    table: str
    key: Mapping[str, Any]
    condition: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None
    return_item_on_failure: bool = False

    def to_request(self) -> dict[str, Any]:
        """The action in DynamoDB JSON."""
        fields = _shared(self.table, self.condition, self.names, self.values, self.return_item_on_failure)
        return {"Delete": {**fields, "Key": to_attributes(self.key)}}


class TransactCheck(NamedTuple):
    """Change nothing, but let the transaction fail when the condition is false."""

    table: str
    key: Mapping[str, Any]
    condition: str
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None
    return_item_on_failure: bool = False

    def to_request(self) -> dict[str, Any]:
        """The action in DynamoDB JSON."""
        fields = _shared(self.table, self.condition, self.names, self.values, self.return_item_on_failure)
        return {"ConditionCheck": {**fields, "Key": to_attributes(self.key)}}


type TransactAction = TransactPut | TransactUpdate | TransactDelete | TransactCheck
