"""Hands several claimed jobs over to SageMaker in a single invocation.

The list of jobs in the group is stored in the bucket before the invocation, under the invocation's own id, so that the
notification of its end can be matched to them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tollgate.domain.catalogue import Model, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    StorageError,
)
from tollgate.domain.jobs.job import Job
from tollgate.domain.jobs.micro_batches import Mergeable
from tollgate.ports.backends import AsyncBackend
from tollgate.ports.dialects import RenderedRequest, RequestMerger
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.system import Clock, IdSource, Telemetry
from tollgate.services.jobs.groups import GROUP_PREFIX, members_key
from tollgate.services.jobs.hand_over import AsyncHandOver, invocation_timeout


@dataclass(frozen=True, slots=True)
class Member:
    """A claimed job with its rendered body."""

    job: Job
    request: RenderedRequest
    merging: Mergeable


class GroupHandOver:
    """Submits claimed jobs together; `single` submits one by itself, where that is better or all that works."""

    def __init__(
        self,
        *,
        single: AsyncHandOver,
        objects: WholeObjectStore,
        backend: AsyncBackend,
        merger: RequestMerger,
        telemetry: Telemetry,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._single = single
        self._objects = objects
        self._backend = backend
        self._merger = merger
        self._telemetry = telemetry
        self._clock = clock
        self._ids = ids

    def submit(self, members: Sequence[Member], model: Model, road: Road) -> None:
        """Submit claimed jobs in one invocation, and record that.

        Raises:
            CapacityError, BackendThrottledError, BackendTimeoutError, StorageError: try again later.
        """
        if len(members) == 1:
            self._single.submit(members[0].job, model, road, members[0].request)
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
                self._single.give_back(entry.job)
            raise
        except BackendTimeoutError:
            raise
        except BackendError:
            # The cause may be one of them, or the grouping itself.
            for entry in members:
                self._single.submit(entry.job, model, road, entry.request)
            return
        self._telemetry.count("MicroBatches")
        self._telemetry.count("MicroBatchedRequests", len(members))
        unrecorded: StorageError | None = None
        for entry in members:
            try:
                self._single.record(entry.job, submission, handed_over_at, group=group_id)
            except StorageError as error:
                # The others would be submitted a second time as well.
                unrecorded = error
        if unrecorded is not None:
            raise unrecorded


def group_timeout(members: Sequence[tuple[Job, int]], model: Model) -> int:
    """Seconds such that no job's share, by its number of inputs, exceeds the amount held for it."""
    inputs = sum(own for _, own in members)
    paid = (invocation_timeout(job, model) * inputs // own for job, own in members)
    return min(model.asynchronous.invocation_timeout_seconds, *paid)
