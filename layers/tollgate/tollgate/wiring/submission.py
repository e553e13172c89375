"""Where asynchronous jobs are handed to their endpoints, one by one or together."""

from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.sagemaker.asynchronous import SageMakerAsync
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.ports.jobs import MessageQueue
from tollgate.services.jobs.hand_over import AsyncHandOver
from tollgate.services.jobs.hand_over_together import GroupHandOver
from tollgate.services.jobs.prepare_async import AsyncPreparation
from tollgate.services.jobs.submit_async import AsyncSubmitter
from tollgate.services.jobs.submit_together import GroupSubmitter
from tollgate.settings import AsyncSettings
from tollgate.wiring.jobs import AsyncParts


def group_submitter(parts: AsyncParts, settings: AsyncSettings, runs: MessageQueue) -> GroupSubmitter:
    """The service; `runs` takes the jobs of providers that are paid by the token."""
    backend = SageMakerAsync(SageMakerRuntimeClient(parts.transport), parts.objects)
    brakes, merger = parts.braked(parts.async_queue), InputsMerger()
    hand_over = AsyncHandOver(
        jobs=parts.jobs,
        objects=parts.objects,
        backend=backend,
        completer=parts.completer,
        telemetry=parts.telemetry,
        clock=parts.clock,
    )
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
    return GroupSubmitter(
        submitter=AsyncSubmitter(
            jobs=parts.jobs,
            catalogues=parts.catalogues,
            preparation=preparation,
            hand_over=hand_over,
            completer=parts.completer,
            answers=parts.answers,
            brakes=brakes,
            runs=runs,
            telemetry=parts.telemetry,
        ),
        preparation=preparation,
        hand_over=hand_over,
        groups=GroupHandOver(
            single=hand_over,
            objects=parts.objects,
            backend=backend,
            merger=merger,
            telemetry=parts.telemetry,
            clock=parts.clock,
            ids=parts.ids,
        ),
        merger=merger,
        jobs=parts.jobs,
        catalogues=parts.catalogues,
        capacities=parts.capacities,
        telemetry=parts.telemetry,
    )
