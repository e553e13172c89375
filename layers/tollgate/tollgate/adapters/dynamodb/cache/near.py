"""The index of near-duplicates in the cache table.

| item                   | holds                                                                    |
|------------------------|--------------------------------------------------------------------------|
| ``near#<bucket>``      | entries packed, 49 bytes each at most, 64 of them at most; check, version |
| ``near-text#<entry>``  | key, context, prompt, made, expires, vector where there is one, check    |
| ``near-guard#<model>`` | see `NearGuard.document`; it has no `ttl`                                  |

A bucket of 64 entries has about 3 KB, so each read of one is half a unit however many entries a model has. Bucket
names are digests over tenant, model and everything else that must be equal, so no two tenants touch the same item
unless they share a namespace, and writes spread over as many partitions as there are pairs of words.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.domain.near.guard import NearGuard
from tollgate.domain.near.index import NearEntry, admit
from tollgate.domain.near.record import FiledPrompt, NearShelf
from tollgate.domain.near.signature import NearSignature

WRITE_TRIES = 3
"""For each bucket, where others write to it at the same time. An entry that is then in too few buckets is found less
often, which costs a hit and nothing else."""

_WHAT = "cache table"
_MARGIN_SECONDS = 3_600
_HEAD = struct.Struct(">16sIB")


class DynamoDBNear:
    """The `NearStore` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def shelf(self, buckets: Sequence[str], model: str) -> NearShelf:
        """See `NearStore`."""
        names = [_bucket_name(bucket) for bucket in buckets]
        items = self._items([*names, _guard_name(model)])
        return NearShelf(
            buckets=tuple(_entries(name, items.get(name)) for name in names), guard=items.get(_guard_name(model))
        )

    def prompts(self, ids: Sequence[str]) -> Mapping[str, FiledPrompt]:
        """See `NearStore`."""
        items = self._items([_text_name(each) for each in ids])
        found = (_filed(items.get(_text_name(each))) for each in ids)
        return {filed.entry_id: filed for filed in found if filed is not None and filed.entry_id in ids}

    def file(self, filed: FiledPrompt, entry: NearEntry, buckets: Sequence[str], now_s: int) -> None:
        """See `NearStore`. The prompt is written first, so that no entry ever points to one that is yet to come."""
        with storage_errors(_WHAT):
            self._client.put_item(
                self._table,
                {
                    "cache_key": _text_name(filed.entry_id),
                    "key": filed.key,
                    "context": filed.context_key,
                    # As bytes, for a text may hold half a surrogate pair, which a string of DynamoDB cannot.
                    "prompt": filed.prompt.encode("utf-8", "surrogatepass"),
                    "made": filed.made_ms,
                    "expires": filed.expires_s,
                    **({"vector": filed.vector} if filed.vector else {}),
                    "check": filed.check(),
                    "ttl": filed.expires_s + _MARGIN_SECONDS,
                },
            )
        names = [_bucket_name(bucket) for bucket in buckets]
        items = self._items(names)
        for name in names:
            self._add(name, items.get(name), entry, now_s)

    def drop(self, entry_id: str) -> None:
        """See `NearStore`."""
        with storage_errors(_WHAT):
            self._client.delete_item(self._table, {"cache_key": _text_name(entry_id)})

    def guard(self, model: str) -> Mapping[str, object] | None:
        """See `NearStore`."""
        with storage_errors(_WHAT):
            return self._client.get_item(self._table, {"cache_key": _guard_name(model)}, consistent=True)

    def put_guard(self, model: str, guard: NearGuard) -> bool:
        """See `NearStore`."""
        item = {"cache_key": _guard_name(model), **guard.document()}
        return self._put(item, guard.version - 1)

    def _items(self, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        with storage_errors(_WHAT):
            items = self._client.batch_get_item({self._table: [{"cache_key": name} for name in names]})[self._table]
        return {item["cache_key"]: item for item in items}

    def _add(self, name: str, item: Mapping[str, Any] | None, entry: NearEntry, now_s: int) -> None:
        for _ in range(WRITE_TRIES):
            entries = _entries(name, item)
            if entry in entries:
                return
            version = 0 if item is None else int(item.get("version", 0))
            kept = admit(entries, entry, now=now_s)
            packed = b"".join(_packed(each) for each in kept)
            new = {
                "cache_key": name,
                "entries": packed,
                "check": _check(name, packed),
                "version": version + 1,
                "ttl": max(each.expires_at for each in kept) + _MARGIN_SECONDS,
            }
            if self._put(new, version):
                return
            with storage_errors(_WHAT):
                item = self._client.get_item(self._table, {"cache_key": name}, consistent=True)

    def _put(self, item: Mapping[str, Any], version: int) -> bool:
        """Write an item over the one of this version, 0 where there must be none."""
        with storage_errors(_WHAT):
            try:
                self._client.put_item(
                    self._table,
                    item,
                    condition="#version = :seen" if version else "attribute_not_exists(#version)",
                    names={"#version": "version"},
                    values={":seen": version} if version else None,
                )
            except ConditionalCheckFailedError:
                return False
        return True


def _packed(entry: NearEntry) -> bytes:
    signature = entry.signature.pack()
    return _HEAD.pack(bytes.fromhex(entry.entry_id), entry.expires_at, len(signature)) + signature


def _entries(name: str, item: Mapping[str, Any] | None) -> tuple[NearEntry, ...]:
    """The entries of a bucket, oldest first; none of one that is damaged or was written under another name."""
    if item is None:
        return ()
    packed = item.get("entries")
    if not isinstance(packed, bytes) or item.get("check") != _check(name, packed):
        return ()
    return tuple(_unpacked(packed))


def _unpacked(packed: bytes) -> Iterator[NearEntry]:
    place = 0
    while place < len(packed):
        name, expires, size = _HEAD.unpack_from(packed, place)
        place += _HEAD.size
        yield NearEntry(name.hex(), NearSignature.unpack(packed[place : place + size]), expires)
        place += size


def _check(name: str, packed: bytes) -> str:
    return hashlib.sha256(name.encode() + packed).hexdigest()[:32]


def _filed(item: Mapping[str, Any] | None) -> FiledPrompt | None:
    """The prompt of an item, None where it is not what was written."""
    if item is None:
        return None
    try:
        prompt = item["prompt"].decode("utf-8", "surrogatepass")
        filed = FiledPrompt(
            item["key"], item["context"], prompt, int(item["made"]), int(item["expires"]), item.get("vector", b"")
        )
        return filed if item.get("check") == filed.check() else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _bucket_name(bucket: str) -> str:
    return f"near#{bucket}"


def _text_name(entry_id: str) -> str:
    return f"near-text#{entry_id}"


def _guard_name(model: str) -> str:
    return f"near-guard#{model}"
