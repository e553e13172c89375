"""Every minute: what nobody finished."""

from functools import cache
from typing import Any

from tollgate.adapters.aws_transport import TransportConfig
from tollgate.adapters.batch_assembly import BatchAssembly
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.adapters.dynamodb_backlog import DynamoDBBacklog
from tollgate.adapters.dynamodb_holding import DynamoDBHoldingStore
from tollgate.api.openai.line_bodies import OpenAILineBodies, refusal_of
from tollgate.api.telemetry import Telemetry
from tollgate.services.complete_async import AsyncCompletion
from tollgate.services.complete_together import GroupCompletion
from tollgate.services.sweep import Sweeper, SweepQueues, SweepServices
from tollgate.settings import Settings, aws_environment


class SweeperSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_registry: str
    bucket: str
    file_retention_days: int
    async_queue_url: str
    deferred_queue_url: str
    batch_queue_url: str
    webhook_queue_url: str


def build(settings: SweeperSettings) -> Sweeper:
    """Wire the service; nothing is connected before the first sweep."""
    telemetry = Telemetry(
        namespace=settings.powertools_metrics_namespace,
        service=settings.powertools_service_name,
        level=settings.log_level,
    )
    parts = BatchAssembly(
        transport_config=TransportConfig.from_mapping(aws_environment()),
        telemetry=telemetry,
        table_jobs=settings.table_jobs,
        table_ledger=settings.table_ledger,
        table_registry=settings.table_registry,
        bucket=settings.bucket,
        line_bodies=OpenAILineBodies(),
        refusal_of=refusal_of,
        file_retention_days=settings.file_retention_days,
        batch_queue_url=settings.batch_queue_url,
        webhook_queue_url=settings.webhook_queue_url,
    )
    holding = DynamoDBHoldingStore(parts.tables, settings.table_registry)
    completion = AsyncCompletion(
        jobs=parts.jobs,
        objects=parts.objects,
        catalogues=parts.catalogues,
        holding=holding,
        completer=parts.completer,
        groups=GroupCompletion(
            jobs=parts.jobs,
            objects=parts.objects,
            holding=holding,
            merger=InputsMerger(),
            completer=parts.completer,
            catalogues=parts.catalogues,
            durations=parts.durations,
            queue=parts.queue(settings.async_queue_url),
            telemetry=telemetry,
        ),
        telemetry=telemetry,
    )
    return Sweeper(
        jobs=parts.jobs,
        batches=parts.batches,
        file_batches=parts.file_batches,
        catalogues=parts.catalogues,
        backend=parts.backend,
        backlog=DynamoDBBacklog(parts.tables, settings.table_registry),
        queues=SweepQueues(
            asynchronous=parts.queue(settings.async_queue_url),
            deferred=parts.queue(settings.deferred_queue_url),
            batch=parts.queue(settings.batch_queue_url),
            webhooks=parts.queue(settings.webhook_queue_url),
        ),
        services=SweepServices(
            completion=completion,
            completer=parts.completer,
            collector=parts.collector,
            pooled=parts.pooled,
            drops=parts.drops,
        ),
        telemetry=telemetry,
        clock=parts.clock,
    )


def handle(_event: dict[str, Any], service: Sweeper) -> None:
    """One sweep."""
    service.sweep()


@cache
def _service() -> Sweeper:
    return build(SweeperSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Entry point."""
    handle(event, _service())
