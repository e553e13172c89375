"""Queue of jobs that waited for a real-time endpoint to wake -> InvokeEndpoint."""

from functools import cache
from typing import Any

from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.lambda_events import LambdaEvents
from tollgate.adapters.registry_capacity import RegistryDurations
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.registry_control import RegistryControl
from tollgate.adapters.registry_places import RegistryPlaces
from tollgate.adapters.s3_client import S3Client
from tollgate.adapters.s3_direct_objects import S3DirectObjects
from tollgate.adapters.sagemaker_realtime import SageMakerRealtime
from tollgate.adapters.sagemaker_runtime_client import SageMakerRuntimeClient
from tollgate.adapters.sqs_client import SqsClient
from tollgate.adapters.sqs_queue import SqsQueue
from tollgate.adapters.system import SystemClock
from tollgate.api.message_fields import text_field
from tollgate.api.queue_events import process_messages
from tollgate.api.telemetry import Telemetry
from tollgate.services.brake_gate import BrakeGate
from tollgate.services.complete_job import JobCompleter
from tollgate.services.run_deferred import DeferredRun
from tollgate.settings import Settings, aws_environment


class DeferredSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_registry: str
    bucket: str
    deferred_queue_url: str
    capacity_function: str
    webhook_queue_url: str


def build(settings: DeferredSettings) -> DeferredRun:
    """Wire the service; nothing is connected before the first message."""
    transport = AwsTransport(TransportConfig.from_mapping(aws_environment()))
    tables, clock, dialects = DynamoDBClient(transport), SystemClock(), ContainerDialects()
    queues = SqsClient(transport)
    jobs = DynamoDBJobStore(tables, settings.table_jobs, DynamoDBLedger(tables, settings.table_ledger))
    objects = S3DirectObjects(S3Client(transport), settings.bucket)
    catalogues = RegistryCatalogue(tables, settings.table_registry, clock.monotonic)
    telemetry = Telemetry(
        namespace=settings.powertools_metrics_namespace,
        service=settings.powertools_service_name,
        level=settings.log_level,
    )
    control = RegistryControl(tables, settings.table_registry, clock.monotonic)
    return DeferredRun(
        jobs=jobs,
        objects=objects,
        catalogues=catalogues,
        dialects=dialects,
        backend=SageMakerRealtime(SageMakerRuntimeClient(transport)),
        places=RegistryPlaces(tables, settings.table_registry),
        wakes=LambdaEvents(transport, settings.capacity_function),
        completer=JobCompleter(
            jobs=jobs,
            objects=objects,
            webhooks=SqsQueue(queues, settings.webhook_queue_url),
            catalogues=catalogues,
            dialects=dialects,
            durations=RegistryDurations(tables, settings.table_registry, now=clock.now, monotonic=clock.monotonic),
            telemetry=telemetry,
            clock=clock,
        ),
        telemetry=telemetry,
        clock=clock,
        gate=BrakeGate(brakes=lambda: control, telemetry=telemetry, clock=clock),
        queue=SqsQueue(queues, settings.deferred_queue_url),
    )


def handle(event: dict[str, Any], service: DeferredRun) -> dict[str, Any]:
    """One batch of messages."""
    return process_messages(event, lambda message: service.run(text_field(message, "job_id")), service.telemetry)


@cache
def _service() -> DeferredRun:
    return build(DeferredSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
