"""The exclusive right to hand a queued job to its backend, limited to the longest a function may run."""

from datetime import datetime, timedelta

from tollgate.domain.errors import ConflictError, OutcomeUnknownError
from tollgate.domain.jobs.job import Job, JobState
from tollgate.ports.jobs import JobStore

LEASE_SECONDS = 120
"""Longer than a function that hands jobs over may run."""

QUEUED = frozenset({JobState.QUEUED})


def claim_job(jobs: JobStore, job: Job, now: datetime) -> Job | None:
    """Claim a queued job with a lease and store its other changes; None if it is no longer queued.

    Args:
        jobs: where its record is.
        job: the record to write, apart from the lease; nobody may have held the job since it was read, because their
            changes would be lost.
        now: the present.

    Raises:
        ConflictError: another function has it; look again later.
        StorageError: try again later.
    """
    claimed = job._replace(submit_lease_until=now + timedelta(seconds=LEASE_SECONDS))
    try:
        if jobs.change(claimed, expected=QUEUED, lease_free_at=now, as_read=job):
            return claimed
        present = jobs.get(job.job_id)
    except OutcomeUnknownError:
        present = jobs.get(job.job_id)
        if (
            present is None
            or present.submit_lease_until != claimed.submit_lease_until
            or present.state != claimed.state
        ):
            raise
        # The write took place, and nobody else would continue: a job that may begin only once stays with this runner.
        return claimed
    if present is not None and present.state is JobState.QUEUED:
        raise ConflictError("The job is already being submitted.", retry_after=LEASE_SECONDS)
    return None


def give_back(jobs: JobStore, job: Job) -> None:
    """Release the claim on a job that certainly did not run, so that nobody need wait for the lease.

    Raises:
        StorageError: the lease has to run out.
    """
    jobs.change(job._replace(submit_lease_until=None), expected=QUEUED, as_read=job)
