"""Batch queue, schedule and dropped files -> CreateTransformJob."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.api.message_fields import text_field
from tollgate.services.batches.dispatch import BatchDispatcher
from tollgate.settings import BatchSettings
from tollgate.wiring.batches import BatchParts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tollgate.services.batches.drop_batch import DroppedRuns
    from tollgate.services.batches.file_batch_run import FileBatchRunner


class BatchDispatchSettings(BatchSettings):
    """Settings of this function."""


class BatchDispatch(NamedTuple):
    """What this function's triggers need; what files need is made when the first one comes."""

    pools: BatchDispatcher
    drops: Callable[[], DroppedRuns]
    file_batches: Callable[[], FileBatchRunner]
    bucket: str


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
    return BatchDispatch(
        pools=pools,
        drops=lambda: parts.drops,
        file_batches=lambda: parts.file_batch_runner,
        bucket=settings.bucket,
    )


def handle(event: dict[str, Any], service: BatchDispatch) -> dict[str, Any] | None:
    """Messages, a dropped file, or the schedule."""
    if "Records" not in event:
        service.pools.wake_all()
        return None
    if "Sns" in event["Records"][0]:
        from tollgate.api.bucket_events import created_objects  # noqa: PLC0415 -- few events tell of a file

        for key, version in created_objects(event, service.bucket):
            service.drops().dropped(key, version)
        return None
    # Powertools takes a while to import, and the schedule brings no messages.
    from tollgate.api.queue_events import process_messages  # noqa: PLC0415 -- see above

    woken: set[str] = set()

    def wake(message: Mapping[str, Any]) -> None:
        if message.get("kind") == "file_batch":
            service.file_batches().advance(text_field(message, "file_batch"))
            return
        resource = text_field(message, "resource")
        if resource not in woken:
            service.pools.wake(resource)
            woken.add(resource)

    return process_messages(event, wake, service.pools.telemetry)


@cache
def _service() -> BatchDispatch:
    return build(BatchDispatchSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any] | None:
    """Entry point."""
    return handle(event, _service())
