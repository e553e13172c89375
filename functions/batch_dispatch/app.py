"""Batch queue, schedule and dropped files -> CreateTransformJob."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tollgate.api.bucket_events import created_object, is_object_created
from tollgate.api.message_fields import text_field
from tollgate.api.queue_events import process_messages
from tollgate.services.dispatch_batch import BatchDispatcher
from tollgate.services.drop_batch import DroppedRuns
from tollgate.services.file_batch_run import FileBatchRunner
from tollgate.settings import BatchSettings
from tollgate.wiring.batches import BatchParts


class BatchDispatchSettings(BatchSettings):
    """Settings of this function."""


@dataclass(frozen=True, slots=True)
class BatchDispatch:
    """What this function's triggers need."""

    pools: BatchDispatcher
    drops: DroppedRuns
    file_batches: FileBatchRunner


def build(settings: BatchDispatchSettings) -> BatchDispatch:
    """Wire the services; nothing is connected before the first event."""
    parts = BatchParts(settings)
    pools = BatchDispatcher(
        jobs=parts.jobs,
        batches=parts.batches,
        catalogues=parts.catalogues,
        queue=parts.batch_queue,
        runs=parts.pooled,
        completer=parts.completer,
        telemetry=parts.telemetry,
        clock=parts.clock,
        ids=parts.ids,
        is_held_back=parts.is_held_back,
    )
    return BatchDispatch(pools=pools, drops=parts.drops, file_batches=parts.file_batch_runner)


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
