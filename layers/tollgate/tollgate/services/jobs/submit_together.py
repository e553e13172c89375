"""Submits the jobs of several messages: together where they go to one deployment, and its catalogue entry allows it."""

from collections.abc import Callable, Sequence
from functools import partial

from tollgate.domain.catalogue import InferenceType, Way
from tollgate.domain.errors import CatalogueError, InvalidRequestError, StorageError
from tollgate.domain.jobs.job import Job, JobState
from tollgate.domain.jobs.micro_batches import MicroBatchPolicy, group_size, groups_of, measured_as
from tollgate.ports.dialects import RequestMerger
from tollgate.ports.jobs import JobStore
from tollgate.ports.registry import CapacitySource, CatalogueSource
from tollgate.ports.system import Telemetry
from tollgate.services.jobs.groups import goes_alone
from tollgate.services.jobs.hand_over import AsyncHandOver
from tollgate.services.jobs.hand_over_together import GroupHandOver, Member
from tollgate.services.jobs.prepare_async import AsyncPreparation
from tollgate.services.jobs.submit_async import AsyncSubmitter

_READ_AT_ONCE = 100


class GroupSubmitter:
    """Decides which jobs go alone, and which together."""

    def __init__(
        self,
        *,
        submitter: AsyncSubmitter,
        preparation: AsyncPreparation,
        hand_over: AsyncHandOver,
        groups: GroupHandOver,
        merger: RequestMerger,
        jobs: JobStore,
        catalogues: CatalogueSource,
        capacities: CapacitySource,
        telemetry: Telemetry,
    ) -> None:
        self._submitter = submitter
        self._preparation = preparation
        self._hand_over = hand_over
        self._groups = groups
        self._merger = merger
        self._jobs = jobs
        self._catalogues = catalogues
        self._capacities = capacities
        self.telemetry = telemetry

    def submit_all(self, job_ids: Sequence[str]) -> dict[str, Exception]:
        """Submit the jobs, together where that is better.

        Returns:
            Errors by job, as `AsyncSubmitter.submit` would have raised them; the messages of these jobs must return.
        """
        failures: dict[str, Exception] = {}
        alone, pools = self._sorted(list(dict.fromkeys(job_ids)), failures)
        for job_id in alone:
            self._attempt([job_id], failures, partial(self._submitter.submit, job_id))
        for jobs in pools.values():
            self._pool(jobs, failures)
        return failures

    def _sorted(self, job_ids: Sequence[str], failures: dict[str, Exception]) -> tuple[list[str], dict[str, list[Job]]]:
        """Jobs that are submitted alone, and by deployment those that could be grouped."""
        alone: list[str] = []
        pools: dict[str, list[Job]] = {}
        if len(job_ids) < 2 or not self._groups_exist():
            # Reading the jobs here as well would only add cost.
            return list(job_ids), pools
        found: dict[str, Job] = {}
        for begin in range(0, len(job_ids), _READ_AT_ONCE):
            chunk = job_ids[begin : begin + _READ_AT_ONCE]
            try:
                found |= {job.job_id: job for job in self._jobs.get_many(chunk)}
            except StorageError as error:
                failures |= dict.fromkeys(chunk, error)
        for job_id in job_ids:
            job = found.get(job_id)
            if job_id in failures:
                continue
            if job is None or job.state is not JobState.QUEUED or goes_alone(job) or self._policy(job) is None:
                alone.append(job_id)
            elif job.cache is not None:
                # It may be answered by an equal job, which only the single submission checks.
                alone.append(job_id)
            else:
                pools.setdefault(job.resource, []).append(job)
        for resource in [resource for resource, jobs in pools.items() if len(jobs) == 1]:
            alone += [job.job_id for job in pools.pop(resource)]
        return alone, pools

    def _groups_exist(self) -> bool:
        try:
            models = self._catalogues.current().models.values()
        except (CatalogueError, StorageError):
            return False  # The single submission reports what is wrong.
        return any(deployment.micro_batch is not None for model in models for deployment in model.deployments)

    def _policy(self, job: Job) -> MicroBatchPolicy | None:
        if job.inference_type is not InferenceType.ASYNC:
            return None
        try:
            return self._preparation.way(job).deployment.micro_batch
        except (InvalidRequestError, CatalogueError, StorageError):
            return None  # The single submission reports what is wrong.

    def _pool(self, jobs: Sequence[Job], failures: dict[str, Exception]) -> None:
        way = self._preparation.way(jobs[0])
        policy = way.deployment.micro_batch
        ready: list[Member] = []
        for job in jobs:
            self._attempt([job.job_id], failures, partial(self._ready, job, way, ready))
        if policy is None or not ready:
            return
        size = self._size(policy, way, sum(entry.merging.inputs for entry in ready))
        for group in groups_of([entry.merging for entry in ready], policy, size):
            members = [ready[position] for position in group]
            names = [entry.job.job_id for entry in members]
            self._attempt(names, failures, partial(self._groups.submit, members, way.model, way.road))

    def _ready(self, job: Job, way: Way, ready: list[Member]) -> None:
        """Make a job ready to be grouped, or submit it at once if it cannot be."""
        claimed = self._preparation.claim(job)
        if claimed is None:
            return
        request = self._preparation.rendered(claimed, way.deployment)
        if request is None:
            return
        merging, policy = self._merger.mergeable(request), way.deployment.micro_batch
        if merging is None or (policy and len(request.body) > policy.max_bytes):
            # A body too large to be grouped would only take up memory while the others are read.
            self._hand_over.submit(claimed, way.model, way.road, request)
        else:
            ready.append(Member(claimed, request, merging))

    def _size(self, policy: MicroBatchPolicy, way: Way, here: int) -> int:
        """How many inputs go together, with `here` of them in these messages."""
        capacity, road = self._capacities.snapshot(), way.road
        resource = way.deployment.resource
        observed = capacity.of(resource, InferenceType.ASYNC)
        instances = road.instance_count if observed.instances is None else observed.instances
        return group_size(
            policy,
            waiting=max(here, observed.backlog),
            places=max(1, instances) * road.concurrency,
            one=way.deployment.timing.expected_seconds(0),
            measured=lambda size: capacity.of(measured_as(resource, size), InferenceType.ASYNC).measured_seconds,
        )

    @staticmethod
    def _attempt(names: Sequence[str], failures: dict[str, Exception], act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 -- one bad job must not bring back its neighbours' messages
            failures.update(dict.fromkeys(names, error))
