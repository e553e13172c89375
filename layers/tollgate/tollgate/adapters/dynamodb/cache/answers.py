"""Cached answers in the cache table.

| item                       | holds                                                                              |
|----------------------------|------------------------------------------------------------------------------------|
| ``answer#<key>``           | fence, lease_until, job_id, strays; body or object, check, began, made, fresh, kept; |
|                            | when it was forgotten last                                                          |
| ``forgotten#<scope hash>`` | by name, when the scope's entries of that name were forgotten                      |

Times are milliseconds since 1970; `ttl` is in seconds, and DynamoDB deletes hours after it, so readers look at the
times themselves. Lease and answer are one item: a read shows both, and one condition guards both.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.cache.answer_packing import checksum, pack, unpack
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.domain.cache.entry import MOST_FORGOTTEN, CachedAnswer, CacheSlot, Forgotten
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.ports.objects import WholeObjectStore

INLINE_BYTES = 200_000
"""Larger bodies, after compression, lie in the bucket."""

OBJECT_PREFIX = "cache/"

_WHAT = "cache table"
_TIMES = ("began", "made", "fresh", "kept")
_MARGIN_SECONDS = 3_600
_FORGOTTEN_SECONDS = 3 * 86_400
"""Longer than any entry lives."""

_FOREVER_MS = 2**53


class DynamoDBAnswers:
    """The `AnswerStore` of AWS. Its client should give up early: a slow cache is worse than none."""

    def __init__(self, client: DynamoDBClient, table: str, objects: WholeObjectStore) -> None:
        self._client = client
        self._table = table
        self._objects = objects

    def read(self, key: str, forgotten_of: str | None = None) -> tuple[CacheSlot, Forgotten | None]:
        """See `AnswerStore`."""
        wanted = _item_key(key)
        with storage_errors(_WHAT):
            if forgotten_of is None:
                found = self._client.get_item(self._table, wanted)
                return self._slot(key, found), None
            marker = _forgotten_key(forgotten_of)
            items = self._client.batch_get_item({self._table: [wanted, marker]})[self._table]
        by_key = {item["cache_key"]: item for item in items}
        forgotten = by_key.get(marker["cache_key"], {})
        at_ms = {name[2:]: int(value) for name, value in forgotten.items() if name.startswith("f:")}
        return self._slot(key, by_key.get(wanted["cache_key"])), Forgotten(at_ms)

    def read_many(self, keys: Sequence[str]) -> Mapping[str, CachedAnswer]:
        """See `AnswerStore`."""
        names = {f"answer#{key}": key for key in keys}
        with storage_errors(_WHAT):
            items = self._client.batch_get_item({self._table: [{"cache_key": name} for name in names]})[self._table]
        found = {names[item["cache_key"]]: self._answer(names[item["cache_key"]], item) for item in items}
        return {key: answer for key, answer in found.items() if answer is not None}

    def lead(
        self, key: str, seen: CacheSlot, *, scope: str, now_ms: int, until_ms: int, job_id: str = ""
    ) -> CacheSlot | None:
        """See `AnswerStore`."""
        kept_ms = seen.answer.kept_ms if seen.answer is not None else 0
        with storage_errors(_WHAT):
            try:
                self._client.update_item(
                    self._table,
                    _item_key(key),
                    update="SET fence = :fence, lease_until = :until, strays = :none, #scope = :scope, #ttl = :ttl, "
                    "job_id = :job",
                    condition="(attribute_not_exists(fence) OR fence = :seen) "
                    "AND (attribute_not_exists(lease_until) OR lease_until <= :now)",
                    names={"#ttl": "ttl", "#scope": "scope"},
                    values={
                        ":fence": seen.fence + 1,
                        ":seen": seen.fence,
                        ":until": until_ms,
                        ":now": now_ms,
                        ":none": 0,
                        ":scope": scope,
                        ":job": job_id,
                        ":ttl": max(kept_ms, until_ms) // 1000 + _MARGIN_SECONDS,
                    },
                    return_item_on_failure=True,
                )
            except ConditionalCheckFailedError as refused:
                return self._slot(key, refused.item)
        return None

    def store(self, ticket: CacheTicket, answer: CachedAnswer) -> bool:
        """See `AnswerStore`.

        Raises:
            ValueError: the answer cannot be written as JSON.
        """
        body = pack(answer)
        times = (answer.began_ms, answer.made_ms, answer.fresh_ms, answer.kept_ms)
        kept: dict[str, Any] = {
            "scope": ticket.scope,
            "check": checksum(ticket.key, times, body),
            "ttl": answer.kept_ms // 1000 + _MARGIN_SECONDS,
            **dict(zip(_TIMES, times, strict=True)),
        }
        if len(body) <= INLINE_BYTES:
            kept["body"] = body
        else:
            # A name of its own for each answer: a slow writer never changes what a faster one points to.
            kept["object"] = f"{OBJECT_PREFIX}{ticket.key}/{kept['check'][:16]}"
            self._objects.put(kept["object"], body, content_type="application/octet-stream")
        gone = ["#object" if "body" in kept else "#body"]
        values = {f":{name}": value for name, value in kept.items()}
        if ticket.fence:
            gone += ["lease_until", "job_id", "strays"]
            values[":fence"] = ticket.fence
        sets = ", ".join(f"#{name} = :{name}" for name in kept)
        return self._change(
            ticket.key,
            f"SET {sets} REMOVE {', '.join(gone)}",
            "fence = :fence" if ticket.fence else "attribute_not_exists(forgotten) OR forgotten < :began",
            values,
            {f"#{name}": name for name in (*kept, gone[0][1:])},
        )

    def release(self, ticket: CacheTicket) -> None:
        """See `AnswerStore`."""
        if ticket.fence:
            self._change(ticket.key, "REMOVE lease_until, job_id", "fence = :fence", {":fence": ticket.fence})

    def stray(self, key: str, most: int) -> bool:
        """See `AnswerStore`."""
        values = {":one": 1, ":most": most}
        return most > 0 and self._change(
            key, "ADD strays :one", "attribute_not_exists(strays) OR strays < :most", values
        )

    def forget(self, key: str, scope: str, now_ms: int) -> bool:
        """See `AnswerStore`.

        A run that has begun cannot bring the entry back: the fence moves on, and for runs without one the time stays.
        """
        gone = ", ".join(("body", "#object", "#check", "lease_until", "job_id", *_TIMES))
        return self._change(
            key,
            f"SET forgotten = :now, #ttl = :ttl REMOVE {gone} ADD fence :one",
            "#scope = :scope",
            {":one": 1, ":scope": scope, ":now": now_ms, ":ttl": now_ms // 1000 + _FORGOTTEN_SECONDS},
            {"#scope": "scope", "#object": "object", "#check": "check", "#ttl": "ttl"},
        )

    def forget_all(self, scope: str, what: str, now_ms: int) -> None:
        """See `AnswerStore`."""
        marker, name, expires = _forgotten_key(scope), f"f:{what}", now_ms // 1000 + _FORGOTTEN_SECONDS
        with storage_errors(_WHAT):
            found = self._client.get_item(self._table, marker, consistent=True) or {}
            if name not in found and sum(known.startswith("f:") for known in found) >= MOST_FORGOTTEN:
                # Whoever forgets everything forgets each of these, too.
                self._client.put_item(self._table, {**marker, "f:all": now_ms, "ttl": expires})
                return
            self._client.update_item(
                self._table,
                marker,
                update="SET #what = :now, #ttl = :ttl",
                names={"#what": name, "#ttl": "ttl"},
                values={":now": now_ms, ":ttl": expires},
            )

    def _change(
        self,
        key: str,
        update: str,
        condition: str | None,
        values: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
    ) -> bool:
        with storage_errors(_WHAT):
            try:
                self._client.update_item(
                    self._table, _item_key(key), update=update, condition=condition, values=values, names=names
                )
            except ConditionalCheckFailedError:
                return False
        return True

    def _slot(self, key: str, item: Mapping[str, Any] | None) -> CacheSlot:
        if item is None:
            return CacheSlot()
        try:
            fence, lease_until = int(item.get("fence", 0)), int(item.get("lease_until", 0))
        except (TypeError, ValueError):
            # Nobody can lead under a damaged fence: it is as if somebody did who never answers, until the item expires.
            return CacheSlot(lease_until_ms=_FOREVER_MS)
        return CacheSlot(self._answer(key, item), fence, lease_until, item.get("job_id", ""))

    def _answer(self, key: str, item: Mapping[str, Any]) -> CachedAnswer | None:
        """The answer, None where there is none or where it is not what was written under this key."""
        if "check" not in item:
            return None
        try:
            began, made, fresh, kept = times = tuple(int(item[name]) for name in _TIMES)
            body = item["body"] if "body" in item else self._objects.get(item["object"])
            if body is None or checksum(key, (began, made, fresh, kept), body) != item["check"]:
                return None
            return unpack(body, began_ms=times[0], made_ms=times[1], fresh_ms=times[2], kept_ms=times[3])
        except (KeyError, TypeError, ValueError, ArithmeticError, zlib.error):
            return None


def _item_key(key: str) -> dict[str, str]:
    return {"cache_key": f"answer#{key}"}


def _forgotten_key(scope: str) -> dict[str, str]:
    return {"cache_key": f"forgotten#{hashlib.sha256(scope.encode('utf-8', 'surrogatepass')).hexdigest()}"}
