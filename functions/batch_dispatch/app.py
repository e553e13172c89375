"""Batch queue, schedule and dropped files -> CreateTransformJob."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tollgate.adapters.aws_transport import TransportConfig
from tollgate.adapters.batch_assembly import BatchAssembly
from tollgate.adapters.file_batch_assembly import FileBatchAssembly
from tollgate.adapters.system import TimeSortedIds
from tollgate.api.bucket_events import created_object, is_object_created
from tollgate.api.message_fields import text_field
from tollgate.api.openai.line_bodies import OpenAILineBodies, refusal_of
from tollgate.api.queue_events import process_messages
from tollgate.api.telemetry import Telemetry
from tollgate.services.dispatch_batch import BatchDispatcher
from tollgate.services.drop_batch import DroppedRuns
from tollgate.services.file_batch_run import FileBatchRunner
from tollgate.settings import Settings, aws_environment


class BatchDispatchSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_registry: str
    bucket: str
    file_retention_days: int
    batch_queue_url: str


@dataclass(frozen=True, slots=True)
class BatchDispatch:
    """What this function's triggers need."""

    pools: BatchDispatcher
    drops: DroppedRuns
    file_batches: FileBatchRunner


def build(settings: BatchDispatchSettings) -> BatchDispatch:
    """Wire the services; nothing is connected before the first event."""
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
    )
    pools = BatchDispatcher(
        jobs=parts.jobs,
        batches=parts.batches,
        catalogues=parts.catalogues,
        queue=parts.queue(settings.batch_queue_url),
        runs=parts.pooled,
        completer=parts.completer,
        telemetry=telemetry,
        clock=parts.clock,
        ids=TimeSortedIds(),
        is_held_back=parts.is_held_back,
    )
    return BatchDispatch(pools=pools, drops=parts.drops, file_batches=FileBatchAssembly(parts).runner)


def handle(event: dict[str, Any], service: BatchDispatch) -> dict[str, Any] | None:
    """Messages, a dropped file, or the schedule."""
    if "Records" in event:
        woken: set[str] = set()

        def wake(message: Mapping[str, Any]) -> None:
            if message.get("kind") == "file_batch":
                service.file_batches.advance(text_field(message, "file_batch"))
                return
            resource = text_field(message, "resource")
            if resource not in woken:
                service.pools.wake(resource)
                woken.add(resource)

        return process_messages(event, wake, service.pools.telemetry)
    if is_object_created(event):
        service.drops.dropped(*created_object(event))
    else:
        service.pools.wake_all()
    return None


@cache
def _service() -> BatchDispatch:
    return build(BatchDispatchSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any] | None:
    """Entry point."""
    return handle(event, _service())
