"""Files and batches as items of the Jobs table. What no index or condition looks at is one JSON text."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.adapters.documents.bill import bill_of, bill_text, count_of, counted_text, settled_group
from tollgate.adapters.documents.reservation import reservation_document, reservation_of
from tollgate.adapters.dynamodb.jobs.items import time_of, time_text
from tollgate.domain.jobs.file_batches import (
    BatchFault,
    CountedPart,
    FileBatch,
    FileBatchStatus,
    FilePart,
    FilePurpose,
    FileState,
    StoredFile,
)
from tollgate.domain.jobs.job import Owner, Usage

_FILE_FIELDS = ("name", "size", "upload_id", "keep_seconds")
_BATCH_FIELDS = (
    *("endpoint", "input_file_id", "traceparent", "cut", "invalid_id", "total", "completed", "failed"),
    *("output_file_id", "error_file_id"),
)
_PART_FIELDS = (
    *("resource", "run_id", "lines", "chunks", "largest", "decided", "admitted", "refusal", "ended", "last_run"),
    *("outcome", "reason", "settled"),
)
PART = "part"
"""`run_state` of a counted part of a batch: neither a job, which callers could ask for, nor a run."""

_COSTS = ("estimated_cost", "effective_cost", "avoided_cost")


def file_document(file: StoredFile) -> str:
    """The JSON text of a file's record."""
    return json.dumps(
        {name: getattr(file, name) for name in _FILE_FIELDS}
        | {
            "owner": _owner_document(file.owner),
            "purpose": file.purpose.value,
            "state": file.state.value,
            "created_at": time_text(file.created_at),
            "expires_at": time_text(file.expires_at),
        }
        | ({} if file.claimed_until is None else {"claimed_until": time_text(file.claimed_until)})
    )


def file_of(file_id: str, text: str) -> StoredFile:
    """The record that `file_document` wrote."""
    found = json.loads(text)
    return StoredFile(
        file_id=file_id,
        owner=_owner_of(found["owner"]),
        purpose=FilePurpose(found["purpose"]),
        state=FileState(found["state"]),
        created_at=time_of(found["created_at"]),
        expires_at=time_of(found["expires_at"]),
        claimed_until=time_of(found["claimed_until"]) if "claimed_until" in found else None,
        **{name: found[name] for name in _FILE_FIELDS},
    )


def batch_document(batch: FileBatch) -> str:
    """The JSON text of a batch, without its revision."""
    return json.dumps(
        {name: getattr(batch, name) for name in _BATCH_FIELDS}
        | {name: _text(getattr(batch, name)) for name in _COSTS}
        | {
            "owner": _owner_document(batch.owner),
            "created_at": time_text(batch.created_at),
            "expires_at": time_text(batch.expires_at),
            "status": batch.status.value,
            "metadata": dict(batch.metadata),
            "output_seconds": batch.output_seconds,
            "parts": [_part_document(part) for part in batch.parts],
            "stop": None if batch.stop is None else batch.stop.value,
            "faults": [[fault.code, fault.message, fault.line] for fault in batch.faults],
            "usage": [batch.usage.input_tokens, batch.usage.output_tokens],
            "times": {status.value: time_text(moment) for status, moment in batch.times.items()},
        }
    )


def batch_of(batch_id: str, revision: int, text: str) -> FileBatch:
    """The batch that `batch_document` wrote."""
    found = json.loads(text)
    return FileBatch(
        batch_id=batch_id,
        revision=revision,
        owner=_owner_of(found["owner"]),
        created_at=time_of(found["created_at"]),
        expires_at=time_of(found["expires_at"]),
        status=FileBatchStatus(found["status"]),
        metadata=found["metadata"],
        output_seconds=found.get("output_seconds"),
        parts=tuple(_part_of(part) for part in found["parts"]),
        stop=None if found["stop"] is None else FileBatchStatus(found["stop"]),
        faults=tuple(BatchFault(*fault) for fault in found["faults"]),
        usage=Usage(*found["usage"]),
        times={FileBatchStatus(status): time_of(moment) for status, moment in found["times"].items()},
        **{name: found[name] for name in _BATCH_FIELDS},
        estimated_cost=_decimal(found["estimated_cost"]),
        effective_cost=_decimal(found["effective_cost"]),
        avoided_cost=_decimal(found["avoided_cost"]),
    )


def counted_part_item(part: CountedPart) -> dict[str, Any]:
    """The item of a counted part; the index `settled` finds it. No list of an owner does: its owner is in the JSON."""
    labels = {
        "owner": _owner_document(part.owner),
        "batch_id": part.batch_id,
        "status": part.status.value,
        "estimate": str(part.estimate),
    }
    return {
        "job_id": f"{part.run_id}#counted",
        "run_state": PART,
        "resource": part.resource,
        "bill": bill_text(part.count.bill),
        "counted": json.dumps(json.loads(counted_text(part.count)) | labels),
        "settled_at": time_text(part.count.bill.settled_at),
        "settled_group": settled_group(part.run_id, part.count.bill),
    }


def counted_part_of(item: Mapping[str, Any]) -> CountedPart:
    """The part of an item that `counted_part_item` wrote."""
    labels = json.loads(item["counted"])
    return CountedPart(
        run_id=item["job_id"].removesuffix("#counted"),
        batch_id=labels["batch_id"],
        owner=_owner_of(labels["owner"]),
        resource=item["resource"],
        status=FileBatchStatus(labels["status"]),
        estimate=Decimal(labels["estimate"]),
        count=count_of(item["counted"], bill_of(item["bill"], time_of(item["settled_at"]))),
    )


def _part_document(part: FilePart) -> Mapping[str, Any]:
    return {name: getattr(part, name) for name in _PART_FIELDS} | {
        "estimate": str(part.estimate),
        "seconds": _text(part.seconds),
        "earlier_seconds": str(part.earlier_seconds),
        "reservation": None if part.reservation is None else reservation_document(part.reservation),
    }


def _part_of(found: Mapping[str, Any]) -> FilePart:
    return FilePart(
        estimate=Decimal(found["estimate"]),
        seconds=_decimal(found["seconds"]),
        earlier_seconds=Decimal(found["earlier_seconds"]),
        reservation=None if found["reservation"] is None else reservation_of(found["reservation"]),
        **{name: found[name] for name in _PART_FIELDS},
    )


def _owner_document(owner: Owner) -> Mapping[str, Any]:
    return {
        "tenant": owner.tenant,
        "key_id": owner.key_id,
        "team": owner.team,
        "scopes": sorted(owner.scopes),
    }


def _owner_of(found: Mapping[str, Any]) -> Owner:
    return Owner(found["tenant"], found["key_id"], found["team"], frozenset(found["scopes"]))


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def epoch(moment: datetime) -> int:
    """Whole seconds since 1970, as DynamoDB's time to live wants them."""
    return int(moment.timestamp())
