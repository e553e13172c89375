"""Every minute, and at wake requests: endpoints that nobody uses go to sleep, wanted ones wake."""

from functools import cache
from typing import Any

from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.cloudwatch_activity import CloudWatchActivity
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_jobs import DynamoDBJobStore
from tollgate.adapters.registry_capacity import RegistryCapacity
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.registry_places import RegistryPlaces
from tollgate.adapters.sagemaker_control import SageMakerControl
from tollgate.adapters.sqs_client import SqsClient
from tollgate.adapters.sqs_queue import SqsQueue
from tollgate.adapters.system import SystemClock
from tollgate.api.place_messages import keep
from tollgate.api.telemetry import Telemetry
from tollgate.services.keep_places import KeeperQueues, PlaceKeeper
from tollgate.settings import Settings, aws_environment


class CapacitySettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_registry: str
    wake_queue_url: str
    deferred_queue_url: str


def build(settings: CapacitySettings) -> PlaceKeeper:
    """Wire the service; nothing is connected before the first look."""
    transport = AwsTransport(TransportConfig.from_mapping(aws_environment()))
    tables, clock, queues = DynamoDBClient(transport), SystemClock(), SqsClient(transport)
    places = RegistryPlaces(tables, settings.table_registry)
    return PlaceKeeper(
        catalogues=RegistryCatalogue(tables, settings.table_registry, clock.monotonic),
        capacities=RegistryCapacity(tables, settings.table_registry, now=clock.now, monotonic=clock.monotonic),
        control=SageMakerControl(),
        records=places,
        states=places,
        activity=CloudWatchActivity(),
        jobs=DynamoDBJobStore(tables, settings.table_jobs),
        queues=KeeperQueues(
            looks=SqsQueue(queues, settings.wake_queue_url), deferred=SqsQueue(queues, settings.deferred_queue_url)
        ),
        telemetry=Telemetry(
            namespace=settings.powertools_metrics_namespace,
            service=settings.powertools_service_name,
            level=settings.log_level,
        ),
        clock=clock,
    )


def handle(event: dict[str, Any], service: PlaceKeeper) -> dict[str, Any] | None:
    """One look, or one batch of messages."""
    return keep(event, service)


@cache
def _service() -> PlaceKeeper:
    return build(CapacitySettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any] | None:
    """Entry point."""
    return handle(event, _service())
