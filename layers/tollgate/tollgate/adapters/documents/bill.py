"""How an ended job is counted, as attributes of its item.

`settled_group` puts it into the sparse index `settled`: the slice of time in which it ended, and one of a few shards,
because one partition of an index takes 1,000 writes a second.
"""

import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.jobs.batches import FileCount
from tollgate.domain.jobs.job import Bill
from tollgate.domain.spans import slice_of

SHARDS = 4


def settled_groups(slice_start: datetime) -> tuple[str, ...]:
    """All groups of the index for a slice."""
    return tuple(f"{slice_start:%Y-%m-%dT%H:%M}#{shard}" for shard in range(SHARDS))


def settled_group(name: str, bill: Bill) -> str:
    """The group of something that has ended."""
    return settled_groups(slice_of(bill.settled_at))[zlib.crc32(name.encode()) % SHARDS]


def bill_text(bill: Bill) -> str:
    """The bill as JSON, without its time."""
    fields: dict[str, Any] = {
        "charged": str(bill.charged),
        "instance": None if bill.instance is None else str(bill.instance),
        "avoided": {reason.value: str(amount) for reason, amount in bill.avoided.items()} or None,
        "variant": bill.variant or None,
    }
    return _known(fields)


def bill_of(text: str, settled_at: datetime) -> Bill:
    """What `bill_text` wrote."""
    fields: Mapping[str, Any] = json.loads(text)
    return Bill(
        settled_at=settled_at,
        charged=Decimal(fields["charged"]),
        instance=Decimal(fields["instance"]) if "instance" in fields else None,
        avoided={AvoidedReason(reason): Decimal(amount) for reason, amount in fields.get("avoided", {}).items()},
        variant=fields.get("variant", ""),
    )


def counted_text(count: FileCount) -> str:
    """The count of a dropped file or a part of a batch as JSON, without its bill."""
    fields: dict[str, Any] = {
        "requests": count.requests,
        "errors": count.errors,
        "input_tokens": count.input_tokens,
        "output_tokens": count.output_tokens,
        "effective": None if count.effective is None else str(count.effective),
        "held_seconds": None if count.held_seconds is None else str(count.held_seconds),
        "unknown_tokens": count.unknown_tokens or None,
    }
    return _known(fields)


def count_of(text: str, bill: Bill) -> FileCount:
    """What `counted_text` wrote."""
    fields: Mapping[str, Any] = json.loads(text)
    return FileCount(
        bill=bill,
        requests=fields["requests"],
        errors=fields["errors"],
        input_tokens=fields["input_tokens"],
        output_tokens=fields["output_tokens"],
        effective=Decimal(fields["effective"]) if "effective" in fields else None,
        held_seconds=Decimal(fields["held_seconds"]) if "held_seconds" in fields else None,
        unknown_tokens=fields.get("unknown_tokens", 0),
    )


def _known(fields: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in fields.items() if value is not None}, separators=(",", ":"))
