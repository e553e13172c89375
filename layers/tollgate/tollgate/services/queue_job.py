"""The message that has a job looked at by the function of its road."""

from tollgate.domain.jobs import Job
from tollgate.ports.jobs import MessageQueue


def queue_job(queue: MessageQueue, job: Job, *, delay_seconds: int = 0) -> None:
    """Put a job into the queue of its road, as one of its tenant's, so that no tenant crowds out the others.

    Raises:
        StorageError: it is not there, or may be.
    """
    message = {"kind": "job", "job_id": job.job_id, "resource": job.resource}
    queue.send(message, trace=job.traceparent, group=job.owner.tenant, delay_seconds=delay_seconds)
