"""API keys in the registry table: pk ``key#<sha256 of the secret>``, sk ``key``. The secret itself is nowhere."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.domain.keys import KeyRecord


def key_hash(secret: str) -> str:
    """SHA-256 in hex. Secrets carry 256 random bits, so a slow password hash would add nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(hashed: str) -> dict[str, str]:
    return {"pk": f"key#{hashed}", "sk": "key"}


class RegistryKeys:
    """Looks keys up and, for the command line, stores and disables them."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def find(self, key_hash: str) -> KeyRecord | None:
        """The key with this hash.

        Raises:
            StorageError: the registry cannot be read.
        """
        with storage_errors("key registry"):
            item = self._client.get_item(self._table, _key(key_hash))
        return None if item is None else _record(item)

    def find_all(self, hashes: Sequence[str]) -> Sequence[KeyRecord]:
        """The keys with these hashes, 1 to 100, in any order; those that are not there are left out.

        Raises:
            StorageError: the registry cannot be read.
        """
        with storage_errors("key registry"):
            found = self._client.batch_get_item({self._table: [_key(hashed) for hashed in hashes]})
        return [_record(item) for item in found[self._table]]

    def store(self, hashed: str, record: KeyRecord) -> None:
        """Store or replace a key."""
        item: dict[str, Any] = {
            **_key(hashed),
            "key_id": record.key_id,
            "tenant": record.tenant,
            "team": record.team,
            "scopes": sorted(record.scopes),
            "created_at": record.created_at.isoformat(),
            "disabled": record.disabled,
        }
        if record.expires_at is not None:
            item["expires_at"] = record.expires_at.isoformat()
        with storage_errors("key registry"):
            self._client.put_item(self._table, item)


def _record(item: Mapping[str, Any]) -> KeyRecord:
    expires = item.get("expires_at")
    return KeyRecord(
        key_id=item["key_id"],
        tenant=item["tenant"],
        team=item.get("team", ""),
        scopes=frozenset(item["scopes"]),
        created_at=datetime.fromisoformat(item["created_at"]),
        disabled=bool(item.get("disabled")),
        expires_at=datetime.fromisoformat(expires) if expires else None,
    )
