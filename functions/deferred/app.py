"""Jobs whose call has to be waited for: at a real-time endpoint that was asleep, or at a provider paid by the token."""

from functools import cache
from typing import Any

from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.messaging.lambda_events import LambdaEvents
from tollgate.adapters.sagemaker.realtime import SageMakerRealtime
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.api.message_fields import text_field
from tollgate.api.queue_events import process_messages
from tollgate.services.jobs.deferred_calls import DeferredCalls
from tollgate.services.jobs.run_deferred import DeferredRun
from tollgate.services.jobs.run_token_job import TokenJobRun
from tollgate.settings import RoadSettings
from tollgate.wiring.jobs import JobParts


class DeferredSettings(RoadSettings):
    """Settings of this function."""

    table_cache: str
    deferred_queue_url: str
    capacity_function: str
    webhook_queue_url: str
    refresh_function: str = ""


def build(settings: DeferredSettings) -> DeferredRun:
    """Wire the service; nothing is connected before the first message."""
    parts = JobParts(
        settings,
        webhook_queue_url=settings.webhook_queue_url,
        table_cache=settings.table_cache,
        refresh_function=settings.refresh_function,
    )
    queue = parts.queue(settings.deferred_queue_url)

    def by_token() -> TokenJobRun:
        return TokenJobRun(
            jobs=parts.jobs,
            objects=parts.objects,
            catalogues=parts.catalogues,
            requests=parts.requests,
            providers=parts.providers,
            completer=parts.completer,
            queue=queue,
            telemetry=parts.telemetry,
            clock=parts.clock,
        )

    return DeferredRun(
        jobs=parts.jobs,
        catalogues=parts.catalogues,
        brakes=parts.braked(queue),
        places=RegistryPlaces(parts.tables, settings.table_registry),
        wakes=LambdaEvents(parts.transport, settings.capacity_function),
        calls=DeferredCalls(
            jobs=parts.jobs,
            objects=parts.objects,
            requests=parts.requests,
            backend=SageMakerRealtime(SageMakerRuntimeClient(parts.transport)),
            completer=parts.completer,
            telemetry=parts.telemetry,
            clock=parts.clock,
        ),
        by_token=by_token,
        telemetry=parts.telemetry,
        clock=parts.clock,
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
