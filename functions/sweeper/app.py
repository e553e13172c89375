"""Every minute: finishes what nobody else has."""

from functools import cache
from typing import Any

from tollgate.adapters.dynamodb.registry.backlog import DynamoDBBacklog
from tollgate.services.jobs.sweep import Sweeper, SweepQueues, SweepServices
from tollgate.settings import BatchSettings
from tollgate.wiring.batches import BatchParts
from tollgate.wiring.completion import async_completion


class SweeperSettings(BatchSettings):
    """Settings of this function."""

    async_queue_url: str
    deferred_queue_url: str
    webhook_queue_url: str
    table_cache: str
    refresh_function: str = ""


def build(settings: SweeperSettings) -> Sweeper:
    """Wire the service; nothing is connected before the first sweep."""
    parts = BatchParts(
        settings,
        webhook_queue_url=settings.webhook_queue_url,
        table_cache=settings.table_cache,
        refresh_function=settings.refresh_function,
    )
    async_queue = parts.queue(settings.async_queue_url)
    return Sweeper(
        jobs=parts.jobs,
        batches=parts.batches,
        file_batches=parts.file_batches,
        catalogues=parts.catalogues,
        backend=parts.backend,
        backlog=DynamoDBBacklog(parts.tables, settings.table_registry),
        queues=SweepQueues(
            asynchronous=async_queue,
            deferred=parts.queue(settings.deferred_queue_url),
            batch=parts.batch_queue,
            webhooks=parts.queue(settings.webhook_queue_url),
        ),
        services=SweepServices(
            completion=async_completion(parts, settings, async_queue),
            completer=parts.completer,
            collector=parts.collector,
            pooled=parts.pooled,
            drops=parts.drops,
        ),
        telemetry=parts.telemetry,
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
