"""A catalogue that stands still, and SageMaker in memory."""

from dataclasses import dataclass, field
from datetime import datetime

from tests.fakes.clock import ManualClock
from tollgate.domain.catalogue import Catalogue, InferenceType, Road
from tollgate.domain.jobs.job import Job
from tollgate.ports.backends import AsyncSubmission, TransformJob, TransformStatus


@dataclass
class FixedCatalogue:
    """The `CatalogueSource` of tests: the catalogue in force, and the older copy that is still held, if any."""

    catalogue: Catalogue
    held: Catalogue | None = None
    earlier: dict[int, Catalogue] = field(default_factory=dict)

    def current(self) -> Catalogue:
        return self.held or self.catalogue

    def newest(self) -> Catalogue:
        self.held = None
        return self.catalogue

    def seen_by(self, job: Job) -> Catalogue:  # noqa: ARG002 -- it is the same for all
        self.held = None
        return self.catalogue

    def knowing(self, resource: str, inference_type: InferenceType) -> Catalogue:  # noqa: ARG002 -- it is the same for all
        self.held = None
        return self.catalogue

    def of_version(self, version: int) -> Catalogue:
        return self.earlier.get(version, self.catalogue)


@dataclass
class RecordingAsyncBackend:
    """The `AsyncBackend` of tests: remembers what was submitted; raises `errors` first, in order."""

    bucket: str
    submitted: list[tuple[str, bytes, int, int]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

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
        assert content_type
        assert trace
        if self.errors:
            raise self.errors.pop(0)
        self.submitted.append((inference_id, body, request_ttl_seconds, timeout_seconds))
        base = f"s3://{self.bucket}/async-output/{road.target}/{inference_id}"
        return AsyncSubmission(output_location=f"{base}.out", failure_location=f"{base}-error.out")


@dataclass
class RecordingTransformBackend:
    """The `TransformBackend` of tests: jobs run when a test says so."""

    clock: ManualClock
    started: dict[str, TransformJob] = field(default_factory=dict)
    statuses: dict[str, TransformStatus] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def start(self, job: TransformJob) -> None:
        if self.errors:
            raise self.errors.pop(0)
        if job.name not in self.started:
            self.started[job.name] = job
            self.statuses[job.name] = TransformStatus(job.name, "InProgress", None, None, None)

    def describe(self, name: str) -> TransformStatus | None:
        return self.statuses.get(name)

    def stop(self, name: str) -> None:
        self.stopped.append(name)

    def end(self, name: str, status: str, *, reason: str | None = None, began: datetime | None) -> None:
        """The job has ended now."""
        self.statuses[name] = TransformStatus(name, status, reason, began, self.clock.now())
