"""EventBridge: the end of a transform job -> its jobs and files."""

from functools import cache
from typing import Any

from tollgate.api.sagemaker_events import transform_status
from tollgate.services.batches.collect_batch import BatchCollector
from tollgate.settings import BatchSettings
from tollgate.wiring.batches import BatchParts


class BatchCompletionSettings(BatchSettings):
    """Settings of this function."""

    table_cache: str
    webhook_queue_url: str
    refresh_function: str = ""


def build(settings: BatchCompletionSettings) -> BatchCollector:
    """Wire the service; nothing is connected before the first event."""
    return BatchParts(
        settings,
        webhook_queue_url=settings.webhook_queue_url,
        table_cache=settings.table_cache,
        refresh_function=settings.refresh_function,
    ).collector


def handle(event: dict[str, Any], service: BatchCollector) -> None:
    """One state change; an error brings the event back."""
    service.ended(transform_status(event))


@cache
def _service() -> BatchCollector:
    return build(BatchCompletionSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Entry point."""
    handle(event, _service())
