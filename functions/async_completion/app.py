"""SageMaker's success and error topics -> jobs."""

from functools import cache
from typing import TYPE_CHECKING, Any

from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_holding import DynamoDBHoldingStore
from tollgate.adapters.dynamodb_jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.registry_capacity import RegistryDurations
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.registry_outcomes import RegistryOutcomes
from tollgate.adapters.s3_client import S3Client
from tollgate.adapters.s3_direct_objects import S3DirectObjects
from tollgate.adapters.sqs_client import SqsClient
from tollgate.adapters.sqs_queue import SqsQueue
from tollgate.adapters.system import SystemClock
from tollgate.api.sagemaker_events import async_notices
from tollgate.api.telemetry import Telemetry
from tollgate.services.complete_async import AsyncCompletion
from tollgate.services.complete_job import JobCompleter
from tollgate.services.complete_together import GroupCompletion
from tollgate.settings import Settings, aws_environment

if TYPE_CHECKING:
    from tollgate.services.job_answers import JobAnswers


class AsyncCompletionSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_cache: str
    table_registry: str
    bucket: str
    async_queue_url: str
    webhook_queue_url: str
    refresh_function: str = ""


def build(settings: AsyncCompletionSettings) -> AsyncCompletion:
    """Wire the service; nothing is connected before the first notice."""
    transport = AwsTransport(TransportConfig.from_mapping(aws_environment()))
    tables, clock = DynamoDBClient(transport), SystemClock()
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
        from tollgate.adapters.lambda_events import LambdaEvents  # noqa: PLC0415 -- see above
        from tollgate.services.job_answers import JobAnswers  # noqa: PLC0415 -- see above

        return JobAnswers(
            store=DynamoDBAnswers(tables, settings.table_cache, objects),
            jobs=jobs,
            objects=objects,
            queue=None,
            catalogues=catalogues,
            telemetry=telemetry,
            clock=clock,
            filing=LambdaEvents(transport, settings.refresh_function) if settings.refresh_function else None,
        )

    queues = SqsClient(transport)
    holding = DynamoDBHoldingStore(tables, settings.table_registry)
    durations = RegistryDurations(tables, settings.table_registry, now=clock.now, monotonic=clock.monotonic)
    completer = JobCompleter(
        jobs=jobs,
        objects=objects,
        webhooks=SqsQueue(queues, settings.webhook_queue_url),
        catalogues=catalogues,
        dialects=ContainerDialects(),
        durations=durations,
        telemetry=telemetry,
        clock=clock,
        answers=answers,
        outcomes=RegistryOutcomes(
            tables, settings.table_registry, now=clock.now, monotonic=clock.monotonic, flush_seconds=0
        ),
    )
    return AsyncCompletion(
        jobs=jobs,
        objects=objects,
        catalogues=catalogues,
        holding=holding,
        completer=completer,
        groups=GroupCompletion(
            jobs=jobs,
            objects=objects,
            holding=holding,
            merger=InputsMerger(),
            completer=completer,
            catalogues=catalogues,
            durations=durations,
            queue=SqsQueue(queues, settings.async_queue_url),
            telemetry=telemetry,
        ),
        telemetry=telemetry,
    )


def handle(event: dict[str, Any], service: AsyncCompletion) -> None:
    """The notices of one event; an error brings the whole event back."""
    for notice in async_notices(event):
        service.notice(notice)


@cache
def _service() -> AsyncCompletion:
    return build(AsyncCompletionSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Entry point."""
    handle(event, _service())
