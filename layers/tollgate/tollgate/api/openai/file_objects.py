"""OpenAI's file, upload and batch objects.

https://platform.openai.com/docs/api-reference/files/object
https://platform.openai.com/docs/api-reference/batch/object
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tollgate.domain.jobs.file_batches import FileBatch, FileBatchStatus, FileState, StoredFile
from tollgate.domain.money import money_text
from tollgate.services.batches.uploads import UploadPart

_UPLOAD_STATUS: Mapping[FileState, str] = {
    FileState.PENDING: "pending",
    FileState.READY: "completed",
    FileState.CANCELLED: "cancelled",
}
_TIMES = {
    "in_progress_at": FileBatchStatus.IN_PROGRESS,
    "finalizing_at": FileBatchStatus.FINALIZING,
    "completed_at": FileBatchStatus.COMPLETED,
    "failed_at": FileBatchStatus.FAILED,
    "expired_at": FileBatchStatus.EXPIRED,
    "cancelling_at": FileBatchStatus.CANCELLING,
    "cancelled_at": FileBatchStatus.CANCELLED,
}


def file_document(file: StoredFile) -> dict[str, Any]:
    """A file."""
    return {
        "id": file.file_id,
        "object": "file",
        "bytes": file.size,
        "created_at": _epoch(file.created_at),
        "expires_at": _epoch(file.expires_at),
        "filename": file.name,
        "purpose": file.purpose.value,
        "status": "processed",
        "status_details": None,
    }


def upload_document(upload: StoredFile, *, url: str | None = None, file: StoredFile | None = None) -> dict[str, Any]:
    """An upload; `upload_url` is where the file is to be PUT, and is no field of OpenAI's."""
    return {
        "id": upload.file_id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": _epoch(upload.created_at),
        "expires_at": _epoch(upload.expires_at),
        "filename": upload.name,
        "purpose": upload.purpose.value,
        "status": _UPLOAD_STATUS[upload.state],
        "file": None if file is None else file_document(file),
        "upload_url": url,
    }


def part_document(part: UploadPart) -> dict[str, Any]:
    """A part of an upload."""
    return {
        "id": part.part_id,
        "object": "upload.part",
        "created_at": _epoch(part.created_at),
        "upload_id": part.upload_id,
    }


def batch_document(batch: FileBatch) -> dict[str, Any]:
    """A batch; what it costs is under `tollgate`, which is no field of OpenAI's."""
    faults = [
        {"code": fault.code, "message": fault.message, "param": None, "line": fault.line} for fault in batch.faults
    ]
    return {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": faults} if faults else None,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": batch.status.value,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": _epoch(batch.created_at),
        "expires_at": _epoch(batch.expires_at),
        **{name: _epoch(batch.times.get(status)) for name, status in _TIMES.items()},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": dict(batch.metadata) or None,
        "usage": _usage(batch),
        "tollgate": {
            "deployments": [part.resource for part in batch.parts],
            "estimated_cost_usd": money_text(batch.estimated_cost),
            "effective_cost_usd": money_text(batch.effective_cost),
            "avoided_cost_usd": money_text(batch.avoided_cost),
        },
    }


def list_document(entries: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A page of a list."""
    return {
        "object": "list",
        "data": entries,
        "first_id": entries[0]["id"] if entries else None,
        "last_id": entries[-1]["id"] if entries else None,
        "has_more": has_more,
    }


def _usage(batch: FileBatch) -> dict[str, Any] | None:
    read, made = batch.usage.input_tokens, batch.usage.output_tokens
    if read is None or made is None:
        return None
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + made,
    }


def _epoch(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
