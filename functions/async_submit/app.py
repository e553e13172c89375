"""Queue of asynchronous jobs -> InvokeEndpointAsync."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.sagemaker.asynchronous import SageMakerAsync
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.api.message_fields import text_field
from tollgate.api.queue_events import named_in, process_messages
from tollgate.services.jobs.hand_over import AsyncHandOver
from tollgate.services.jobs.hand_over_together import GroupHandOver
from tollgate.services.jobs.prepare_async import AsyncPreparation
from tollgate.services.jobs.submit_async import AsyncSubmitter
from tollgate.services.jobs.submit_together import GroupSubmitter
from tollgate.settings import AsyncSettings
from tollgate.wiring.jobs import AsyncParts


class AsyncSubmitSettings(AsyncSettings):
    """Settings of this function."""

    deferred_queue_url: str


def build(settings: AsyncSubmitSettings) -> GroupSubmitter:
    """Wire the service; nothing is connected before the first message."""
    parts = AsyncParts(settings)
    backend = SageMakerAsync(SageMakerRuntimeClient(parts.transport), parts.objects)
    hand_over = AsyncHandOver(
        jobs=parts.jobs,
        objects=parts.objects,
        backend=backend,
        completer=parts.completer,
        telemetry=parts.telemetry,
        clock=parts.clock,
    )
    brakes = parts.braked(parts.async_queue)
    preparation = AsyncPreparation(
        jobs=parts.jobs,
        catalogues=parts.catalogues,
        requests=parts.requests,
        hand_over=hand_over,
        completer=parts.completer,
        brakes=brakes,
        places=RegistryPlaces(parts.tables, settings.table_registry),
        telemetry=parts.telemetry,
        clock=parts.clock,
    )
    single = AsyncSubmitter(
        jobs=parts.jobs,
        catalogues=parts.catalogues,
        preparation=preparation,
        hand_over=hand_over,
        completer=parts.completer,
        answers=parts.answers,
        brakes=brakes,
        runs=parts.queue(settings.deferred_queue_url),
        telemetry=parts.telemetry,
    )
    merger = InputsMerger()
    groups = GroupHandOver(
        single=hand_over,
        objects=parts.objects,
        backend=backend,
        merger=merger,
        telemetry=parts.telemetry,
        clock=parts.clock,
        ids=parts.ids,
    )
    return GroupSubmitter(
        submitter=single,
        preparation=preparation,
        hand_over=hand_over,
        groups=groups,
        merger=merger,
        jobs=parts.jobs,
        catalogues=parts.catalogues,
        capacities=parts.capacities,
        telemetry=parts.telemetry,
    )


def handle(event: dict[str, Any], service: GroupSubmitter) -> dict[str, Any]:
    """One batch of messages: all are looked at together, then each is done with or comes back by itself."""
    failures = service.submit_all(named_in(event, "job_id"))

    def ended(message: Mapping[str, Any]) -> None:
        failure = failures.get(text_field(message, "job_id"))
        if failure is not None:
            raise failure

    return process_messages(event, ended, service.telemetry)


@cache
def _service() -> GroupSubmitter:
    return build(AsyncSubmitSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
