"""The message that has a job looked at by the function of its road."""

from typing import TYPE_CHECKING

from tollgate.ports.jobs import MessageQueue

if TYPE_CHECKING:
    from tollgate.domain.jobs.job import Job
    from tollgate.domain.jobs.open_jobs import OpenJob


def queue_job(queue: MessageQueue, job: "Job | OpenJob", *, delay_seconds: int = 0) -> None:
    """Put a job into the queue of its road, as one of its tenant's, so that no tenant crowds out the others.

    Raises:
        StorageError: it is not there, or may be.
    """
    message = {"kind": "job", "job_id": job.job_id, "resource": job.resource}
    queue.send(message, trace=job.traceparent, group=job.owner.tenant, delay_seconds=delay_seconds)
