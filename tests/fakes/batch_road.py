"""The batch road made of fakes, with a transform job that behaves like SageMaker's."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.backends import FixedCatalogue, RecordingTransformBackend
from tests.fakes.batches import InMemoryBatchStore
from tests.fakes.cache import InMemoryAnswers
from tests.fakes.clock import CountingIds, ManualClock
from tests.fakes.completer import job_completer
from tests.fakes.crashes import CrashPoint
from tests.fakes.examples import make_catalogue, make_job
from tests.fakes.files import InMemoryFileBatchStore, InMemoryFileStore
from tests.fakes.gateway import FixedCapacity
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.messages import InMemoryEvents, InMemoryObjectStore, InMemoryQueue
from tests.fakes.telemetry import RecordingMeasurements, RecordingTelemetry
from tollgate.adapters.dialects import ContainerDialects
from tollgate.api.openai.line_bodies import OpenAILineBodies, refusal_of
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.jobs.batches import BatchState
from tollgate.services.batches.collect_batch import BatchCollector
from tollgate.services.batches.collect_drop import DropCollector
from tollgate.services.batches.collect_pool import PoolCollector
from tollgate.services.batches.dispatch import BatchDispatcher
from tollgate.services.batches.drop_batch import DroppedRuns
from tollgate.services.batches.drop_budget import DropBudget
from tollgate.services.batches.drop_results import DropResults
from tollgate.services.batches.file_batch_cut import BatchCutter
from tollgate.services.batches.file_batch_files import ResultFiles
from tollgate.services.batches.file_batch_finish import FileBatchFinisher
from tollgate.services.batches.file_batch_results import FileBatchResults
from tollgate.services.batches.file_batch_run import FileBatchRunner
from tollgate.services.batches.file_part_admission import PartAdmission
from tollgate.services.batches.file_part_run import PartRunner
from tollgate.services.batches.pooled import PooledRuns
from tollgate.services.batches.run_results import ResultsBySource
from tollgate.services.batches.start import BatchStarter
from tollgate.services.jobs.answers import JobAnswers
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.price_job import JobPricing
from tollgate.services.requests.admission import Admission

RESOURCE = "echo/small"


class BatchRoad:
    """What lies outside the services, which tests look at, and the services, which a test may kill at any effect."""

    def __init__(self, catalogue: Catalogue | None = None) -> None:
        self.clock = ManualClock()
        self.ids = CountingIds()
        self.jobs = InMemoryJobStore()
        self.ledger = InMemoryLedger()
        self.batches = InMemoryBatchStore(self.ledger)
        self.objects = InMemoryObjectStore(clock=self.clock)
        self.queue = InMemoryQueue()
        # Resources whose transform jobs the brakes keep from starting.
        self.held_back: set[str] = set()
        self.webhooks = InMemoryQueue()
        self.catalogues = FixedCatalogue(catalogue or make_catalogue())
        self.backend = RecordingTransformBackend(self.clock)
        self.measurements = RecordingMeasurements()
        self.telemetry = RecordingTelemetry()
        self.files = InMemoryFileStore()
        self.file_batches = InMemoryFileBatchStore()
        self.answers = InMemoryAnswers()
        self.filings = InMemoryEvents()
        self.job_answers = JobAnswers(
            store=self.answers,
            jobs=self.jobs,
            objects=self.objects,
            queue=None,
            catalogues=self.catalogues,
            pricing=JobPricing(catalogues=self.catalogues, telemetry=self.telemetry, clock=self.clock),
            telemetry=self.telemetry,
            clock=self.clock,
            filing=self.filings,
        )

    def add_jobs(self, count: int, **changes: Any) -> None:
        """Queued batch jobs, a second apart; the input is the number."""
        for number in range(count):
            job = make_job(
                f"inf_{number:03d}",
                inference_type=InferenceType.BATCH,
                created_at=self.clock.now() + timedelta(seconds=number),
                input=make_job().input.__class__(inline=number),
            )
            self.jobs.add(type(job)(**_fields(job) | changes))

    def completer(self, point: CrashPoint) -> JobCompleter:
        return job_completer(
            jobs=point.watch(self.jobs, "change"),
            objects=point.watch(self.objects, "put"),
            webhooks=point.watch(self.webhooks, "send"),
            catalogues=self.catalogues,
            durations=self.measurements,
            telemetry=self.telemetry,
            clock=self.clock,
            answers=lambda: self.job_answers,
        )

    def starter(self, point: CrashPoint) -> BatchStarter:
        return BatchStarter(
            batches=point.watch(self.batches, "change"),
            backend=point.watch(self.backend, "start"),
            telemetry=self.telemetry,
            is_held_back=self.held_back.__contains__,
        )

    def pooled(self, point: CrashPoint | None = None) -> PooledRuns:
        watch = point or CrashPoint(0)
        return PooledRuns(
            jobs=watch.watch(self.jobs, "change"),
            batches=watch.watch(self.batches, "add"),
            objects=watch.watch(self.objects, "put", "put_lines"),
            catalogues=self.catalogues,
            requests=JobRequests(ContainerDialects(), self.objects),
            starter=self.starter(watch),
            completer=self.completer(watch),
            clock=self.clock,
        )

    def dispatcher(self, point: CrashPoint | None = None) -> BatchDispatcher:
        watch = point or CrashPoint(0)
        return BatchDispatcher(
            jobs=self.jobs,
            batches=watch.watch(self.batches, "lease"),
            catalogues=self.catalogues,
            queue=watch.watch(self.queue, "send"),
            runs=self.pooled(watch),
            completer=self.completer(watch),
            telemetry=self.telemetry,
            clock=self.clock,
            ids=self.ids,
            is_held_back=self.held_back.__contains__,
        )

    def results(self, point: CrashPoint) -> DropResults:
        return DropResults(
            batches=self.batches,
            objects=point.watch(self.objects, "put", "put_lines"),
            catalogues=self.catalogues,
            dialects=ContainerDialects(),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def drops(self, point: CrashPoint | None = None) -> DroppedRuns:
        watch = point or CrashPoint(0)
        return DroppedRuns(
            batches=watch.watch(self.batches, "add"),
            objects=watch.watch(self.objects, "put", "put_lines"),
            catalogues=self.catalogues,
            dialects=ContainerDialects(),
            starter=self.starter(watch),
            budget=DropBudget(
                batches=watch.watch(self.batches, "change"),
                catalogues=self.catalogues,
                admission=Admission(ledger=self.ledger, telemetry=self.telemetry, clock=self.clock),
            ),
            drops=self.results(watch),
            results=self.run_results(watch),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def file_batch_results(self, point: CrashPoint) -> FileBatchResults:
        return FileBatchResults(
            batches=point.watch(self.file_batches, "change"),
            queue=point.watch(self.queue, "send"),
            telemetry=self.telemetry,
        )

    def file_batch_finisher(self, point: CrashPoint) -> FileBatchFinisher:
        return FileBatchFinisher(
            batches=point.watch(self.file_batches, "change"),
            files=ResultFiles(
                files=point.watch(self.files, "add"),
                objects=point.watch(self.objects, "put_lines"),
                dialects=ContainerDialects(),
                bodies=OpenAILineBodies(),
                refusal_of=refusal_of,
                clock=self.clock,
                kept=timedelta(days=30),
            ),
            catalogues=self.catalogues,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def run_results(self, point: CrashPoint) -> ResultsBySource:
        return ResultsBySource(drops=self.results(point), batches=self.file_batch_results(point))

    def file_batch_runner(self, point: CrashPoint | None = None) -> FileBatchRunner:
        watch = point or CrashPoint(0)
        objects = watch.watch(self.objects, "put_lines", "delete")
        batches = watch.watch(self.file_batches, "change")
        admission = Admission(ledger=self.file_batches.ledger, telemetry=self.telemetry, clock=self.clock)
        return FileBatchRunner(
            batches=batches,
            files=self.files,
            catalogues=self.catalogues,
            cutter=BatchCutter(
                objects=objects,
                capacities=FixedCapacity(),
                dialects=ContainerDialects(),
                bodies=OpenAILineBodies(),
                refusal_of=refusal_of,
            ),
            admission=PartAdmission(batches=batches, catalogues=self.catalogues, admission=admission),
            parts=PartRunner(
                runs=watch.watch(self.batches, "add"),
                objects=objects,
                backend=self.backend,
                starter=self.drops(watch),
                results=self.file_batch_results(watch),
                refusal_of=refusal_of,
                clock=self.clock,
            ),
            finisher=self.file_batch_finisher(watch),
            telemetry=self.telemetry,
            clock=self.clock,
            is_held_back=self.held_back.__contains__,
        )

    def collector(self, point: CrashPoint | None = None) -> BatchCollector:
        watch = point or CrashPoint(0)
        return BatchCollector(
            batches=self.batches,
            catalogues=self.catalogues,
            backend=self.backend,
            pooled=PoolCollector(
                jobs=self.jobs,
                batches=self.batches,
                objects=self.objects,
                runs=self.pooled(watch),
                starter=self.starter(watch),
                completer=self.completer(watch),
                clock=self.clock,
            ),
            drops=DropCollector(
                batches=watch.watch(self.batches, "add"),
                objects=self.objects,
                runs=self.drops(watch),
                results=self.run_results(watch),
                starter=self.starter(watch),
                clock=self.clock,
            ),
            telemetry=self.telemetry,
        )

    def run_transform(
        self, name: str, *, bad: Callable[[Any], bool] = lambda _value: False, seconds: float = 60
    ) -> None:
        """Work through the input as SageMaker does: a file with one bad record has no output at all."""
        job = self.backend.started[name]
        began: datetime = self.clock.now()
        self.clock.advance(seconds)
        failed = False
        for key in list(self.objects.list_keys(job.input_prefix)):
            records = [json.loads(line) for line in self.objects.lines(key) or ()]
            if any(bad(record["body"]["inputs"]) for record in records):
                failed = True
                continue
            answers = [{"id": r["id"], "SageMakerOutput": {"echo": r["body"]["inputs"]}} for r in records]
            out = job.output_prefix + key.removeprefix(job.input_prefix) + ".out"
            self.objects.put_lines(out, [json.dumps(answer).encode() for answer in answers])
        reason = "ClientError: 1 record was bad" if failed else None
        self.backend.end(name, "Failed" if failed else "Completed", reason=reason, began=began)

    def collect(self, name: str, point: CrashPoint | None = None) -> None:
        """Tell the collector that the job has ended."""
        status = self.backend.describe(name)
        assert status is not None
        self.collector(point).ended(status)

    def run_everything(self, *, bad: Callable[[Any], bool] = lambda _value: False) -> None:
        """Let time pass until nothing is left to do: schedule, transform jobs, events, and resumed preparations."""
        for _ in range(8):
            self.clock.advance(400)
            self.dispatcher().wake_all()
            for run in self.batches.open_since(self.clock.now(), limit=100):
                if run.state is BatchState.PREPARING:
                    (self.pooled() if run.source is None else self.drops()).prepare(run)
            for name, status in list(self.backend.statuses.items()):
                if not status.ended:
                    self.run_transform(name, bad=bad)
                self.collect(name)


def _fields(job: Any) -> dict[str, Any]:
    return dict(job._asdict())
