"""Submits a queued job to its asynchronous endpoint.

The queue may deliver a message twice, and a function may die between SageMaker's acceptance and the record of it. So a
job is claimed with a lease first, and nobody else submits it while the lease lasts. If the lease expires with no record
in the table or the bucket, the job is submitted again, because it must not be lost; whichever result arrives first
settles it, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.job import Job, JobState
from tollgate.services.jobs.claim_job import QUEUED
from tollgate.services.jobs.queue_job import queue_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.ports.jobs import JobStore, MessageQueue
    from tollgate.ports.registry import CatalogueSource
    from tollgate.ports.system import Telemetry
    from tollgate.services.jobs.answers import JobAnswers
    from tollgate.services.jobs.braked_jobs import BrakedJobs
    from tollgate.services.jobs.complete_job import JobCompleter
    from tollgate.services.jobs.hand_over import AsyncHandOver
    from tollgate.services.jobs.prepare_async import AsyncPreparation


class AsyncSubmitter:
    """Submits jobs, one message at a time.

    `runs` takes the jobs of token-priced providers, which have no queue of their own; see `run_token_job`.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        catalogues: CatalogueSource,
        preparation: AsyncPreparation,
        hand_over: AsyncHandOver,
        completer: JobCompleter,
        answers: Callable[[], JobAnswers],
        brakes: BrakedJobs,
        runs: MessageQueue,
        telemetry: Telemetry,
    ) -> None:
        self._jobs = jobs
        self._catalogues = catalogues
        self._preparation = preparation
        self._hand_over = hand_over
        self._completer = completer
        self._answers = answers
        self._brakes = brakes
        self._runs = runs
        self._telemetry = telemetry

    def submit(self, job_id: str) -> None:
        """Submit the job unless that was done, or it has ended. A normal return means that the message can be deleted.

        Raises:
            ConflictError: another function is submitting it now; look again later.
            CapacityError, BackendThrottledError, BackendTimeoutError: try again later.
            CatalogueError: the catalogue cannot be used; try again later.
            StorageError: try again later.
        """
        job = self._jobs.get(job_id)
        if job is None:
            self._telemetry.log("WARNING", "async message for an unknown job", job_id=job_id)
            return
        if job.state is not JobState.QUEUED or job.inference_type is not InferenceType.ASYNC:
            return
        turn = self._turn(job)
        if turn is None:
            return
        if self._is_by_token(turn):
            self._pass_on(turn, was=job)
        else:
            self._submit(turn)

    def _turn(self, job: Job) -> Job | None:
        """The job if it should run now; None if an equal job's answer has ended it, or is awaited."""
        if job.cache is None:
            return job
        turn = self._answers().turn(job)
        if turn is None or isinstance(turn, Job):
            return turn
        self._completer.answered(job, turn)
        return None

    def _submit(self, job: Job) -> None:
        claimed = self._preparation.claim(job)
        if claimed is None:
            return
        try:
            model, deployment, road = self._preparation.way(claimed)
        except InvalidRequestError as error:
            self._preparation.refuse(claimed, error)
            return
        request = self._preparation.rendered(claimed, deployment)
        if request is not None:
            self._hand_over.submit(claimed, model, road, request)

    def _is_by_token(self, job: Job) -> bool:
        model = self._catalogues.seen_by(job).models.get(job.model)
        deployment = None if model is None else model.deployment(job.deployment)
        return deployment is not None and deployment.tokens is not None

    def _pass_on(self, job: Job, *, was: Job) -> None:
        """Queue the job for the function that can wait for an answer.

        Raises:
            StorageError: try again later.
        """
        if self._brakes.wait(job):
            return
        # The runner reads from the record that this job leads the equal ones.
        if job == was or self._jobs.change(job, expected=QUEUED, as_read=was):
            queue_job(self._runs, job)
