"""Queue of asynchronous jobs -> InvokeEndpointAsync."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.registry_capacity import RegistryCapacity, RegistryDurations
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.registry_control import RegistryControl
from tollgate.adapters.registry_places import RegistryPlaces
from tollgate.adapters.s3_client import S3Client
from tollgate.adapters.s3_direct_objects import S3DirectObjects
from tollgate.adapters.sagemaker_async import SageMakerAsync
from tollgate.adapters.sagemaker_runtime_client import SageMakerRuntimeClient
from tollgate.adapters.sqs_client import SqsClient
from tollgate.adapters.sqs_queue import SqsQueue
from tollgate.adapters.system import SystemClock, TimeSortedIds
from tollgate.api.message_fields import text_field
from tollgate.api.queue_events import named_in, process_messages
from tollgate.api.telemetry import Telemetry
from tollgate.services.brake_gate import BrakeGate
from tollgate.services.complete_job import JobCompleter
from tollgate.services.submit_async import AsyncSubmitter
from tollgate.services.submit_together import GroupSubmitter
from tollgate.settings import Settings, aws_environment

if TYPE_CHECKING:
    from tollgate.services.job_answers import JobAnswers


class AsyncSubmitSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_cache: str
    table_registry: str
    bucket: str
    async_queue_url: str


def build(settings: AsyncSubmitSettings) -> GroupSubmitter:
    """Wire the service; nothing is connected before the first message."""
    transport = AwsTransport(TransportConfig.from_mapping(aws_environment()))
    tables, clock, dialects = DynamoDBClient(transport), SystemClock(), ContainerDialects()
    jobs = DynamoDBJobStore(tables, settings.table_jobs, DynamoDBLedger(tables, settings.table_ledger))
    objects = S3DirectObjects(S3Client(transport), settings.bucket)
    catalogues = RegistryCatalogue(tables, settings.table_registry, clock.monotonic)
    telemetry = Telemetry(
        namespace=settings.powertools_metrics_namespace,
        service=settings.powertools_service_name,
        level=settings.log_level,
    )

    @cache
    def answers() -> "JobAnswers":
        # Only jobs of a model that has a cache need it.
        from tollgate.adapters.dynamodb_answers import DynamoDBAnswers  # noqa: PLC0415 -- see above
        from tollgate.services.job_answers import JobAnswers  # noqa: PLC0415 -- see above

        return JobAnswers(
            store=DynamoDBAnswers(tables, settings.table_cache, objects),
            jobs=jobs,
            objects=objects,
            queue=SqsQueue(SqsClient(transport), settings.async_queue_url),
            catalogues=catalogues,
            telemetry=telemetry,
            clock=clock,
        )

    control = RegistryControl(tables, settings.table_registry, clock.monotonic)
    backend = SageMakerAsync(SageMakerRuntimeClient(transport), objects)
    single = AsyncSubmitter(
        jobs=jobs,
        objects=objects,
        catalogues=catalogues,
        dialects=dialects,
        backend=backend,
        completer=JobCompleter(
            jobs=jobs,
            objects=objects,
            webhooks=None,
            catalogues=catalogues,
            dialects=dialects,
            durations=RegistryDurations(tables, settings.table_registry, now=clock.now, monotonic=clock.monotonic),
            telemetry=telemetry,
            clock=clock,
            answers=answers,
        ),
        telemetry=telemetry,
        clock=clock,
        answers=answers,
        gate=BrakeGate(brakes=lambda: control, telemetry=telemetry, clock=clock),
        queue=SqsQueue(SqsClient(transport), settings.async_queue_url),
        places=RegistryPlaces(tables, settings.table_registry),
    )
    return GroupSubmitter(
        submitter=single,
        jobs=jobs,
        objects=objects,
        backend=backend,
        merger=InputsMerger(),
        catalogues=catalogues,
        capacities=RegistryCapacity(tables, settings.table_registry, now=clock.now, monotonic=clock.monotonic),
        telemetry=telemetry,
        clock=clock,
        ids=TimeSortedIds(),
    )


def handle(event: dict[str, Any], service: GroupSubmitter) -> dict[str, Any]:
    """One batch of messages: all are looked at together, then each is done with or comes back by itself."""
    failures = service.submit_all(named_in(event, "job_id"))

    def ended(message: Mapping[str, Any]) -> None:
        failure = failures.get(text_field(message, "job_id"))
        if failure is not None:
            raise failure

    return process_messages(event, ended, service.telemetry)


@cache
def _service() -> GroupSubmitter:
    return build(AsyncSubmitSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
