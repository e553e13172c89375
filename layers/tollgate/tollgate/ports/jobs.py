"""Where jobs and batch runs are kept, and the queues and events between their steps."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import Job, JobState, Owner

if TYPE_CHECKING:
    # Only functions of the later roads need these at run time; the gateway must not pay for them.
    from tollgate.domain.jobs.batches import BatchRun, BatchState
    from tollgate.domain.jobs.open_jobs import OpenJob


class JobPage(NamedTuple):
    """A page of jobs; `after` continues it."""

    jobs: Sequence[Job]
    after: str | None


class PooledJob(NamedTuple):
    """What the pool needs to know of a job that waits for a transform job."""

    job_id: str
    created_at: datetime
    deadline_at: datetime | None


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
        as_read: Job | None = None,
        charges: Sequence[LedgerWrite] = (),
    ) -> bool:
        """Replace the job if its stored state is one of `expected`, together with these writes on the ledger.

        A job that was handed on to another deployment meanwhile is not changed. With `lease_free_at`, the stored submit
        lease must be absent or not later than that time. With `as_read` the stored lease and batch must be those of
        that copy: nobody has had the job since it was read.

        Returns:
            Whether the job was changed.

        Raises:
            LedgerRefusedError: the ledger refused, so the job was not changed either.
            StorageError
        """

    def hand_on(self, job: Job, *, was: str, charges: Sequence[LedgerWrite] = ()) -> bool:
        """Replace a queued job by the same for another deployment, together with these writes on the ledger.

        Args:
            job: as it is to be.
            was: the deployment that the stored job is for. Nobody may ever have claimed it there.
            charges: on the ledger.

        Returns:
            Whether the job was changed.

        Raises:
            LedgerRefusedError: the ledger refused, so the job was not changed either.
            StorageError
        """

    def add_late(self, late: Job, charges: Sequence[LedgerWrite]) -> bool:
        """Store what a job cost after its end, under a name of its own, together with these writes on the ledger.

        Returns:
            False if it is there already; then nothing was written.

        Raises:
            LedgerRefusedError: the ledger refused, so nothing was stored.
            StorageError
        """

    def open_since(self, before: datetime, *, limit: int, after: str | None = None) -> JobPage:
        """Jobs without a final state, or with a webhook still to deliver, created before then.

        Oldest first within each road of each deployment. A short page is possible; only `after` None ends the list.
        """

    def waiting_for_batch(self, resource: str, *, limit: int) -> Sequence[Job]:
        """Queued batch jobs of one deployment, oldest first. Very recent ones may be missing."""

    def pool_of(self, resource: str, *, limit: int) -> Sequence[PooledJob]:
        """The same without what their callers have put on their records: many of them fit into little memory."""

    def unfinished(self, resource: str, inference_type: InferenceType, *, limit: int) -> Sequence[Job]:
        """Jobs of one deployment on one road without a final state, oldest first. Very recent ones may be missing."""

    def open_of(self, resource: str, inference_type: InferenceType, *, limit: int) -> "Sequence[OpenJob]":
        """The same in outline: many of them fit into little memory."""

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

    def change(
        self,
        run: "BatchRun",
        *,
        expected: "BatchState",
        charges: Sequence[LedgerWrite] = (),
        reserving: bool = False,
    ) -> bool:
        """Replace the run if it is stored in the expected state, together with these writes on the ledger.

        A run that is stored with a reservation is never replaced by one without it or with another. With `reserving`
        it may not have one yet.

        Returns:
            Whether the run was changed.

        Raises:
            LedgerRefusedError: the ledger refused, so the run was not changed either.
            StorageError
        """

    def open_since(self, before: datetime, *, limit: int) -> "Sequence[BatchRun]":
        """Runs that have not ended, created before then, oldest first."""

    def lease(self, name: str, *, holder: str, now: datetime, until: datetime) -> bool:
        """Take or renew a named lease; False while somebody else holds it."""

    def release(self, name: str, *, holder: str) -> None:
        """Give the lease back; nothing happens if it is not held any more."""


class MessageQueue(Protocol):
    """A queue of small JSON messages."""

    def send(self, message: Mapping[str, Any], *, trace: str = "", group: str = "", delay_seconds: int = 0) -> None:
        """Put a message.

        Raises:
            StorageError, OutcomeUnknownError.
        """


class FunctionEvents(Protocol):
    """Events for a function that works on them later; each may come twice, late, or never."""

    def send(self, event: Mapping[str, Any]) -> None:
        """Hand an event over; up to 256 KB as JSON.

        Raises:
            StorageError, OutcomeUnknownError.
        """


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
        most_seconds: int | None,
    ) -> Decimal:
        """Seconds that this request held a place, given when earlier ones gave theirs back; `most_seconds` at most.

        Asking again for a request gives the same answer and changes nothing, unless many others came in between.

        Raises:
            StorageError
        """
