"""EventBridge: the end of a transform job -> its jobs and files."""

from functools import cache
from typing import Any

from tollgate.adapters.aws_transport import TransportConfig
from tollgate.adapters.batch_assembly import BatchAssembly
from tollgate.api.openai.line_bodies import OpenAILineBodies, refusal_of
from tollgate.api.sagemaker_events import transform_status
from tollgate.api.telemetry import Telemetry
from tollgate.services.collect_batch import BatchCollector
from tollgate.settings import Settings, aws_environment


class BatchCompletionSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_registry: str
    table_cache: str
    bucket: str
    file_retention_days: int
    batch_queue_url: str
    webhook_queue_url: str
    refresh_function: str = ""


def build(settings: BatchCompletionSettings) -> BatchCollector:
    """Wire the service; nothing is connected before the first event."""
    return BatchAssembly(
        transport_config=TransportConfig.from_mapping(aws_environment()),
        telemetry=Telemetry(
            namespace=settings.powertools_metrics_namespace,
            service=settings.powertools_service_name,
            level=settings.log_level,
        ),
        table_jobs=settings.table_jobs,
        table_ledger=settings.table_ledger,
        table_registry=settings.table_registry,
        bucket=settings.bucket,
        line_bodies=OpenAILineBodies(),
        refusal_of=refusal_of,
        file_retention_days=settings.file_retention_days,
        batch_queue_url=settings.batch_queue_url,
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
