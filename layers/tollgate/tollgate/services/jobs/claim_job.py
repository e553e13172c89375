"""The right to hand a queued job to the model's side: one at a time, for as long as the function may run."""

from datetime import datetime, timedelta

from tollgate.domain.errors import ConflictError, OutcomeUnknownError
from tollgate.domain.jobs.job import Job, JobState
from tollgate.ports.jobs import JobStore

LEASE_SECONDS = 120
"""Longer than a function that hands jobs over may run."""

QUEUED = frozenset({JobState.QUEUED})


def claim_job(jobs: JobStore, job: Job, now: datetime) -> Job | None:
    """Claim a queued job with a lease, and write down what else is new of it; None if it is no longer queued.

    Args:
        jobs: where its record is.
        job: as its record is to say from now on, but for the lease; nobody may have had it since it was read, for what
            they have put down would be forgotten.
        now: the present.

    Raises:
        ConflictError: somebody else has it; look again later.
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
        # It was done, and nobody else would go on with it: of a job that is begun once, whoever comes later keeps off.
        return claimed
    if present is not None and present.state is JobState.QUEUED:
        raise ConflictError("The job is being submitted by somebody else.", retry_after=LEASE_SECONDS)
    return None
