"""The work that waits for a place, and that it has been given, read from the open jobs of its deployments."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from tollgate.domain.catalogue import Deployment, Road
from tollgate.domain.jobs.job import Job, JobState
from tollgate.domain.jobs.open_jobs import OpenJob, outline
from tollgate.domain.places.gathering import GATHER_LIMIT, SAMPLE, GivenWork
from tollgate.domain.places.handing_on import Stays
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import SleepPolicy, Watched
from tollgate.domain.places.standing import Place, PlaceKind
from tollgate.domain.places.wake_by_deadline import DueWork
from tollgate.ports.jobs import JobStore
from tollgate.ports.registry import CapacitySource, CatalogueSource

_HANDED_OVER_SECONDS = 10
"""Seconds in which a job's message reaches SageMaker; a later job may gather instead."""

type Users = Sequence[tuple[Deployment, Road]]


@dataclass(slots=True)
class KeptPlace:
    """A place that is managed.

    Attributes:
        users: the deployments and roads that share it.
        policy: the rules by which it sleeps.
        record: of it, None at the first look.
        in_flight: requests still being served on its way down.
        watched: what the latest decision was based on.
        handed_on: what became of its jobs before that, where some could be handed on.
    """

    place: Place
    users: Users
    policy: SleepPolicy
    record: PlaceRecord | None
    in_flight: int = 0
    watched: Watched | None = None
    handed_on: "HandedOn | None" = None

    @property
    def is_steered(self) -> bool:
        """Whether open jobs decide how many instances it needs, and when none: then autoscaling has no say."""
        return self.policy.ends_with_its_work and self.place.kind is PlaceKind.ASYNC


class GatheredJob(NamedTuple):
    """A queued job that waits for others to join it, with its whole record.

    Attributes:
        deployment, road: that it is for.
        end: by when it must be answered.
        work: its latest start, and the seconds that it is expected to hold its place.
    """

    deployment: Deployment
    road: Road
    job: Job
    end: datetime
    work: DueWork


class HandedOn(NamedTuple):
    """The outcome of a look at gathered jobs.

    Attributes:
        left: jobs that still gather.
        handed_on: how many were handed on.
        stays: why no more were.
        usd_per_start: what starting an instance costs; 0 where that was not needed.
        usd_gone, usd_left: what tokens cost beyond the instance's seconds, for jobs handed on and left.
    """

    left: Sequence[GatheredJob]
    handed_on: int = 0
    stays: Stays = Stays.NOT_DUE
    usd_per_start: float = 0.0
    usd_gone: float = 0.0
    usd_left: float = 0.0


@dataclass(slots=True)
class Gathered:
    """The open jobs of a place that gathers.

    Attributes:
        impatient: jobs that cannot wait for a deadline.
        due: the work of those that can, by latest start.
        jobs: the same with their records, where these were requested.
        in_flight: jobs handed over before the place entered its phase, or about to be.
    """

    impatient: int = 0
    due: list[DueWork] = field(default_factory=list)
    jobs: list[GatheredJob] = field(default_factory=list)
    in_flight: int = 0


class PlaceWork:
    """Counts and reads open jobs."""

    def __init__(self, *, jobs: JobStore, catalogues: CatalogueSource, capacities: CapacitySource) -> None:
        self._jobs = jobs
        self._catalogues = catalogues
        self._capacities = capacities

    def count(self, users: Users) -> int:
        """Jobs that are open; very recent ones may be missing.

        Raises:
            StorageError
        """
        return sum(self._jobs.count_open(d.resource, road.inference_type) for d, road in users)

    def oldest(self, users: Users) -> datetime | None:
        """When the oldest of them came. Raises StorageError."""
        return min((job.created_at for d, road in users for job in self._open(d, road, 1)), default=None)

    def gathered(
        self, users: Users, since: datetime, now: datetime, limit: int = GATHER_LIMIT, *, whole: bool = False
    ) -> Gathered:
        """The open jobs by whether they can wait. If more than the limit can, all count as impatient.

        Args:
            users: the deployments and roads that share the place.
            since: when it began to sleep or to fall asleep; nothing serves jobs handed over later.
            now: the present.
            limit: of jobs that can wait.
            whole: whether to keep the records of these; they take memory.

        Raises:
            CatalogueError, StorageError
        """
        found = Gathered()
        for deployment, road in users:
            for job, record in self._seen(deployment, road, limit + 1, whole=whole):
                leased = job.submit_lease_until is not None and job.submit_lease_until > now
                end = self._end(deployment, job)
                handed_over = job.submitted_at is not None and job.submitted_at <= since
                if leased or (job.state is JobState.SUBMITTED and handed_over):
                    found.in_flight += 1
                elif end is None or job.state is not JobState.QUEUED:
                    found.impatient += 1
                else:
                    held = self._expected(deployment, road, job)
                    work = DueWork(end.timestamp() - held, held)
                    found.due.append(work)
                    if record is not None:
                        found.jobs.append(GatheredJob(deployment, road, record, end, work))
        if len(found.due) > limit:
            return Gathered(found.impatient + len(found.due), in_flight=found.in_flight)
        found.due.sort(key=lambda work: work.latest_start_at)
        found.jobs.sort(key=lambda one: one.work.latest_start_at)
        return found

    def given(self, users: Users, count: int, instances: int, now: datetime) -> GivenWork:
        """The work that a place that is up was given, as its oldest jobs show.

        Args:
            users: the deployments and roads that share the place.
            count: of its open jobs.
            instances: that serve them.
            now: the present.

        Raises:
            CatalogueError, StorageError
        """
        if count == 0:
            return GivenWork(instances)
        jobs = [(d, road, job) for d, road in users for job in self._open(d, road, SAMPLE)]
        work = sum(self._expected(*each) for each in jobs) / max(1, len(jobs))
        ends = [(self._end(d, job), job) for d, _, job in jobs]
        fresh = now - timedelta(seconds=_HANDED_OVER_SECONDS)
        return GivenWork(
            instances,
            count,
            count * work,
            min(
                (0.0 if end is None else (end - job.created_at).total_seconds() for end, job in ends), default=math.inf
            ),
            any(job.state is JobState.QUEUED and job.created_at < fresh for _, _, job in jobs),
        )

    def _open(self, deployment: Deployment, road: Road, limit: int) -> Sequence[OpenJob]:
        return self._jobs.open_of(deployment.resource, road.inference_type, limit=limit)

    def _seen(
        self, deployment: Deployment, road: Road, limit: int, *, whole: bool
    ) -> Iterator[tuple[OpenJob, Job | None]]:
        if not whole:
            return ((job, None) for job in self._open(deployment, road, limit))
        records = self._jobs.unfinished(deployment.resource, road.inference_type, limit=limit)
        return ((outline(record), record) for record in records)

    def _expected(self, deployment: Deployment, road: Road, job: OpenJob) -> float:
        """Seconds that a job holds its place: by its caller's limit, as routing counts them, else as measured."""
        measured = self._capacities.snapshot().of(deployment.resource, road.inference_type).measured_seconds
        if job.output_limit is None:
            return deployment.timing.expected_seconds(0) if measured is None else measured
        return deployment.timing.expected_seconds(job.input_tokens, job.output_limit)

    def _end(self, deployment: Deployment, job: OpenJob) -> datetime | None:
        """By when the job must be answered: a job not handed over within its patience also expires."""
        if job.deadline_at is None:
            return None
        model = self._catalogues.current().models[deployment.model]
        return min(job.deadline_at, job.created_at + timedelta(seconds=model.asynchronous.request_ttl_seconds))
