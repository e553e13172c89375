"""Waits for a job on behalf of a caller who wants its answer now."""

from collections.abc import Callable
from typing import Any

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import NotFoundError, StorageError
from tollgate.domain.jobs.job import FINAL_STATES, Job, Owner
from tollgate.ports.jobs import JobStore
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.system import Clock
from tollgate.services.jobs.results import output_of

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 2.0
_GROWTH = 1.5
"""A wait of 26 s takes 16 reads of the table, about two millionths of a dollar; the function's own time costs more."""


class JobWaiter:
    """Polls a job at growing intervals.

    Args:
        pause: sleeps for so many seconds.
    """

    def __init__(
        self, *, jobs: JobStore, objects: WholeObjectStore, clock: Clock, pause: Callable[[float], None]
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._clock = clock
        self._pause = pause

    def wait(self, owner: Owner, job_id: str, *, until: float) -> Job:
        """The job once it has ended, or as it stands when time is up; a batch job as it stands now.

        Args:
            owner: whose tenant the job must belong to.
            job_id: the job.
            until: on the monotonic clock.

        Raises:
            NotFoundError: no such job, or another tenant's.
            StorageError: it could not be read even once.
        """
        pause = _FIRST_PAUSE_SECONDS
        job = self._look(owner, job_id, None)
        while True:
            left = until - self._clock.monotonic()
            if left <= 0 or (job is not None and _is_not_worth_waiting(job)):
                break
            self._pause(min(pause, left))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
            job = self._look(owner, job_id, job)
        if job is None:
            raise StorageError("The job was accepted, but its record cannot be read now.")
        return job

    def _look(self, owner: Owner, job_id: str, earlier: Job | None) -> Job | None:
        try:
            job = self._jobs.get(job_id)
        except StorageError:
            # The next look may succeed; the job runs in any case.
            return earlier
        if job is None or job.owner.tenant != owner.tenant:
            raise NotFoundError(f"There is no inference '{job_id[:100]}'.", param="id")
        return job

    def output(self, job: Job) -> Any:
        """The output of a completed job, from its record or from the bucket.

        Raises:
            NotFoundError: it was deleted from the bucket.
            StorageError: the bucket failed.
        """
        return output_of(job, self._objects)


def _is_not_worth_waiting(job: Job) -> bool:
    """A transform job takes minutes just to start, and waiting is paid for."""
    return job.state in FINAL_STATES or job.inference_type is InferenceType.BATCH
