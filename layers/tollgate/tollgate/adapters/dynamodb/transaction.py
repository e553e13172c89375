"""The actions of a DynamoDB transaction, and what they share with single writes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tollgate.adapters.dynamodb.values import to_attributes


def write_fields(
    table: str,
    condition: str | None,
    names: Mapping[str, str] | None,
    values: Mapping[str, Any] | None,
    *,
    return_item_on_failure: bool = False,
) -> dict[str, Any]:
    """The parts that all writes share, in DynamoDB JSON."""
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

    def to_request(self) -> dict[str, Any]:
        """The action in DynamoDB JSON."""
        fields = write_fields(self.table, self.condition, self.names, self.values)
        return {"Put": fields | {"Item": to_attributes(self.item)}}


class TransactUpdate(NamedTuple):
    """Change an item in place; a false condition returns the item as it is."""

    table: str
    key: Mapping[str, Any]
    update: str
    condition: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None

    def to_request(self) -> dict[str, Any]:
        """The action in DynamoDB JSON."""
        fields = write_fields(
            self.table, self.condition, self.names, self.values, return_item_on_failure=self.condition is not None
        )
        return {"Update": fields | {"Key": to_attributes(self.key), "UpdateExpression": self.update}}


type TransactAction = TransactPut | TransactUpdate
