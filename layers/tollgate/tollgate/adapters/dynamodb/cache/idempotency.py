"""Idempotency keys in the cache table, for a day.

Items: cache_key ``idem#<hash of tenant and key>``; state ``running`` with a lease, or ``done`` with the packed answer.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.domain.errors import IdempotencyInProgressError, IdempotencyMismatchError
from tollgate.domain.jobs.job import Owner
from tollgate.ports.idempotency import REMEMBERED, StoredAnswer
from tollgate.ports.objects import WholeObjectStore

_INLINE_BYTES = 300_000


def _cache_key(owner: Owner, key: str) -> dict[str, str]:
    digest = hashlib.sha256(json.dumps([owner.tenant, key]).encode()).hexdigest()
    return {"cache_key": f"idem#{digest}"}


class DynamoDBIdempotency:
    """At most one run per tenant and idempotency key.

    A claim carries a lease: when its holder died, a later request with the same key takes over. Answers too large for
    an item go to the bucket.
    """

    def __init__(self, client: DynamoDBClient, table: str, objects: WholeObjectStore) -> None:
        self._client = client
        self._table = table
        self._objects = objects

    def claim(
        self, owner: Owner, key: str, fingerprint: str, *, now: datetime, lease_seconds: int
    ) -> StoredAnswer | None:
        """Claim the key; None means go ahead, an answer means that it was already given.

        Raises:
            IdempotencyMismatchError: the key was used with another payload.
            IdempotencyInProgressError: the first request is still running.
            StorageError: the table failed, so nobody can say whether this request is new.
        """
        moment = int(now.timestamp())
        item = {
            **_cache_key(owner, key),
            "state": "running",
            "fingerprint": fingerprint,
            "lease_until": moment + lease_seconds,
            "ttl": moment + int(REMEMBERED.total_seconds()),
        }
        with storage_errors("idempotency table"):
            try:
                self._client.put_item(
                    self._table,
                    item,
                    condition="attribute_not_exists(cache_key) OR #ttl < :now "
                    "OR (#state = :running AND lease_until < :now AND fingerprint = :fingerprint)",
                    names={"#ttl": "ttl", "#state": "state"},
                    values={":now": moment, ":running": "running", ":fingerprint": fingerprint},
                    return_item_on_failure=True,
                )
            except ConditionalCheckFailedError as refused:
                return self._earlier(refused.item or {}, fingerprint, moment)
        return None

    def _earlier(self, item: Mapping[str, Any], fingerprint: str, moment: int) -> StoredAnswer:
        if item.get("fingerprint") != fingerprint:
            raise IdempotencyMismatchError(
                "This Idempotency-Key was used with another request. Use a new key for a new request."
            )
        if item.get("state") != "done":
            wait = max(1, int(item.get("lease_until", moment)) - moment)
            raise IdempotencyInProgressError(
                "The first request with this Idempotency-Key is still running.", retry_after=min(wait, 30)
            )
        packed = item.get("answer") or self._objects.get(item["answer_key"]) or b""
        answer = json.loads(zlib.decompress(packed))
        return StoredAnswer(status=answer["status"], headers=answer["headers"], body=answer["body"])

    def complete(self, owner: Owner, key: str, fingerprint: str, answer: StoredAnswer, *, now: datetime) -> None:
        """Keep the answer for a day.

        Raises:
            StorageError: it could not be kept; a repetition after the lease may run again.
        """
        document = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
        packed = zlib.compress(json.dumps(document).encode(), 6)
        item: dict[str, Any] = {
            **_cache_key(owner, key),
            "state": "done",
            "fingerprint": fingerprint,
            "ttl": int((now + REMEMBERED).timestamp()),
        }
        if len(packed) <= _INLINE_BYTES:
            item["answer"] = packed
        else:
            item["answer_key"] = f"results/{item['cache_key'].replace('#', '/')}"
            self._objects.put(item["answer_key"], packed, content_type="application/octet-stream")
        with storage_errors("idempotency table"):
            self._client.put_item(self._table, item)

    def release(self, owner: Owner, key: str, fingerprint: str) -> None:
        """See `IdempotencyStore`."""
        with storage_errors("idempotency table"):
            try:
                self._client.delete_item(
                    self._table,
                    _cache_key(owner, key),
                    condition="fingerprint = :fingerprint AND #state = :running",
                    names={"#state": "state"},
                    values={":fingerprint": fingerprint, ":running": "running"},
                )
            except ConditionalCheckFailedError:
                return
