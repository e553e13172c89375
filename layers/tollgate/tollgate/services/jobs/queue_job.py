"""The message that asks the function of a job's road to look at the job."""

from typing import TYPE_CHECKING

from tollgate.ports.jobs import MessageQueue

if TYPE_CHECKING:
    from tollgate.domain.jobs.job import Job
    from tollgate.domain.jobs.open_jobs import OpenJob


def queue_job(queue: MessageQueue, job: "Job | OpenJob", *, delay_seconds: int = 0) -> None:
    """Put a job into the queue of its road, under its tenant's group, so that no tenant crowds out the others.

    Raises:
        StorageError: it was not queued, or may not have been.
    """
    message = {"kind": "job", "job_id": job.job_id, "resource": job.resource}
    queue.send(message, trace=job.traceparent, group=job.owner.tenant, delay_seconds=delay_seconds)
