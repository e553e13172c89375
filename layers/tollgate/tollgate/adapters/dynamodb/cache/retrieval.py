"""Clients' own results in the cache table: items ``kept#<hash of tenant, namespace and key>``."""

import hashlib
import json
import zlib

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.domain.cache.retrieval import KeptValue
from tollgate.domain.json_values import json_text

_WHAT = "cache table"
_MARGIN_SECONDS = 3_600


class DynamoDBRetrieval:
    """The `RetrievalStore` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, tenant: str, namespace: str, key: str, value: KeptValue) -> None:
        """See `RetrievalStore`."""
        name = _item_key(tenant, namespace, key)
        body = zlib.compress(json_text(value.value).encode(), 6)
        item = {
            **name,
            "body": body,
            "made": value.made_ms,
            "expires": value.expires_ms,
            "check": _checksum(name["cache_key"], value.made_ms, value.expires_ms, body),
            "ttl": value.expires_ms // 1000 + _MARGIN_SECONDS,
        }
        with storage_errors(_WHAT):
            self._client.put_item(self._table, item)

    def get(self, tenant: str, namespace: str, key: str) -> KeptValue | None:
        """See `RetrievalStore`."""
        name = _item_key(tenant, namespace, key)
        with storage_errors(_WHAT):
            item = self._client.get_item(self._table, name)
        if item is None:
            return None
        try:
            made, expires, body = int(item["made"]), int(item["expires"]), item["body"]
            if _checksum(name["cache_key"], made, expires, body) != item["check"]:
                return None
            return KeptValue(json.loads(zlib.decompress(body)), made, expires)
        except (KeyError, TypeError, ValueError, ArithmeticError, zlib.error):
            return None

    def delete(self, tenant: str, namespace: str, key: str) -> None:
        """See `RetrievalStore`."""
        with storage_errors(_WHAT):
            self._client.delete_item(self._table, _item_key(tenant, namespace, key))


def _item_key(tenant: str, namespace: str, key: str) -> dict[str, str]:
    # A list in JSON cannot be cut in two ways, so no tenant's key is ever another's.
    return {"cache_key": f"kept#{hashlib.sha256(json.dumps([tenant, namespace, key]).encode()).hexdigest()}"}


def _checksum(key: str, made: int, expires: int, body: bytes) -> str:
    return hashlib.sha256(f"{key} {made} {expires} ".encode() + body).hexdigest()
