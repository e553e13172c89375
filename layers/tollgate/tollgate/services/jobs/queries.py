"""Reads jobs and cancels those that have not started."""

from collections.abc import Sequence
from typing import Any

from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.errors import ConflictError, InvalidRequestError, NotFoundError
from tollgate.domain.jobs.ids import may_be_id
from tollgate.domain.jobs.job import OPEN_STATES, Bill, Job, JobState, Owner
from tollgate.domain.money import ZERO
from tollgate.ports.jobs import JobPage, JobStore
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.system import Clock
from tollgate.services.budgets.settle_reservation import settle_with
from tollgate.services.jobs.results import output_of

RESULT_URL_SECONDS = 3600
MAX_PAGE = 100
_MORE_LOOKS = 9


class JobQueries:
    """What the owner of a job may see and do."""

    def __init__(self, *, jobs: JobStore, objects: WholeObjectStore, clock: Clock) -> None:
        self._jobs = jobs
        self._objects = objects
        self._clock = clock

    def get(self, owner: Owner, job_id: str) -> Job:
        """One job of the owner's tenant.

        Raises:
            NotFoundError: no such job, or another tenant's: the two cannot be told apart.
        """
        job = self._jobs.get(job_id) if may_be_id(job_id) else None
        if job is None or job.owner.tenant != owner.tenant:
            raise NotFoundError(f"There is no inference '{job_id[:100]}'.", param="id")
        return job

    def list(self, owner: Owner, *, status: str | None, limit: str | None, after: str | None) -> JobPage:
        """A page of the tenant's jobs, newest first; short where jobs in the wanted state are rare.

        Raises:
            InvalidRequestError: unknown status, a limit outside 1..100, or a cursor that is not one.
        """
        state, most = _state(status), _limit(limit)
        page = self._jobs.list_of(owner, state=state, limit=most, after=after)
        found = [*page.jobs]
        for _ in range(_MORE_LOOKS):
            # The table is not ordered by state, so a page may hold few matching jobs, or none, with more to follow.
            if len(found) == most or page.after is None:
                break
            page = self._jobs.list_of(owner, state=state, limit=most - len(found), after=page.after)
            found += page.jobs
        return page._replace(jobs=found)

    def cancel(self, owner: Owner, job_id: str) -> Job:
        """Cancel a job that has not been handed to SageMaker.

        Raises:
            NotFoundError: as `get`.
            ConflictError: it has started or ended.
        """
        job = self.get(owner, job_id)
        if job.state is JobState.CANCELLED:
            return job
        cancelled = job._replace(
            state=JobState.CANCELLED,
            finished_at=self._clock.now(),
            effective_cost=None,
            webhook_pending=False,
            bill=Bill(self._clock.now(), ZERO),
        )
        # A job that waits for its second try has used an instance, and so may one that was claimed without a result on
        # record: that work must be paid.
        if job.held_seconds is None and job.submit_lease_until is None and self._released(cancelled, job):
            return cancelled
        was, job = job.deployment, self.get(owner, job_id)
        if job.deployment != was:
            return self.cancel(owner, job_id)  # It was handed on at that moment, which happens once.
        if job.state is JobState.CANCELLED:
            return job
        raise ConflictError(f"Inference '{job_id[:100]}' {self._why_not(job)} and cannot be cancelled.", param="id")

    def _why_not(self, job: Job) -> str:
        if job.state is not JobState.QUEUED:
            return f"is already {job.state}"
        if job.submit_lease_until is not None and job.submit_lease_until > self._clock.now():
            return "is being submitted"
        # Whoever submitted it left no record, or a first attempt with others failed.
        return "may have been run already"

    def _released(self, cancelled: Job, job: Job) -> bool:
        """Cancel, and release the reservation: no instance was ever asked."""

        def change(charges: Sequence[LedgerWrite]) -> bool:
            return self._jobs.change(cancelled, expected=frozenset({JobState.QUEUED}), as_read=job, charges=charges)

        if cancelled.reservation is None:
            return change(())
        return settle_with(cancelled.reservation, ZERO, cancelled.state.value, change)

    def output(self, job: Job) -> Any:
        """The output of a completed job, however large; None for any other job.

        Raises:
            NotFoundError: it was deleted from the bucket.
            StorageError: the bucket failed.
        """
        return output_of(job, self._objects) if job.state is JobState.COMPLETED else None

    def result_url(self, job: Job) -> str | None:
        """A URL for a result that is too large to be returned inline, valid for an hour."""
        if job.state in OPEN_STATES or job.output.key is None:
            return None
        return self._objects.presigned_get(job.output.key, expires_seconds=RESULT_URL_SECONDS)


def _state(status: str | None) -> JobState | None:
    if status is None:
        return None
    try:
        return JobState(status)
    except ValueError:
        known = ", ".join(state.value for state in JobState)
        raise InvalidRequestError(f"Unknown status '{status[:50]}'. Known: {known}.", param="status") from None


def _limit(limit: str | None) -> int:
    if limit is None:
        return 20
    if not limit.isascii() or not limit.isdigit() or len(limit) > 4 or not 1 <= int(limit) <= MAX_PAGE:
        raise InvalidRequestError(f"'limit' must be a whole number from 1 to {MAX_PAGE}.", param="limit")
    return int(limit)
