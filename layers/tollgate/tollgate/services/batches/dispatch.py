"""Decides when waiting batch jobs leave.

The table is the truth and a message only wakes the dispatcher, so messages may be lost, doubled or late: a schedule
looks at every pool once a minute anyway.
"""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta

from tollgate.domain.catalogue import Deployment, Model, Road
from tollgate.domain.errors import NoCatalogueError, TollgateError
from tollgate.domain.jobs.batches import BatchState, WaitingJob, due_at
from tollgate.domain.jobs.job import JobFailure
from tollgate.ports.jobs import BatchStore, JobStore, MessageQueue, PooledJob
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, IdSource, Telemetry
from tollgate.services.batches.pooled import PooledRuns
from tollgate.services.batches.start import batch_resources, known_batch_way
from tollgate.services.jobs.complete_job import JobCompleter

LEASE_SECONDS = 180
"""Longer than the dispatching function may run."""

MOST_RUNS = 4
"""Most transform jobs that one call starts for one pool; the next call continues."""

_OPEN_RUNS = 100
_LONGEST_DELAY = 900
_TICK_KEPT_SECONDS = 60


class BatchDispatcher:
    """Looks at pools of waiting jobs and sends off those that are due."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        batches: BatchStore,
        catalogues: CatalogueSource,
        queue: MessageQueue,
        runs: PooledRuns,
        completer: JobCompleter,
        telemetry: Telemetry,
        clock: Clock,
        ids: IdSource,
        is_held_back: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._jobs = jobs
        self._batches = batches
        self._catalogues = catalogues
        self._queue = queue
        self._runs = runs
        self._completer = completer
        self.telemetry = telemetry
        self._clock = clock
        self._ids = ids
        self._is_held_back = is_held_back

    def wake_all(self) -> None:
        """Look at the pool of every deployment in the catalogue.

        Raises:
            CatalogueError, StorageError, BackendError: try again.
        """
        try:
            resources = batch_resources(self._catalogues.current())
        except NoCatalogueError:
            return
        failures: list[Exception] = []
        for resource in resources:
            try:
                self.wake(resource)
            except Exception as error:  # noqa: BLE001 -- one pool in trouble must not keep the others waiting
                said = error.message if isinstance(error, TollgateError) else type(error).__name__
                self.telemetry.log("ERROR", "batch pool failed", resource=resource, error=said)
                failures.append(error)
        if failures:
            raise failures[0]

    def wake(self, resource: str) -> None:
        """Look at one pool: send it off if it is due, otherwise arrange to return in time.

        Raises:
            CatalogueError, StorageError, BackendError: try again.
        """
        way = known_batch_way(self._catalogues, resource)
        if way is None:
            self._fail_waiting(resource)
            return
        if self._is_held_back(resource):
            return  # The schedule looks again every minute.
        model, deployment, road = way
        if not self._due(model, deployment, road):
            return
        holder = self._ids.new("dispatch")
        now = self._clock.now()
        until = now + timedelta(seconds=LEASE_SECONDS)
        if not self._batches.lease(f"dispatch#{resource}", holder=holder, now=now, until=until):
            return
        try:
            self._send_off(model, deployment, road)
        finally:
            self._batches.release(f"dispatch#{resource}", holder=holder)

    def _due(self, model: Model, deployment: Deployment, road: Road) -> Sequence[PooledJob]:
        """The jobs to send now; a message is arranged for those that may still wait."""
        waiting = self._jobs.pool_of(deployment.resource, limit=model.batch.max_records)
        wait = self._seconds_until_due(waiting, model, deployment, road) if waiting else 0
        if wait > 0:
            self._come_back(deployment.resource, wait)
            return ()
        return waiting

    def _send_off(self, model: Model, deployment: Deployment, road: Road) -> None:
        """Start runs until the pool is no longer due. Requires the lease."""
        resource = deployment.resource
        self._go_on(resource)
        for _ in range(MOST_RUNS):
            # Read again under the lease: an earlier holder may have taken these a moment ago.
            waiting = self._due(model, deployment, road)
            if not waiting:
                return
            batch_id = "tollgate-" + self._ids.new("batch").replace("_", "-")
            run = self._runs.begin(batch_id, resource, [job.job_id for job in waiting])
            if run is not None:
                self._runs.prepare(run)
        self._come_back(resource, 1)

    def _go_on(self, resource: str) -> None:
        """Finish what an earlier holder of the lease left in preparation, before starting anything new."""
        for run in self._batches.open_since(self._clock.now(), limit=_OPEN_RUNS):
            pooled = run.source is None and run.parent is None
            if pooled and run.resource == resource and run.state is BatchState.PREPARING:
                self._runs.prepare(run)

    def _seconds_until_due(self, waiting: Sequence[PooledJob], model: Model, deployment: Deployment, road: Road) -> int:
        pool = [WaitingJob(job.created_at, job.deadline_at) for job in waiting]
        due = due_at(pool, model.batch, road, deployment.timing.expected_seconds(0))
        if due is None:
            return 0
        return max(0, math.ceil((due - self._clock.now()) / timedelta(seconds=1)))

    def _come_back(self, resource: str, wait: int) -> None:
        """Send one message for this moment, however many ask for it."""
        if wait > _LONGEST_DELAY:
            return  # The longest delay SQS allows; the schedule looks every minute.
        now = self._clock.now()
        due = now + timedelta(seconds=wait)
        name = f"tick#{resource}#{due.replace(microsecond=0).isoformat()}"
        kept = due + timedelta(seconds=_TICK_KEPT_SECONDS)
        if self._batches.lease(name, holder=self._ids.new("tick"), now=now, until=kept):
            self._queue.send({"kind": "tick", "resource": resource}, delay_seconds=wait)

    def _fail_waiting(self, resource: str) -> None:
        """Fail the waiting jobs of a deployment that is no longer in the catalogue: they can never run."""
        for job in self._jobs.waiting_for_batch(resource, limit=100):
            message = f"Deployment '{resource}' no longer has a batch road."
            self._completer.fail(job, JobFailure("invalid_request", message), untouched=True)
