"""The parts of the batch road on AWS, put together for the three functions that work on it."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dynamodb_answers import DynamoDBAnswers
from tollgate.adapters.dynamodb_batches import DynamoDBBatchStore
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_files import DynamoDBFileBatchStore, DynamoDBFileStore
from tollgate.adapters.dynamodb_jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.lambda_events import LambdaEvents
from tollgate.adapters.registry_capacity import RegistryDurations
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.registry_control import RegistryControl
from tollgate.adapters.registry_outcomes import RegistryOutcomes
from tollgate.adapters.s3_objects import S3ObjectStore
from tollgate.adapters.sagemaker_transform import SageMakerTransform
from tollgate.adapters.sqs_client import SqsClient
from tollgate.adapters.sqs_queue import SqsQueue
from tollgate.adapters.system import SystemClock
from tollgate.ports.files import LineBodies
from tollgate.ports.system import Telemetry
from tollgate.services.admission import Admission
from tollgate.services.batch_pooled import PooledRuns
from tollgate.services.batch_start import BatchStarter
from tollgate.services.brake_gate import BrakeGate
from tollgate.services.collect_batch import BatchCollector
from tollgate.services.collect_drop import DropCollector
from tollgate.services.complete_job import JobCompleter
from tollgate.services.drop_batch import DroppedRuns
from tollgate.services.drop_budget import DropBudget
from tollgate.services.drop_results import DropResults
from tollgate.services.file_batch_cut import RefusalOf
from tollgate.services.file_batch_finish import FileBatchResults
from tollgate.services.job_answers import JobAnswers
from tollgate.services.run_results import ResultsBySource


@dataclass(frozen=True)
class BatchAssembly:
    """Each part is made when it is first asked for, and once.

    Attributes:
        line_bodies: of what batches of files ask for.
        refusal_of: an error as a line's answer.
        file_retention_days: that result files are kept.
        batch_queue_url: of the dispatcher.
        webhook_queue_url: empty in a function that ends jobs only now and then; the sweeper then sends for it.
        table_cache: where the answers of jobs are kept; empty in a function that ends none with an answer.
        refresh_function: that files those answers for near matches.
    """

    transport_config: TransportConfig
    telemetry: Telemetry
    table_jobs: str
    table_ledger: str
    table_registry: str
    bucket: str
    line_bodies: LineBodies
    refusal_of: RefusalOf
    file_retention_days: int
    batch_queue_url: str
    webhook_queue_url: str = ""
    table_cache: str = ""
    refresh_function: str = ""

    @cached_property
    def clock(self) -> SystemClock:
        """The real clock."""
        return SystemClock()

    @cached_property
    def transport(self) -> AwsTransport:
        """The connections."""
        return AwsTransport(self.transport_config)

    @cached_property
    def tables(self) -> DynamoDBClient:
        """DynamoDB."""
        return DynamoDBClient(self.transport)

    @cached_property
    def ledger(self) -> DynamoDBLedger:
        """Budgets."""
        return DynamoDBLedger(self.tables, self.table_ledger)

    @cached_property
    def jobs(self) -> DynamoDBJobStore:
        """Jobs."""
        return DynamoDBJobStore(self.tables, self.table_jobs, self.ledger)

    @cached_property
    def files(self) -> DynamoDBFileStore:
        """Uploaded files and results."""
        return DynamoDBFileStore(self.tables, self.table_jobs)

    @cached_property
    def file_batches(self) -> DynamoDBFileBatchStore:
        """Batches of files."""
        return DynamoDBFileBatchStore(self.tables, self.table_jobs, self.ledger)

    @cached_property
    def batches(self) -> DynamoDBBatchStore:
        """Runs and leases."""
        return DynamoDBBatchStore(self.tables, self.table_jobs, self.ledger)

    @cached_property
    def objects(self) -> S3ObjectStore:
        """The bucket."""
        return S3ObjectStore(self.bucket)

    @cached_property
    def catalogues(self) -> RegistryCatalogue:
        """The catalogue in force."""
        return RegistryCatalogue(self.tables, self.table_registry, self.clock.monotonic)

    @cached_property
    def backend(self) -> SageMakerTransform:
        """Transform jobs."""
        return SageMakerTransform(self.objects)

    @cached_property
    def dialects(self) -> ContainerDialects:
        """How containers are spoken to."""
        return ContainerDialects()

    @cached_property
    def durations(self) -> RegistryDurations:
        """How long requests take."""
        return RegistryDurations(self.tables, self.table_registry, now=self.clock.now, monotonic=self.clock.monotonic)

    def queue(self, url: str) -> SqsQueue:
        """A queue."""
        return SqsQueue(SqsClient(self.transport), url)

    @cached_property
    def completer(self) -> JobCompleter:
        """Where jobs end."""
        return JobCompleter(
            jobs=self.jobs,
            objects=self.objects,
            webhooks=self.queue(self.webhook_queue_url) if self.webhook_queue_url else None,
            catalogues=self.catalogues,
            dialects=self.dialects,
            durations=self.durations,
            telemetry=self.telemetry,
            clock=self.clock,
            answers=(lambda: self.answers) if self.table_cache else None,
            # One write for the many records of a transform job.
            outcomes=RegistryOutcomes(
                self.tables, self.table_registry, now=self.clock.now, monotonic=self.clock.monotonic, flush_seconds=2
            ),
        )

    @cached_property
    def answers(self) -> JobAnswers:
        """Where answers of jobs are kept; asked when the first job of a model with a cache ends."""
        filing = LambdaEvents(self.transport, self.refresh_function) if self.refresh_function else None
        return JobAnswers(
            store=DynamoDBAnswers(self.tables, self.table_cache, self.objects),
            jobs=self.jobs,
            objects=self.objects,
            queue=None,
            catalogues=self.catalogues,
            telemetry=self.telemetry,
            clock=self.clock,
            filing=filing,
        )

    @cached_property
    def starter(self) -> BatchStarter:
        """Where transform jobs start."""
        return BatchStarter(
            batches=self.batches, backend=self.backend, telemetry=self.telemetry, is_held_back=self.is_held_back
        )

    @cached_property
    def gate(self) -> BrakeGate:
        """The brakes."""
        control = RegistryControl(self.tables, self.table_registry, self.clock.monotonic)
        return BrakeGate(brakes=lambda: control, telemetry=self.telemetry, clock=self.clock)

    def is_held_back(self, resource: str) -> bool:
        """Whether the brakes keep transform jobs of a deployment from starting."""
        return self.gate.holds_back(self.catalogues.current(), resource)

    @cached_property
    def pooled(self) -> PooledRuns:
        """Runs of jobs."""
        return PooledRuns(
            jobs=self.jobs,
            batches=self.batches,
            objects=self.objects,
            catalogues=self.catalogues,
            dialects=self.dialects,
            starter=self.starter,
            completer=self.completer,
            clock=self.clock,
        )

    @cached_property
    def file_batch_results(self) -> FileBatchResults:
        """Results of batches of files."""
        return FileBatchResults(
            batches=self.file_batches,
            files=self.files,
            objects=self.objects,
            catalogues=self.catalogues,
            dialects=self.dialects,
            bodies=self.line_bodies,
            refusal_of=self.refusal_of,
            queue=self.queue(self.batch_queue_url),
            telemetry=self.telemetry,
            clock=self.clock,
            kept=timedelta(days=self.file_retention_days),
        )

    @cached_property
    def run_results(self) -> ResultsBySource:
        """Results of whatever came in a file."""
        return ResultsBySource(drops=self.results, batches=self.file_batch_results)

    @cached_property
    def results(self) -> DropResults:
        """Results of dropped files."""
        return DropResults(
            batches=self.batches,
            objects=self.objects,
            catalogues=self.catalogues,
            dialects=self.dialects,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def drops(self) -> DroppedRuns:
        """Runs of files."""
        return DroppedRuns(
            batches=self.batches,
            objects=self.objects,
            catalogues=self.catalogues,
            dialects=self.dialects,
            starter=self.starter,
            budget=DropBudget(
                batches=self.batches,
                catalogues=self.catalogues,
                admission=Admission(ledger=self.ledger, telemetry=self.telemetry, clock=self.clock),
            ),
            drops=self.results,
            results=self.run_results,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def collector(self) -> BatchCollector:
        """Where runs end."""
        return BatchCollector(
            jobs=self.jobs,
            batches=self.batches,
            objects=self.objects,
            catalogues=self.catalogues,
            backend=self.backend,
            runs=self.pooled,
            drops=DropCollector(
                batches=self.batches,
                objects=self.objects,
                runs=self.drops,
                results=self.run_results,
                starter=self.starter,
                clock=self.clock,
            ),
            starter=self.starter,
            completer=self.completer,
            telemetry=self.telemetry,
            clock=self.clock,
        )
