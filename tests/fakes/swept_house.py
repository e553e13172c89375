"""Both roads with a sweeper over them."""

from tests.fakes.batch_road import BatchRoad
from tests.fakes.crashes import CrashPoint
from tests.fakes.gateway import FixedCapacity
from tests.fakes.messages import InMemoryQueue
from tests.fakes.telemetry import InMemoryHoldingStore
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.domain.jobs.job import Job
from tollgate.services.jobs.complete_async import AsyncCompletion
from tollgate.services.jobs.complete_together import GroupCompletion
from tollgate.services.jobs.sweep import Sweeper, SweepQueues, SweepServices


class SweptHouse(BatchRoad):
    """The batch road with a sweeper over it, which looks at both roads."""

    def __init__(self) -> None:
        super().__init__()
        self.async_queue = InMemoryQueue()
        self.deferred_queue = InMemoryQueue()
        nothing = CrashPoint(0)
        self.holding = InMemoryHoldingStore()
        self.capacities = FixedCapacity()
        self.completion = AsyncCompletion(
            jobs=self.jobs,
            objects=self.objects,
            catalogues=self.catalogues,
            capacities=self.capacities,
            holding=self.holding,
            completer=self.completer(nothing),
            groups=GroupCompletion(
                jobs=self.jobs,
                objects=self.objects,
                holding=self.holding,
                merger=InputsMerger(),
                completer=self.completer(nothing),
                catalogues=self.catalogues,
                durations=self.measurements,
                queue=self.async_queue,
                telemetry=self.telemetry,
            ),
            telemetry=self.telemetry,
        )
        self.sweeper = Sweeper(
            jobs=self.jobs,
            batches=self.batches,
            file_batches=self.file_batches,
            catalogues=self.catalogues,
            backend=self.backend,
            backlog=self.measurements,
            queues=SweepQueues(
                asynchronous=self.async_queue, deferred=self.deferred_queue, batch=self.queue, webhooks=self.webhooks
            ),
            services=SweepServices(
                completion=self.completion,
                completer=self.completer(nothing),
                collector=self.collector(),
                pooled=self.pooled(),
                drops=self.drops(),
            ),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def sweep_for(self, seconds: float) -> None:
        """A sweep a minute."""
        for _ in range(int(seconds // 60)):
            self.clock.advance(60)
            self.sweeper.sweep()

    def job(self, job_id: str = "inf_1") -> Job:
        found = self.jobs.get(job_id)
        assert found is not None
        return found
