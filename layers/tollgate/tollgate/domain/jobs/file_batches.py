"""Uploaded files, and batches of requests in such files, in OpenAI's terms.

validating -> in_progress -> finalizing -> completed | expired, with cancelling -> cancelled from either of the first
two, and failed where the file as a whole cannot be run. A batch is divided into one part for each deployment that its
lines go to, because a transform job runs one model. What a batch consists of is recorded before anything is started,
and every change of the record names the revision it was made from.

https://platform.openai.com/docs/api-reference/batch
"""

from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tollgate.domain.budgets.ledger import Reservation
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.batches import FileCount
from tollgate.domain.jobs.job import Owner, Usage
from tollgate.domain.json_values import refuse_half_pairs, strict_json
from tollgate.domain.money import ZERO

MOST_LINES = 50_000
"""OpenAI's limit on the number of requests in a batch."""

MOST_FILE_BYTES = 100_000_000
"""Most bytes in a batch's input file: 100 MB."""

MOST_LINE_BYTES = 8_000_000
MOST_LINE_VALUES = 400_000
"""Most JSON values in one line, so that the function that cuts files for many tenants has the memory to read it: there,
a value of a few bytes takes dozens."""

COMPLETION_WINDOW = timedelta(hours=24)
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
"""Endpoints that the lines of a batch may name."""

_SOURCE = "file-batch/"
_LONGEST_NAME = 512


class FilePurpose(StrEnum):
    """Purposes of files; only the gateway sets the last one."""

    BATCH = "batch"
    USER_DATA = "user_data"
    BATCH_OUTPUT = "batch_output"


class FileState(StrEnum):
    """A file is pending until all of it is in the bucket."""

    PENDING = "pending"
    READY = "ready"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file or a batch's result.

    Attributes:
        size: bytes; for a pending file, the number the caller announced.
        upload_id: in the record of an upload, the id of its resulting file; empty in a file's.
        keep_seconds: how long the caller wants it kept, if given.
        claimed_until: in the record of an upload, until when one call alone may complete it; None without a claim.
    """

    file_id: str
    owner: Owner
    name: str
    purpose: FilePurpose
    size: int
    created_at: datetime
    expires_at: datetime
    state: FileState = FileState.READY
    upload_id: str = ""
    keep_seconds: int | None = None
    claimed_until: datetime | None = None

    @property
    def key(self) -> str:
        """Its key in the bucket; an upload is stored elsewhere until it is complete."""
        return f"{uploads_of(self.file_id)}whole" if self.upload_id else f"files/{self.file_id}"


def uploads_of(upload_id: str) -> str:
    """Prefix of an upload's parts in the bucket."""
    return f"uploads/{upload_id}/"


class FileBatchStatus(StrEnum):
    """OpenAI's statuses."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


FINAL_STATUSES = frozenset(
    {FileBatchStatus.COMPLETED, FileBatchStatus.FAILED, FileBatchStatus.EXPIRED, FileBatchStatus.CANCELLED}
)
CANCELLABLE = frozenset({FileBatchStatus.VALIDATING, FileBatchStatus.IN_PROGRESS})


@dataclass(frozen=True, slots=True)
class FilePart:
    """The lines of a batch that go to one deployment, and the transform job that runs them.

    Attributes:
        run_id: of its first run.
        lines: number that can be run, in `chunks` input files.
        largest: bytes of the longest line.
        estimate: dollars that all of them are expected to cost.
        decided: whether the budgets were asked.
        admitted: how many input files may run, counted from the first; the others are over budget.
        refusal: the budgets' reason for refusing the others.
        ended: whether SageMaker has nothing more to report.
        last_run: the run that ended it: `run_id`, or the one that repeated what that left unanswered.
        seconds: instance seconds of each line of the last run, earlier ones included; None if unknown.
        earlier_seconds: instance seconds of each line that the first run answered, where there was a second.
        outcome: SageMaker's status of the last job, with its reason if it failed.
        settled: whether it is counted, and its reservation has become spend.
    """

    resource: str
    run_id: str
    lines: int
    chunks: int
    largest: int
    estimate: Decimal
    decided: bool = False
    admitted: int = 0
    refusal: str = ""
    reservation: Reservation | None = None
    ended: bool = False
    last_run: str = ""
    seconds: Decimal | None = None
    earlier_seconds: Decimal = ZERO
    outcome: str = ""
    reason: str | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class CountedPart:
    """A part of a batch as usage and export count it; written once, together with the spend.

    Attributes:
        run_id: of the part's first run.
        status: final status of its batch.
        estimate: dollars that its lines were expected to cost.
    """

    run_id: str
    batch_id: str
    owner: Owner
    resource: str
    status: FileBatchStatus
    estimate: Decimal
    count: FileCount


@dataclass(frozen=True, slots=True)
class BatchFault:
    """Why a batch failed as a whole; `line` is counted from 1."""

    code: str
    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class FileBatch:
    """A batch as OpenAI's clients see it, with what the gateway needs to run it.

    Attributes:
        invalid_id: name under which the lines that cannot be run are stored.
        cut: whether `parts` are known.
        stop: why it is being stopped: expired or cancelled; None while it runs.
        total, completed, failed: requests.
        effective_cost, avoided_cost: dollars; None until they are known.
        output_seconds: how long the caller wants the result files kept; None for the default.
    """

    batch_id: str
    owner: Owner
    endpoint: str
    input_file_id: str
    created_at: datetime
    expires_at: datetime
    status: FileBatchStatus = FileBatchStatus.VALIDATING
    metadata: Mapping[str, str] = field(default_factory=dict)
    output_seconds: int | None = None
    traceparent: str = ""
    revision: int = 0
    cut: bool = False
    invalid_id: str = ""
    parts: tuple[FilePart, ...] = ()
    stop: FileBatchStatus | None = None
    faults: tuple[BatchFault, ...] = ()
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    usage: Usage = field(default_factory=Usage)
    estimated_cost: Decimal | None = None
    effective_cost: Decimal | None = None
    avoided_cost: Decimal | None = None
    times: Mapping[FileBatchStatus, datetime] = field(default_factory=dict)

    def at(self, status: FileBatchStatus, now: datetime) -> "FileBatch":
        """The batch in another status, with the time recorded."""
        return replace(self, status=status, times={**self.times, status: now})

    def with_part(self, part: FilePart) -> "FileBatch":
        """The batch with this part replacing the one for the same run."""
        return replace(self, parts=tuple(part if p.run_id == part.run_id else p for p in self.parts))

    def part(self, run_id: str) -> FilePart | None:
        """The part of a run, or of the run that repeats it."""
        return next((p for p in self.parts if run_id == p.run_id or run_id.startswith(p.run_id + "-r")), None)

    @property
    def result_file_id(self) -> str:
        """Id of the file of answers; always the same, so that writing it again creates no second one."""
        return f"file-{self.batch_id.removeprefix('batch_')}-output"

    @property
    def fault_file_id(self) -> str:
        """Id of the file of errors."""
        return f"file-{self.batch_id.removeprefix('batch_')}-errors"

    @property
    def ending(self) -> FileBatchStatus:
        """The status in which it will end, unless it fails."""
        if self.stop is not None:
            return self.stop
        return FileBatchStatus.CANCELLED if FileBatchStatus.CANCELLING in self.times else FileBatchStatus.COMPLETED


def source_of(batch_id: str) -> str:
    """The source that the runs of a batch carry."""
    return _SOURCE + batch_id


def file_batch_of(source: str | None) -> str | None:
    """The batch that a run's source names; None for anything else."""
    return source.removeprefix(_SOURCE) if source is not None and source.startswith(_SOURCE) else None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One line of a batch's file."""

    custom_id: str
    body: Mapping[str, Any]


class BatchLineError(InvalidRequestError):
    """A line that cannot be run; `custom_id` is its own id, if it could be read."""

    def __init__(self, message: str, *, param: str | None = None, custom_id: str | None = None) -> None:
        super().__init__(message, param=param)
        self.custom_id = custom_id


def batch_line(line: bytes, endpoint: str) -> BatchLine:
    """Read a line ``{"custom_id", "method": "POST", "url", "body"}``.

    Raises:
        BatchLineError: it is malformed, too large, or names an endpoint other than its batch's.
    """
    _require_small(line)
    try:
        text = line.decode("utf-8-sig")
        value = strict_json(text)
    except ValueError as error:
        raise BatchLineError("The line is not valid JSON.") from error
    if not isinstance(value, dict):
        raise BatchLineError("The line is not a JSON object.")
    name = value.get("custom_id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise BatchLineError(f"'custom_id' must be a text of 1 to {_LONGEST_NAME} characters.", param="custom_id")
    try:
        refuse_half_pairs(value, text)
    except InvalidRequestError as error:
        raise BatchLineError(error.message, param=error.param, custom_id=name) from error
    if value.get("method") != "POST":
        raise BatchLineError("'method' must be POST.", param="method", custom_id=name)
    if value.get("url") != endpoint:
        message = f"'url' must be the batch's endpoint, {endpoint}."
        raise BatchLineError(message, param="url", custom_id=name)
    body = value.get("body")
    if not isinstance(body, dict):
        raise BatchLineError("'body' must be an object.", param="body", custom_id=name)
    if body.get("stream"):
        raise BatchLineError("A batch cannot stream.", param="stream", custom_id=name)
    return BatchLine(name, body)


def _require_small(line: bytes) -> None:
    if len(line) > MOST_LINE_BYTES:
        raise BatchLineError(f"A line may have at most {MOST_LINE_BYTES} bytes.")
    if sum(map(line.count, (b"[", b"{", b","))) > MOST_LINE_VALUES:
        raise BatchLineError(f"A line may have at most {MOST_LINE_VALUES} values.")
