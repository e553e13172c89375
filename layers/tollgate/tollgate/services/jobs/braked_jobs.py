"""Queued jobs that the brakes hold back."""

from tollgate.domain.jobs.job import Job
from tollgate.ports.jobs import MessageQueue
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Telemetry
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.queue_job import queue_job

BRAKED_SECONDS = 300
"""Seconds until a job that the brakes hold back is looked at again."""


class BrakedJobs:
    """Has jobs of one queue wait for the brakes."""

    def __init__(
        self, *, gate: BrakeGate, catalogues: CatalogueSource, queue: MessageQueue, telemetry: Telemetry
    ) -> None:
        self._gate = gate
        self._catalogues = catalogues
        self._queue = queue
        self._telemetry = telemetry

    def wait(self, job: Job) -> bool:
        """Whether the job has to wait; if so, it is queued again, so that this does not count as a failed delivery.

        Raises:
            CatalogueError, StorageError: try again later.
        """
        if not self._gate.holds_back(self._catalogues.current(), job.resource):
            return False
        queue_job(self._queue, job, delay_seconds=BRAKED_SECONDS)
        self._telemetry.log("INFO", "job waits for the brakes", job_id=job.job_id)
        return True
