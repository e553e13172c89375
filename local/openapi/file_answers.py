"""Shapes of the answers of the routes over files and batches."""

from typing import Literal

from local.openapi.answers import Answer


class File(Answer):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Literal["batch", "batch_output", "user_data"]
    status: Literal["processed"]


class FileList(Answer):
    """A page of files."""

    object: Literal["list"]
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(Answer):
    """A file that is there no more."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class Upload(Answer):
    """A file that comes in parts, or is PUT to `upload_url` as a whole."""

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled"]
    file: File | None
    upload_url: str | None


class UploadPart(Answer):
    """A part of it."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


class BatchFault(Answer):
    """Why a batch failed as a whole."""

    code: str
    message: str
    line: int | None


class BatchFaults(Answer):
    """All of them."""

    object: Literal["list"]
    data: list[BatchFault]


class RequestCounts(Answer):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class BatchCost(Answer):
    """What a batch costs, in dollars as decimal texts; null where not known."""

    deployments: list[str]
    estimated_cost_usd: str | None
    effective_cost_usd: str | None
    avoided_cost_usd: str | None


class Batch(Answer):
    """A batch."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchFaults | None
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    expires_at: int
    request_counts: RequestCounts
    metadata: dict[str, str] | None
    tollgate: BatchCost


class BatchList(Answer):
    """A page of batches, newest first."""

    object: Literal["list"]
    data: list[Batch]
    first_id: str | None
    last_id: str | None
    has_more: bool
