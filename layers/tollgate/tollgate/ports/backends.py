"""SageMaker's three roads, as the services see them."""

from datetime import datetime
from typing import NamedTuple, Protocol

from tollgate.domain.catalogue import Road


class ModelAnswer(NamedTuple):
    """What a container answered.

    Attributes:
        seconds: wall time of the call as seen by the gateway.
    """

    body: bytes
    content_type: str
    seconds: float


class RealtimeBackend(Protocol):
    """An endpoint that answers while the caller waits."""

    def invoke(self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str) -> ModelAnswer:
        """Run the model now.

        Raises:
            ModelFailedError, CapacityError, BackendThrottledError, BackendTimeoutError, BackendError.
        """


class AsyncSubmission(NamedTuple):
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


class TransformJob(NamedTuple):
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


class TransformStatus(NamedTuple):
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
