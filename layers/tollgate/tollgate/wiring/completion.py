"""Where asynchronous invocations end: SageMaker's notices come here, and so do the sweeper's."""

from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.adapters.dynamodb.registry.holding import DynamoDBHoldingStore
from tollgate.ports.jobs import MessageQueue
from tollgate.services.jobs.complete_async import AsyncCompletion
from tollgate.services.jobs.complete_together import GroupCompletion
from tollgate.settings import RoadSettings
from tollgate.wiring.jobs import JobParts


def async_completion(parts: JobParts, settings: RoadSettings, queue: MessageQueue) -> AsyncCompletion:
    """The service; `queue` takes back the jobs of a group that has to be run one by one."""
    holding = DynamoDBHoldingStore(parts.tables, settings.table_registry)
    return AsyncCompletion(
        jobs=parts.jobs,
        objects=parts.objects,
        catalogues=parts.catalogues,
        capacities=parts.capacities,
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
            queue=queue,
            telemetry=parts.telemetry,
        ),
        telemetry=parts.telemetry,
    )
