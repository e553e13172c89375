"""The end of an invocation shared by several jobs: each gets its own answer and its own share of the cost.

They share the instance seconds and the gateway's own costs of the invocation: queue event, notification, function
calls and objects in the bucket. If the invocation failed, or its answer cannot be split, it is unknown which job was
at fault. So each is run again, alone: the good ones are answered, and the bad one fails by itself. The cost of the
first attempt stays on each job and is paid when it ends.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.job import FINAL_STATES, OPEN_STATES, Job, JobState
from tollgate.domain.jobs.micro_batches import measured_as, shares_of
from tollgate.domain.money import MONEY_QUANTUM, ZERO
from tollgate.ports.dialects import RequestMerger
from tollgate.ports.jobs import HoldingStore, JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CatalogueSource, DurationRecorder
from tollgate.ports.system import Telemetry
from tollgate.services.jobs.async_notice import AsyncNotice
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.groups import ALONE, members_key
from tollgate.services.jobs.price_job import Work
from tollgate.services.jobs.queue_job import queue_job


@dataclass(frozen=True, slots=True)
class _Member:
    """A job of the group, and how many of the group's inputs are its own."""

    job: Job
    inputs: int
    position: int


class GroupCompletion:
    """Ends jobs that were submitted as a group."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        holding: HoldingStore,
        merger: RequestMerger,
        completer: JobCompleter,
        catalogues: CatalogueSource,
        durations: DurationRecorder,
        queue: MessageQueue,
        telemetry: Telemetry,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._holding = holding
        self._merger = merger
        self._completer = completer
        self._catalogues = catalogues
        self._durations = durations
        self._queue = queue
        self._telemetry = telemetry

    def notice(self, notice: AsyncNotice, places_of: Callable[[Job], int]) -> None:
        """End those jobs of a group that have not ended.

        Args:
            notice: about their invocation.
            places_of: how many places the endpoint of a job has.

        Raises:
            StorageError: try again.
        """
        listed = self._objects.get(members_key(notice.inference_id))
        if listed is None:
            self._telemetry.count("UnknownAsyncResult")
            return
        names: list[tuple[str, int]] = [(name, inputs) for name, inputs in json.loads(listed)]
        counts = [inputs for _, inputs in names]
        found = {job.job_id: job for job in self._jobs.get_many([name for name, _ in names])}
        members = [
            _Member(found[name], inputs, position) for position, (name, inputs) in enumerate(names) if name in found
        ]
        group = notice.inference_id
        if all(_is_done(member.job, group) for member in members):
            return
        one = members[0].job
        held = self._held(notice, one, places_of(one))
        shares = shares_of(held, counts)
        rates = gateway_rates(self._catalogues.current().gateway_prices)
        parts = shares_of(rates.invocation(len(names)), counts, quantum=MONEY_QUANTUM)
        answers = self._answers(notice, one, counts)
        answered = answers is not None
        for member in members:
            job = member.job
            if _is_unpaid(job, group, answered=answered):
                work = Work(
                    held_seconds=shares[member.position] + (job.held_seconds or ZERO),
                    finished_at=notice.finished_at,
                    parts=parts[member.position],
                    run="" if job.batch_id == group else group,
                )
                self._completer.worked_after_all(job, work)
        waiting = [member for member in members if _waits_for(member.job, group, answered=answered)]
        if not waiting:
            return
        if answers is None:
            self._telemetry.count("MicroBatchesFailed")
            for member in waiting:
                self._again(member.job, group, shares[member.position], parts[member.position])
            return
        began = notice.finished_at - timedelta(seconds=float(held))
        for member in waiting:
            work = Work(
                held_seconds=shares[member.position],
                finished_at=notice.finished_at,
                started_at=began,
                parts=parts[member.position],
            )
            self._completer.complete(_ended_by(member.job, notice), answers[member.position], work)
        self._durations.record(measured_as(waiting[0].job.resource, sum(counts)), InferenceType.ASYNC, float(held))

    def _held(self, notice: AsyncNotice, job: Job, places: int) -> Decimal:
        return self._holding.take_place(
            job.resource,
            InferenceType.ASYNC,
            request_id=notice.inference_id,
            received=notice.received_at,
            finished=notice.finished_at,
            places=places,
        )

    def _answers(self, notice: AsyncNotice, job: Job, counts: Sequence[int]) -> Sequence[bytes] | None:
        if not notice.completed:
            return None
        location = notice.output_location or job.output_location
        key = None if location is None else self._objects.key_of(location)
        body = None if key is None else self._objects.get(key)
        if body is None:
            raise StorageError("The answer that SageMaker announced is not in the bucket.", retry_after=5)
        return self._merger.split(body, counts)

    def _again(self, job: Job, group_id: str, share: Decimal, parts: Decimal) -> None:
        """Put the job back into the queue, to go alone; if its message is not sent, the sweeper sends it.

        Raises:
            StorageError: the job is still in the group, but its record has changed; try again.
        """
        again = job._replace(
            state=JobState.QUEUED,
            batch_id=ALONE,
            submitted_at=None,
            submit_lease_until=None,
            output_location=None,
            failure_location=None,
            held_seconds=(job.held_seconds or ZERO) + share,
            earlier_parts=(job.earlier_parts or ZERO) + parts,
        )
        if self._jobs.change(again, expected=OPEN_STATES, as_read=job):
            queue_job(self._queue, job)
            return
        present = self._jobs.get(job.job_id)
        if present is not None and _waits_for(present, group_id, answered=False):
            raise StorageError("The record of the submission has just come.", retry_after=1)


def _is_done(job: Job, group_id: str) -> bool:
    """Whether the group has ended the job and been paid, as after a notice that has come before."""
    return job.state in FINAL_STATES - {JobState.EXPIRED} and job.batch_id == group_id


def _waits_for(job: Job, group_id: str, *, answered: bool) -> bool:
    """Whether the group's end is the job's.

    The record of its submission may be missing yet, or know of a later one: who submits a group may die before saying
    so. Then the first answer is the job's.
    """
    if job.state in FINAL_STATES or job.inference_type is not InferenceType.ASYNC:
        return False
    return answered or job.batch_id == group_id or (job.batch_id is None and job.state is JobState.QUEUED)


def _is_unpaid(job: Job, group_id: str, *, answered: bool) -> bool:
    """Whether the job has ended without paying for its share in the group.

    It was declared expired, or ended with the answer of another invocation. One that goes alone has its share of the
    group that failed on its record.
    """
    if job.state not in FINAL_STATES:
        return False
    if job.batch_id == group_id:
        return job.state is JobState.EXPIRED
    return answered or job.batch_id != ALONE


def _ended_by(job: Job, notice: AsyncNotice) -> Job:
    """The job as the invocation that ends it leaves it."""
    return job._replace(
        submitted_at=job.submitted_at or notice.received_at,
        output_location=notice.output_location or job.output_location,
        failure_location=job.failure_location if job.batch_id == notice.inference_id else None,
        batch_id=notice.inference_id,
    )
