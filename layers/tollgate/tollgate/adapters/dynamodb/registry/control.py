"""The record of the brakes in the registry table.

Items: pk ``control``, sk ``brakes`` (the record) and pk ``control#<episode>``, sk ``0001``... (the steps). Nested parts
are JSON text, so that a record reads back byte for byte.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.adapters.aws.errors import AwsError, ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.domain.brakes.level import NO_CONTROL, BrakeLevel, Cause, Control
from tollgate.domain.errors import StorageError

_KEY = {"pk": "control", "sk": "brakes"}
REFRESH_SECONDS = 3.0
"""How old an environment's copy may get: with the ledger's five seconds, a brake is in force within ten."""


class RegistryControl:
    """The `BrakeSource` of AWS: one small read every three seconds, and only in stacks whose catalogue has brakes."""

    def __init__(self, client: DynamoDBClient, table: str, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._monotonic = monotonic
        self._copy: Control | None = None
        self._read_at = 0.0

    def in_force(self) -> Control:
        """See `BrakeSource`. Who has never read it does not know that spending is allowed, and refuses."""
        now = self._monotonic()
        if self._copy is not None and now - self._read_at < REFRESH_SECONDS:
            return self._copy
        try:
            item = self._client.get_item(self._table, _KEY)
            self._copy = NO_CONTROL if item is None else control_of(item)
        except AwsError as error:
            if self._copy is None:
                raise StorageError(f"The brakes cannot be read ({error.code}).", retry_after=5) from error
        self._read_at = now
        return self._copy


class RegistryControlStore:
    """The record's part of the `ControlStore` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self) -> Control:
        """See `ControlStore`."""
        with storage_errors("registry"):
            item = self._client.get_item(self._table, _KEY, consistent=True)
        return NO_CONTROL if item is None else control_of(item)

    def save(self, control: Control) -> Control | None:
        """See `ControlStore`. Only one of two writers of the same revision succeeds."""
        item = {**_KEY, **_item(control), "revision": control.revision + 1}
        with storage_errors("registry"):
            try:
                self._client.put_next(self._table, item, after=control.revision)
            except ConditionalCheckFailedError:
                return None
        return control_of(item)

    def query(self, partition: str) -> Sequence[Mapping[str, Any]]:
        """All items of a partition, in order."""
        values = {":pk": partition}
        with storage_errors("registry"):
            return list(self._client.query_all(self._table, key_condition="pk = :pk", values=values, consistent=True))

    def put_item(self, item: Mapping[str, Any]) -> None:
        """Store an item as it is."""
        with storage_errors("registry"):
            self._client.put_item(self._table, item)


def _item(control: Control) -> dict[str, Any]:
    causes = {
        name: {
            "level": cause.level.word,
            "observed_at": cause.observed_at.isoformat(),
            "until": text_of(cause.until),
            "reason": cause.reason,
            "dismissed": cause.dismissed,
        }
        for name, cause in control.causes.items()
    }
    values = {
        "level": control.level.word,
        "reason": control.reason,
        "since": text_of(control.since),
        "until": text_of(control.until),
        "episode": control.episode,
        "causes": json.dumps(causes, sort_keys=True),
        "announced": control.announced.word,
        "lease_until": text_of(control.lease_until),
    }
    return {name: value for name, value in values.items() if value is not None}


def control_of(item: Mapping[str, Any]) -> Control:
    """The record of an item."""
    return Control(
        revision=int(Decimal(item["revision"])),
        level=BrakeLevel.of(item["level"]),
        reason=item["reason"],
        since=moment_of(item.get("since")),
        until=moment_of(item.get("until")),
        episode=item["episode"],
        causes={
            name: Cause(
                level=BrakeLevel.of(entry["level"]),
                observed_at=datetime.fromisoformat(entry["observed_at"]),
                until=moment_of(entry["until"]),
                reason=entry["reason"],
                dismissed=entry["dismissed"],
            )
            for name, entry in json.loads(item["causes"]).items()
        },
        announced=BrakeLevel.of(item["announced"]),
        lease_until=moment_of(item.get("lease_until")),
    )


def text_of(moment: datetime | None) -> str | None:
    """A moment as text, to the microsecond."""
    return None if moment is None else moment.isoformat()


def moment_of(text: str | None) -> datetime | None:
    """The moment of a text."""
    return None if text is None else datetime.fromisoformat(text)
