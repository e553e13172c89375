"""The end of an invocation shared by several jobs: each gets its own answer and its own share of the cost.

They share the instance seconds and the gateway's own costs of the invocation: queue event, notification, function
calls and objects in the bucket. If the invocation failed, or its answer cannot be split, it is unknown which job was
at fault. So each is run again, alone: the good ones are answered, and the bad one fails by itself. The cost of the
first attempt stays on each job and is paid when it ends. Those that run elsewhere already, because the submitter of the
group died before it could record them, are charged for it at once, as for a late answer.
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
from tollgate.services.jobs.groups import ALONE, goes_alone, members_key
from tollgate.services.jobs.hand_over_together import group_timeout
from tollgate.services.jobs.price_job import Work
from tollgate.services.jobs.queue_job import queue_job


@dataclass(frozen=True, slots=True)
class _Member:
    """A job of the group, and how many of the group's inputs are its own."""

    job: Job
    inputs: int
    position: int


@dataclass(frozen=True, slots=True)
class _Share:
    """What one job bears of an invocation: instance seconds, and dollars of the gateway's own parts."""

    notice: AsyncNotice
    seconds: Decimal
    parts: Decimal
    held: Decimal

    @property
    def group(self) -> str:
        return self.notice.inference_id

    def work(self, job: Job) -> Work:
        """All that is known to have been done for the job, as its record stands."""
        return Work(
            # A group that failed earlier has held an instance for it too.
            held_seconds=self.seconds + (job.held_seconds or ZERO),
            finished_at=self.notice.finished_at,
            started_at=self.notice.finished_at - timedelta(seconds=float(self.held)),
            parts=self.parts,
            run="" if job.batch_id == self.group else self.group,
        )


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
        held = self._held(notice, members, places_of(one))
        shares = shares_of(held, counts)
        rates = gateway_rates(self._catalogues.current().gateway_prices)
        parts = shares_of(rates.invocation(len(names)), counts, quantum=MONEY_QUANTUM)
        answers = self._answers(notice, members, counts)
        waiting = 0
        for member in members:
            job = member.job
            share = _Share(notice, shares[member.position], parts[member.position], held)
            if not _waits_for(job, group, answered=answers is not None):
                self._pay(job, share, answered=answers is not None)
                continue
            waiting += 1
            if answers is None:
                self._again(job, share)
            elif not self._completer.complete(_ended_by(job, notice), answers[member.position], share.work(job)):
                self._overtaken(job, share)
        if answers is not None and waiting:
            self._durations.record(measured_as(one.resource, sum(counts)), InferenceType.ASYNC, float(held))
        elif waiting:
            self._telemetry.count("MicroBatchesFailed")

    def _pay(self, job: Job, share: _Share, *, answered: bool) -> None:
        """Charge a job, whose end is not the group's, for its share in the group, unless it has paid."""
        if _is_unpaid(job, share.group, answered=answered):
            self._completer.worked_after_all(job, share.work(job))
        elif job.state in OPEN_STATES and not _has_share(job, share.group):
            self._completer.worked_besides(job, share.work(job))

    def _overtaken(self, job: Job, share: _Share) -> None:
        """Charge a job that another invocation has ended while this one's answer was being stored."""
        present = self._jobs.get(job.job_id)
        # The completer has charged the job if it expired meanwhile.
        if present is not None and present.state is not JobState.EXPIRED:
            self._pay(present, share, answered=True)

    def _held(self, notice: AsyncNotice, members: Sequence[_Member], places: int) -> Decimal:
        one = members[0].job
        model = self._catalogues.seen_by(one).models.get(one.model)
        if model is not None and notice.never_ran(model):
            return ZERO
        together = [(member.job, member.inputs) for member in members]
        return self._holding.take_place(
            one.resource,
            InferenceType.ASYNC,
            request_id=notice.inference_id,
            received=notice.received_at,
            finished=notice.finished_at,
            places=places,
            most_seconds=None if model is None else group_timeout(together, model),
        )

    def _answers(
        self, notice: AsyncNotice, members: Sequence[_Member], counts: Sequence[int]
    ) -> Sequence[bytes] | None:
        if not notice.completed:
            return None
        # A member that was submitted again has the location of another invocation on its record.
        known = (member.job.output_location for member in members if member.job.batch_id == notice.inference_id)
        location = notice.output_location or next(known, None)
        key = None if location is None else self._objects.key_of(location)
        body = None if key is None else self._objects.get(key)
        if body is None:
            raise StorageError("The answer that SageMaker announced is not in the bucket.", retry_after=5)
        return self._merger.split(body, counts)

    def _again(self, job: Job, share: _Share) -> None:
        """Put the job back into the queue, to go alone; if its message is not sent, the sweeper sends it.

        Raises:
            StorageError: the job is still in the group, but its record has changed; try again.
        """
        again = job._replace(
            state=JobState.QUEUED,
            batch_id=f"{ALONE} {share.group}",
            submitted_at=None,
            submit_lease_until=None,
            output_location=None,
            failure_location=None,
            held_seconds=share.work(job).held_seconds,
            earlier_parts=(job.earlier_parts or ZERO) + share.parts,
        )
        if self._jobs.change(again, expected=OPEN_STATES, as_read=job):
            queue_job(self._queue, job)
            return
        present = self._jobs.get(job.job_id)
        if present is not None and not _has_share(present, share.group):
            raise StorageError("The job's record has just changed.", retry_after=1)


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


def _has_share(job: Job, group_id: str) -> bool:
    """Whether the job's share in a group is on its record, after one that failed."""
    # Earlier releases did not write down which group it was.
    return goes_alone(job) and (job.batch_id == ALONE or group_id in (job.batch_id or "").split())


def _is_unpaid(job: Job, group_id: str, *, answered: bool) -> bool:
    """Whether the job has ended without paying for its share in the group.

    It was declared expired, or ended with the answer of another invocation. One that goes alone has its share of the
    group that failed on its record, and that of the one that answered it, if any.
    """
    if job.state not in FINAL_STATES:
        return False
    if job.batch_id == group_id:
        return job.state is JobState.EXPIRED
    return not _has_share(job, group_id) or (answered and job.batch_id == ALONE)


def _ended_by(job: Job, notice: AsyncNotice) -> Job:
    """The job as the invocation that ends it leaves it."""
    return job._replace(
        submitted_at=job.submitted_at or notice.received_at,
        output_location=notice.output_location or job.output_location,
        failure_location=job.failure_location if job.batch_id == notice.inference_id else None,
        # A failure that is told again must find that it was paid.
        batch_id=f"{job.batch_id} {notice.inference_id}" if goes_alone(job) else notice.inference_id,
    )
