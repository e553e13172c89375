"""The asynchronous road made of fakes."""

from typing import Any

from tests.fakes.backends import FixedCatalogue, RecordingAsyncBackend
from tests.fakes.cache import InMemoryAnswers
from tests.fakes.clock import CountingIds, ManualClock
from tests.fakes.completer import job_completer
from tests.fakes.control import FixedBrakes
from tests.fakes.crashes import CrashPoint
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FixedCapacity
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.messages import BUCKET, InMemoryEvents, InMemoryObjectStore, InMemoryQueue
from tests.fakes.places import FakePlaces
from tests.fakes.telemetry import InMemoryHoldingStore, RecordingMeasurements, RecordingTelemetry
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.domain.catalogue import Catalogue
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.answers import JobAnswers
from tollgate.services.jobs.braked_jobs import BrakedJobs
from tollgate.services.jobs.complete_async import AsyncCompletion
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.complete_together import GroupCompletion
from tollgate.services.jobs.hand_over import AsyncHandOver
from tollgate.services.jobs.hand_over_together import GroupHandOver
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.prepare_async import AsyncPreparation
from tollgate.services.jobs.price_job import JobPricing
from tollgate.services.jobs.submit_async import AsyncSubmitter
from tollgate.services.jobs.submit_together import GroupSubmitter


class AsyncRoad:
    """What lies outside the services, which tests look at, and the services, which a test may kill at any effect."""

    def __init__(self, catalogue: Catalogue | None = None) -> None:
        self.clock = ManualClock()
        self.jobs = InMemoryJobStore()
        self.objects = InMemoryObjectStore(clock=self.clock)
        self.queue = InMemoryQueue()
        self.webhooks = InMemoryQueue()
        self.capacities = FixedCapacity()
        self.ids = CountingIds()
        self.catalogues = FixedCatalogue(catalogue or make_catalogue())
        self.backend = RecordingAsyncBackend(BUCKET)
        self.holding = InMemoryHoldingStore()
        self.measurements = RecordingMeasurements()
        self.telemetry = RecordingTelemetry()
        self.answers = InMemoryAnswers()
        self.filings = InMemoryEvents()
        self.brakes = FixedBrakes()
        self.places = FakePlaces()
        self.runs = InMemoryQueue()

    def job_answers(self, watch: CrashPoint) -> JobAnswers:
        return JobAnswers(
            store=watch.watch(watch.watch(self.answers, "lead"), "store"),
            jobs=self.jobs,
            objects=self.objects,
            queue=watch.watch(self.queue, "send"),
            catalogues=self.catalogues,
            pricing=JobPricing(catalogues=self.catalogues, telemetry=self.telemetry, clock=self.clock),
            telemetry=self.telemetry,
            clock=self.clock,
            filing=self.filings,
        )

    def completer(self, point: CrashPoint | None = None) -> JobCompleter:
        watch = point or CrashPoint(0)
        return job_completer(
            jobs=watch.watch(self.jobs, "change"),
            objects=watch.watch(self.objects, "put"),
            webhooks=watch.watch(self.webhooks, "send"),
            catalogues=self.catalogues,
            durations=self.measurements,
            telemetry=self.telemetry,
            clock=self.clock,
            answers=lambda: self.job_answers(watch),
        )

    def submitter(self, point: CrashPoint | None = None) -> AsyncSubmitter:
        watch = point or CrashPoint(0)
        return AsyncSubmitter(
            jobs=watch.watch(self.jobs, "change"),
            catalogues=self.catalogues,
            preparation=self.preparation(watch),
            hand_over=self.hand_over(watch),
            completer=self.completer(watch),
            answers=lambda: self.job_answers(watch),
            brakes=self._braked(),
            runs=self.runs,
            telemetry=self.telemetry,
        )

    def preparation(self, watch: CrashPoint) -> AsyncPreparation:
        return AsyncPreparation(
            jobs=watch.watch(self.jobs, "change"),
            catalogues=self.catalogues,
            requests=JobRequests(ContainerDialects(), self.objects),
            hand_over=self.hand_over(watch),
            completer=self.completer(watch),
            brakes=self._braked(),
            places=self.places,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def _braked(self) -> BrakedJobs:
        gate = BrakeGate(brakes=lambda: self.brakes, telemetry=self.telemetry, clock=self.clock)
        return BrakedJobs(gate=gate, catalogues=self.catalogues, queue=self.queue, telemetry=self.telemetry)

    def hand_over(self, watch: CrashPoint) -> AsyncHandOver:
        return AsyncHandOver(
            jobs=watch.watch(self.jobs, "change"),
            objects=self.objects,
            backend=watch.watch(self.backend, "submit"),
            completer=self.completer(watch),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def completion(self, point: CrashPoint | None = None) -> AsyncCompletion:
        watch = point or CrashPoint(0)
        return AsyncCompletion(
            jobs=self.jobs,
            objects=self.objects,
            catalogues=self.catalogues,
            capacities=self.capacities,
            holding=watch.watch(self.holding, "take_place"),
            completer=self.completer(point),
            groups=GroupCompletion(
                jobs=watch.watch(self.jobs, "change"),
                objects=self.objects,
                holding=watch.watch(self.holding, "take_place"),
                merger=InputsMerger(),
                completer=self.completer(point),
                catalogues=self.catalogues,
                durations=self.measurements,
                queue=watch.watch(self.queue, "send"),
                telemetry=self.telemetry,
            ),
            telemetry=self.telemetry,
        )

    def group_submitter(self, point: CrashPoint | None = None) -> GroupSubmitter:
        watch = point or CrashPoint(0)
        groups = GroupHandOver(
            single=self.hand_over(watch),
            objects=watch.watch(self.objects, "put"),
            backend=watch.watch(self.backend, "submit"),
            merger=InputsMerger(),
            telemetry=self.telemetry,
            clock=self.clock,
            ids=self.ids,
        )
        return GroupSubmitter(
            submitter=self.submitter(watch),
            preparation=self.preparation(watch),
            hand_over=self.hand_over(watch),
            groups=groups,
            merger=InputsMerger(),
            jobs=self.jobs,
            catalogues=self.catalogues,
            capacities=self.capacities,
            telemetry=self.telemetry,
        )

    def answer(self, job_id: str, body: Any) -> str:
        """Put a container's answer where SageMaker would; its location."""
        key = f"async-output/tollgate-echo-async/{job_id}.out"
        self.objects.put(key, body)
        return self.objects.location_of(key)
