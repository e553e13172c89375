"""What the services need from outside, as protocols with at least two real implementations each.

The AWS implementations are in `tollgate.adapters`, the ones for tests in `tests/fakes`; one contract suite runs against
both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from tollgate.domain.capacity import Capacity
from tollgate.domain.catalogue import Catalogue, Deployment, InferenceType, Road
from tollgate.domain.jobs import Job, JobState, Owner
from tollgate.domain.keys import KeyRecord
from tollgate.domain.ledger import Counter, LedgerWrite, WorkflowCall
from tollgate.domain.records import RequestRecord

if TYPE_CHECKING:
    # Only functions of the later roads need these at run time; the gateway must not pay for them.
    from tollgate.domain.batches import BatchRun, BatchState
    from tollgate.domain.price_refresh import FoundPrice, PriceRecord
    from tollgate.domain.webhooks import WebhookUrl


class Clock(Protocol):
    """Time, so that tests can move it."""

    def now(self) -> datetime:
        """The present moment, in UTC."""

    def monotonic(self) -> float:
        """Seconds for measuring durations."""


class IdSource(Protocol):
    """Names for new things."""

    def new(self, prefix: str) -> str:
        """A name like ``inf_...``: unique, sortable by time, at most 64 characters of [A-Za-z0-9_]."""


class CatalogueSource(Protocol):
    """The current catalogue, read again after a few seconds at most."""

    def current(self) -> Catalogue:
        """The catalogue in force.

        Raises:
            CatalogueError: none was applied yet.
            StorageError: it cannot be read and there is no earlier copy.
        """


class CapacitySource(Protocol):
    """What was last observed of the deployments, a few seconds old at most."""

    def snapshot(self) -> Capacity:
        """Latest observations; empty when they cannot be read, for routing can do without."""


class DurationRecorder(Protocol):
    """Keeps how long requests really took."""

    def record(self, resource: str, inference_type: InferenceType, held_seconds: float) -> None:
        """Add one finished request. May be kept back and written with others."""


class BacklogRecorder(Protocol):
    """Keeps how many requests wait, for routing."""

    def record_backlog(
        self, resource: str, inference_type: InferenceType, backlog: int, *, observed_at: datetime
    ) -> None:
        """Note the requests accepted and not finished on one road of a deployment.

        Raises:
            StorageError
        """


class Telemetry(Protocol):
    """Metrics and log lines."""

    def request(self, record: RequestRecord) -> None:
        """The canonical line and metric record of one request."""

    def log(self, level: str, message: str, **fields: Any) -> None:
        """One structured line: a static message and its fields, never prompts, bodies or secrets."""

    def count(self, metric: str, value: float = 1, *, unit: str = "Count") -> None:
        """A metric without dimensions."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What a container answered.

    Attributes:
        seconds: wall time of the call as seen by the gateway.
        variant: production variant that served it, if the endpoint said so.
    """

    body: bytes
    content_type: str
    seconds: float
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What a client's receiver said; `retry_after` in seconds if it asked for that."""

    status: int
    retry_after: int | None = None


class WebhookSender(Protocol):
    """Calls a client's URL, once, and only at an address that was checked."""

    def send(self, url: "WebhookUrl", headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """POST the body. Redirects are answers like any other, they are not followed.

        Raises:
            WebhookRefusedError: none of the host's addresses may be reached.
            WebhookUnreachableError: there was no answer.
        """


class WebhookSecrets(Protocol):
    """Signing secrets by tenant."""

    def of(self, tenant: str) -> Sequence[str]:
        """The tenant's ``whsec_`` secrets, newest first: one, two while it changes over, none if it never got one.

        Raises:
            StorageError: they cannot be read.
        """


class RealtimeBackend(Protocol):
    """An endpoint that answers while the caller waits."""

    def invoke(self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str) -> ModelAnswer:
        """Run the model now.

        Raises:
            ModelFailedError, CapacityError, BackendThrottledError, BackendTimeoutError, BackendError.
        """


@dataclass(frozen=True, slots=True)
class AsyncSubmission:
    """Where an accepted asynchronous invocation will put its result (``s3://`` locations)."""

    output_location: str
    failure_location: str | None


class AsyncBackend(Protocol):
    """An endpoint with a queue before it."""

    def submit(
        self,
        road: Road,
        body: bytes,
        content_type: str,
        *,
        inference_id: str,
        request_ttl_seconds: int,
        timeout_seconds: int,
        trace: str,
    ) -> AsyncSubmission:
        """Hand a request over; large bodies travel through the bucket.

        Raises:
            CapacityError, BackendThrottledError: certainly not taken; may work later.
            BackendTimeoutError: taken or not, nobody knows.
            BackendError: refused, and always will be.
            StorageError: the bucket failed.
        """


@dataclass(frozen=True, slots=True)
class TransformJob:
    """One transform job over the input files below `input_prefix`. Keys are bucket keys without the bucket.

    Every line of the files is ``{"id": ..., "body": <what the container gets>}``; every line of an output file is
    ``{"id": ..., "SageMakerOutput": <what it answered>}``, in the order of the input file.

    Attributes:
        largest_record: bytes of the longest line.
    """

    name: str
    road: Road
    input_prefix: str
    output_prefix: str
    content_type: str
    largest_record: int


@dataclass(frozen=True, slots=True)
class TransformStatus:
    """State of a transform job as SageMaker tells it: InProgress, Completed, Failed, Stopping, Stopped."""

    name: str
    status: str
    failure_reason: str | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in {"Completed", "Failed", "Stopped"}


class TransformBackend(Protocol):
    """Batch transform."""

    def start(self, job: TransformJob) -> None:
        """Start the job. Starting a name that exists already is not an error: the first call worked.

        Raises:
            CapacityError, BackendThrottledError: not now; may work later.
            BackendError: refused, and always will be.
        """

    def describe(self, name: str) -> TransformStatus | None:
        """State of the job, None if there is no such job."""

    def stop(self, name: str) -> None:
        """Ask for an end; no error if it has ended."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of jobs; `after` continues it."""

    jobs: Sequence[Job]
    after: str | None


class JobStore(Protocol):
    """Jobs, changed by conditional writes only."""

    def add(self, job: Job, charges: Sequence[LedgerWrite] = ()) -> None:
        """Store a new job, together with these writes on the ledger.

        Raises:
            ConflictError: the id exists.
            LedgerRefusedError: the ledger refused, so there is no job either.
            StorageError
        """

    def get(self, job_id: str) -> Job | None:
        """The job, read consistently."""

    def get_many(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """The jobs with these ids, read consistently, in the order asked for; missing ones are left out."""

    def list_of(self, owner: Owner, *, state: JobState | None, limit: int, after: str | None) -> JobPage:
        """Jobs of the owner's tenant, newest first. A short page is possible; `after` says whether more may follow.

        Raises:
            InvalidRequestError: `after` is not a cursor from an earlier page.
        """

    def change(
        self,
        job: Job,
        *,
        expected: frozenset[JobState],
        lease_free_at: datetime | None = None,
        charges: Sequence[LedgerWrite] = (),
    ) -> bool:
        """Replace the job if its stored state is one of `expected`, together with these writes on the ledger.

        With `lease_free_at`, the stored submit lease must be absent or not later than that time.

        Returns:
            Whether the job was changed.

        Raises:
            LedgerRefusedError: the ledger refused, so the job was not changed either.
            StorageError
        """

    def open_since(self, before: datetime, *, limit: int, after: str | None = None) -> JobPage:
        """Jobs without a final state, or with a webhook still to deliver, created before then.

        Oldest first within each road of each deployment. A short page is possible; only `after` None ends the list.
        """

    def waiting_for_batch(self, resource: str, *, limit: int) -> Sequence[Job]:
        """Queued batch jobs of one deployment, oldest first. Very recent ones may be missing."""

    def count_open(self, resource: str, inference_type: InferenceType) -> int:
        """Jobs of the deployment on this road that have no final state yet (approximate)."""


class BatchStore(Protocol):
    """Batch runs and the right to dispatch."""

    def add(self, run: "BatchRun") -> bool:
        """Store a new run; False if it exists.

        Raises:
            StorageError
        """

    def get(self, batch_id: str) -> "BatchRun | None":
        """The run, read consistently."""

    def change(self, run: "BatchRun", *, expected: "BatchState") -> bool:
        """Replace the run if it is stored in the expected state."""

    def open_since(self, before: datetime, *, limit: int) -> "Sequence[BatchRun]":
        """Runs that have not ended, created before then, oldest first."""

    def lease(self, name: str, *, holder: str, now: datetime, until: datetime) -> bool:
        """Take or renew a named lease; False while somebody else holds it."""

    def release(self, name: str, *, holder: str) -> None:
        """Give the lease back; nothing happens if it is not held any more."""


class Ledger(Protocol):
    """Counters of budgets and calls of workflow runs. Every method may raise StorageError."""

    def write(self, writes: Sequence[LedgerWrite]) -> Mapping[str, Decimal]:
        """Do these writes, all or none.

        Returns:
            What is committed now by counter, as far as the write told.

        Raises:
            LedgerRefusedError: with the counters that refused.
        """

    def read(self, counters: Sequence[str], *, consistent: bool = False) -> Mapping[str, Counter]:
        """These counters (at most 100), without those that nobody has used."""

    def tell_once(self, counter: str, at_percent: Decimal) -> bool:
        """Note that a threshold is announced; False if it already was."""

    def call(self, tenant: str, workflow: str, inference_id: str) -> WorkflowCall | None:
        """One call of a run."""

    def calls_of(self, tenant: str, workflow: str, *, limit: int) -> Sequence[WorkflowCall]:
        """The calls of a run, oldest first."""


class BudgetNotices(Protocol):
    """Tells people that a budget is being used up."""

    def send(self, notice: Mapping[str, Any]) -> None:
        """Publish a notice of a few fields.

        Raises:
            StorageError
        """


class MessageQueue(Protocol):
    """A queue of small JSON messages."""

    def send(self, message: Mapping[str, Any], *, trace: str = "", group: str = "", delay_seconds: int = 0) -> None:
        """Put a message.

        Raises:
            StorageError, OutcomeUnknownError.
        """


class WholeObjectStore(Protocol):
    """The bucket, for objects that fit into memory. Keys have no leading slash. Every method may raise StorageError."""

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        """Store an object."""

    def get(self, key: str) -> bytes | None:
        """The object, None if there is none."""

    def stored_at(self, key: str) -> datetime | None:
        """When the object was written, to the second; None if there is none."""

    def presigned_get(self, key: str, *, expires_seconds: int) -> str:
        """An URL that gives the object to whoever holds it, for a while."""

    def location_of(self, key: str) -> str:
        """The ``s3://`` location of a key."""

    def key_of(self, location: str) -> str | None:
        """The key of an ``s3://`` location in this bucket, None for any other."""


class ObjectStore(WholeObjectStore, Protocol):
    """The bucket, also for objects of any size and for looking around. Every method may raise StorageError."""

    def put_lines(self, key: str, lines: Iterable[bytes], *, content_type: str = "application/jsonl") -> None:
        """Store lines, each ended by a newline, in constant memory. The object appears when all are there."""

    def lines(self, key: str) -> Iterator[bytes] | None:
        """The object's lines without their ends, read in constant memory; None if there is no object."""

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Keys below a prefix, in order of their UTF-8 bytes."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer that an idempotency key stands for."""

    status: int
    headers: Mapping[str, str]
    body: str


class IdempotencyStore(Protocol):
    """At most one run per idempotency key."""

    def claim(
        self, owner: Owner, key: str, fingerprint: str, *, now: datetime, lease_seconds: int
    ) -> StoredAnswer | None:
        """Claim the key; None means go ahead, an answer means that it was already given.

        Raises:
            IdempotencyMismatchError: the key was used with another fingerprint.
            IdempotencyInProgressError: the first request is still running.
        """

    def complete(self, owner: Owner, key: str, fingerprint: str, answer: StoredAnswer, *, now: datetime) -> None:
        """Keep the answer for a day."""

    def release(self, owner: Owner, key: str, fingerprint: str) -> None:
        """Forget the claim of a request that certainly did nothing, so that it can be repeated."""


@dataclass(frozen=True, slots=True)
class RenderedRequest:
    """A body in the words of a model container."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A container's answer in our words."""

    output: Any
    input_tokens: int | None
    output_tokens: int | None


class Dialect(Protocol):
    """How one kind of model container wants to be spoken to."""

    name: str

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """The container's body for this input.

        Raises:
            InvalidRequestError: the input does not suit this kind of container.
        """

    def parse(self, body: bytes) -> ParsedAnswer:
        """The output and, where the container says so, the tokens.

        Raises:
            ModelFailedError: the body is not what such a container answers.
        """


class Dialects(Protocol):
    """All dialects by name."""

    def of(self, deployment: Deployment) -> Dialect:
        """The dialect that the catalogue names.

        Raises:
            CatalogueError: there is no such dialect.
        """


class KeyStore(Protocol):
    """API keys by hash."""

    def find(self, key_hash: str) -> KeyRecord | None:
        """The key with this hash."""


class HoldingStore(Protocol):
    """When the places of a deployment became free, for telling work from waiting."""

    def take_place(
        self,
        resource: str,
        inference_type: InferenceType,
        *,
        request_id: str,
        received: datetime,
        finished: datetime,
        places: int,
    ) -> Decimal:
        """Seconds that this request held a place, given when earlier ones gave theirs back.

        Asking again for a request that still has the last word on a place gives the same answer and changes nothing.

        Raises:
            StorageError
        """


class PriceList(Protocol):
    """The prices that AWS publishes."""

    def prices(self, region: str) -> "Mapping[str, FoundPrice]":
        """Prices of a region by instance type and by part of the gateway; what the list lacks is absent.

        Raises:
            StorageError: the list cannot be read.
        """


class PriceStore(Protocol):
    """The registry's prices."""

    def records(self, region: str) -> "Mapping[str, PriceRecord]":
        """All prices of a region by name.

        Raises:
            StorageError: they cannot be read.
        """

    def store(self, region: str, name: str, record: "PriceRecord") -> None:
        """Store a record whose revision is still the one that was read.

        Raises:
            ConflictError: it was changed meanwhile.
            StorageError: it cannot be written.
        """
