"""Tells users of a place about its state: routing, whether it is up, and waiting jobs, that it is."""

from collections.abc import Mapping

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import JobState
from tollgate.domain.roads.capacity import RoadState
from tollgate.ports.endpoints import RoadStates
from tollgate.ports.jobs import JobStore, MessageQueue
from tollgate.ports.registry import CapacitySource
from tollgate.services.jobs.queue_job import queue_job
from tollgate.services.places.work import KeptPlace

RELEASE_LIMIT = 5_000


class PlaceNews:
    """Informs routing and waiting jobs."""

    def __init__(
        self,
        *,
        capacities: CapacitySource,
        states: RoadStates,
        jobs: JobStore,
        queues: Mapping[InferenceType, MessageQueue],
    ) -> None:
        self._capacities = capacities
        self._states = states
        self._jobs = jobs
        self._queues = queues

    def tell(self, kept: KeptPlace, state: RoadState, instances: int) -> None:
        """Record the state for routing, unless it is recorded already.

        Raises:
            StorageError
        """
        known = self._capacities.snapshot()
        for deployment, road in kept.users:
            seen = known.of(deployment.resource, road.inference_type)
            asleep = seen.state is RoadState.ASLEEP
            if asleep != (state is RoadState.ASLEEP) or seen.instances != instances:
                self._states.record_state(deployment.resource, road.inference_type, state, instances)

    def release(self, kept: KeptPlace) -> None:
        """Queue the jobs that waited here, the most urgent first.

        Asynchronous ones wait at SageMaker, except those that were gathered.

        Raises:
            StorageError: the rest waits for the next look.
        """
        for deployment, road in kept.users:
            queue = self._queues.get(road.inference_type)
            if queue is None or (road.inference_type is InferenceType.ASYNC and not kept.policy.gather):
                continue
            found = self._jobs.open_of(deployment.resource, road.inference_type, limit=RELEASE_LIMIT)
            for job in sorted(found, key=lambda job: job.deadline_at or job.created_at):
                if job.state is JobState.QUEUED:
                    queue_job(queue, job)
