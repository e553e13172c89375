"""Submits several jobs for one deployment in a single invocation, where its catalogue entry allows it.

The list of jobs in the group is stored in the bucket before the invocation, under the invocation's own id, so that the
notification of its end can be matched to them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tollgate.domain.catalogue import Deployment, InferenceType, Model, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    CatalogueError,
    InvalidRequestError,
    StorageError,
)
from tollgate.domain.jobs.job import Job, JobState
from tollgate.domain.jobs.micro_batches import Mergeable, MicroBatchPolicy, group_size, groups_of, measured_as
from tollgate.ports.backends import AsyncBackend
from tollgate.ports.dialects import RenderedRequest, RequestMerger
from tollgate.ports.jobs import JobStore
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CapacitySource, CatalogueSource
from tollgate.ports.system import Clock, IdSource, Telemetry
from tollgate.services.jobs.hand_over import AsyncHandOver, invocation_timeout
from tollgate.services.jobs.submit_async import AsyncSubmitter

GROUP_PREFIX = "mb_"
ALONE = "alone"
"""What a job's `batch_id` begins with if its group, which follows, has failed: it is submitted by itself."""

_READ_AT_ONCE = 100


def members_key(group_id: str) -> str:
    """Key of the list of jobs that were submitted together."""
    return f"async-input/{group_id}.members.json"


def group_timeout(members: Sequence[tuple[Job, int]], model: Model) -> int:
    """Seconds such that no job's share, by its number of inputs, exceeds the amount held for it."""
    inputs = sum(own for _, own in members)
    paid = (invocation_timeout(job, model) * inputs // own for job, own in members)
    return min(model.asynchronous.invocation_timeout_seconds, *paid)


def _goes_alone(job: Job) -> bool:
    return job.batch_id is not None and job.batch_id.startswith(ALONE)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A claimed job with its rendered body."""

    job: Job
    request: RenderedRequest
    merging: Mergeable


class GroupSubmitter:
    """Submits the jobs of several messages."""

    def __init__(
        self,
        *,
        submitter: AsyncSubmitter,
        hand_over: AsyncHandOver,
        jobs: JobStore,
        objects: WholeObjectStore,
        backend: AsyncBackend,
        merger: RequestMerger,
        catalogues: CatalogueSource,
        capacities: CapacitySource,
        telemetry: Telemetry,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._submitter = submitter
        self._hand_over = hand_over
        self._jobs = jobs
        self._objects = objects
        self._backend = backend
        self._merger = merger
        self._catalogues = catalogues
        self._capacities = capacities
        self.telemetry = telemetry
        self._clock = clock
        self._ids = ids

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
            if job is None or job.state is not JobState.QUEUED or _goes_alone(job) or self._policy(job) is None:
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
            return self._submitter.way(job)[1].micro_batch
        except (InvalidRequestError, CatalogueError, StorageError):
            return None  # The single submission reports what is wrong.

    def _pool(self, jobs: Sequence[Job], failures: dict[str, Exception]) -> None:
        model, deployment, road = self._submitter.way(jobs[0])
        policy = deployment.micro_batch
        ready: list[_Ready] = []
        for job in jobs:
            self._attempt([job.job_id], failures, partial(self._ready, job, deployment, ready, (model, road)))
        if policy is None or not ready:
            return
        size = self._size(policy, deployment, road, sum(entry.merging.inputs for entry in ready))
        for group in groups_of([entry.merging for entry in ready], policy, size):
            members = [ready[position] for position in group]
            names = [entry.job.job_id for entry in members]
            self._attempt(names, failures, partial(self._together, members, model, road))

    def _ready(self, job: Job, deployment: Deployment, ready: list[_Ready], way: tuple[Model, Road]) -> None:
        claimed = self._submitter.claim(job)
        if claimed is None:
            return
        request = self._submitter.rendered(claimed, deployment)
        if request is None:
            return
        merging = self._merger.mergeable(request)
        if merging is None or (deployment.micro_batch and len(request.body) > deployment.micro_batch.max_bytes):
            # A body too large to be grouped would only take up memory while the others are read.
            self._hand_over.submit(claimed, way[0], way[1], request)
        else:
            ready.append(_Ready(claimed, request, merging))

    def _size(self, policy: MicroBatchPolicy, deployment: Deployment, road: Road, here: int) -> int:
        capacity = self._capacities.snapshot()
        resource = deployment.resource
        observed = capacity.of(resource, InferenceType.ASYNC)
        instances = road.instance_count if observed.instances is None else observed.instances
        return group_size(
            policy,
            waiting=max(here, observed.backlog),
            places=max(1, instances) * road.concurrency,
            one=deployment.timing.expected_seconds(0),
            measured=lambda size: capacity.of(measured_as(resource, size), InferenceType.ASYNC).measured_seconds,
        )

    def _together(self, members: Sequence[_Ready], model: Model, road: Road) -> None:
        if len(members) == 1:
            self._hand_over.submit(members[0].job, model, road, members[0].request)
            return
        group_id = self._ids.new(GROUP_PREFIX.removesuffix("_"))
        listed = [[entry.job.job_id, entry.merging.inputs] for entry in members]
        self._objects.put(members_key(group_id), json.dumps(listed).encode())
        request = self._merger.merge([entry.request for entry in members])
        handed_over_at = self._clock.now()
        try:
            submission = self._backend.submit(
                road,
                request.body,
                request.content_type,
                inference_id=group_id,
                request_ttl_seconds=model.asynchronous.request_ttl_seconds,
                timeout_seconds=group_timeout([(entry.job, entry.merging.inputs) for entry in members], model),
                trace=members[0].job.traceparent,
            )
        except (CapacityError, BackendThrottledError, StorageError):
            for entry in members:
                self._hand_over.give_back(entry.job)
            raise
        except BackendTimeoutError:
            raise
        except BackendError:
            # The cause may be one of them, or the grouping itself.
            for entry in members:
                self._hand_over.submit(entry.job, model, road, entry.request)
            return
        self.telemetry.count("MicroBatches")
        self.telemetry.count("MicroBatchedRequests", len(members))
        unrecorded: StorageError | None = None
        for entry in members:
            try:
                self._hand_over.record(entry.job, submission, handed_over_at, group=group_id)
            except StorageError as error:
                # The others would be submitted a second time as well.
                unrecorded = error
        if unrecorded is not None:
            raise unrecorded

    @staticmethod
    def _attempt(names: Sequence[str], failures: dict[str, Exception], act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 -- one bad job must not bring back its neighbours' messages
            failures.update(dict.fromkeys(names, error))
