"""Every minute, and at wake requests: endpoints that nobody uses go to sleep, wanted ones wake. Daily: do they fit?"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.registry.capacity import RegistryCapacity
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.messaging.sqs_client import SqsClient
from tollgate.adapters.messaging.sqs_queue import SqsQueue
from tollgate.adapters.metering.cloudwatch_activity import CloudWatchActivity
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.adapters.time_zones import time_zone
from tollgate.api.place_events import keep
from tollgate.domain.catalogue import InferenceType
from tollgate.services.places.keep_places import PlaceKeeper
from tollgate.services.places.news import PlaceNews
from tollgate.services.places.watch_places import PlaceWatch
from tollgate.services.places.work import PlaceWork
from tollgate.settings import Settings
from tollgate.wiring.parts import Parts

if TYPE_CHECKING:
    from tollgate.services.places.hand_on import HandingOn
    from tollgate.services.places.rightsize import RightSizing


class CapacitySettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_registry: str
    bucket: str
    deferred_queue_url: str
    async_queue_url: str


@dataclass(frozen=True, slots=True)
class Services:
    """What the keeper of endpoints needs, and what the daily look at their size needs."""

    keeper: PlaceKeeper
    rightsizing: "Callable[[], RightSizing]"


def build(settings: CapacitySettings) -> Services:
    """Wire the services; nothing is connected before the first look."""
    parts = Parts(settings)
    tables, clock, telemetry = parts.tables, parts.clock, parts.telemetry
    queues = SqsClient(parts.transport)
    catalogues = RegistryCatalogue(tables, settings.table_registry, clock.monotonic)
    capacities = RegistryCapacity(tables, settings.table_registry, now=clock.now, monotonic=clock.monotonic)
    places, control = RegistryPlaces(tables, settings.table_registry), SageMakerControl()

    def rightsizing() -> "RightSizing":
        # Once a day.
        import boto3  # noqa: PLC0415 -- see above

        from tollgate.adapters.dynamodb.registry.prices import RegistryPrices  # noqa: PLC0415 -- see above
        from tollgate.adapters.dynamodb.registry.recommendations import RegistryRecommendations  # noqa: PLC0415 -- see above
        from tollgate.adapters.metering.cloudwatch_usage import CloudWatchUsage  # noqa: PLC0415 -- see above
        from tollgate.adapters.metering.instance_prices import instance_prices  # noqa: PLC0415 -- see above
        from tollgate.services.places.rightsize import RightSizing  # noqa: PLC0415 -- see above

        return RightSizing(
            catalogues=catalogues,
            control=control,
            metrics=CloudWatchUsage(cache(lambda: boto3.client("cloudwatch"))),
            prices=lambda: instance_prices(RegistryPrices(tables, settings.table_registry), settings.aws_region),
            reports=RegistryRecommendations(tables, settings.table_registry),
            telemetry=telemetry,
            clock=clock,
        )

    @cache
    def handing_on() -> "HandingOn":
        # Few endpoints have a provider beside them.
        from tollgate.adapters.dialects import ContainerDialects  # noqa: PLC0415 -- see above
        from tollgate.adapters.dynamodb.ledger import DynamoDBLedger  # noqa: PLC0415 -- see above
        from tollgate.adapters.dynamodb.registry.control import RegistryControl  # noqa: PLC0415 -- see above
        from tollgate.adapters.s3.client import S3Client  # noqa: PLC0415 -- see above
        from tollgate.adapters.s3.direct_objects import S3DirectObjects  # noqa: PLC0415 -- see above
        from tollgate.services.brakes.gate import BrakeGate  # noqa: PLC0415 -- see above
        from tollgate.services.places.hand_on import HandingOn  # noqa: PLC0415 -- see above

        brakes = RegistryControl(tables, settings.table_registry, clock.monotonic)
        return HandingOn(
            jobs=DynamoDBJobStore(tables, settings.table_jobs, DynamoDBLedger(tables, settings.table_ledger)),
            objects=S3DirectObjects(S3Client(parts.transport), settings.bucket),
            queue=SqsQueue(queues, settings.async_queue_url),
            catalogues=catalogues,
            capacities=capacities,
            dialects=ContainerDialects(),
            gate=BrakeGate(brakes=lambda: brakes, telemetry=telemetry, clock=clock),
            telemetry=telemetry,
            clock=clock,
        )

    jobs = DynamoDBJobStore(tables, settings.table_jobs)
    keeper = PlaceKeeper(
        catalogues=catalogues,
        records=places,
        control=control,
        watch=PlaceWatch(
            work=PlaceWork(jobs=jobs, catalogues=catalogues, capacities=capacities),
            control=control,
            activity=CloudWatchActivity(),
            telemetry=telemetry,
            zones=time_zone,
            handing_on=handing_on,
        ),
        news=PlaceNews(
            capacities=capacities,
            states=places,
            jobs=jobs,
            queues={
                InferenceType.REALTIME: SqsQueue(queues, settings.deferred_queue_url),
                InferenceType.ASYNC: SqsQueue(queues, settings.async_queue_url),
            },
        ),
        telemetry=telemetry,
        clock=clock,
        pause=time.sleep,
    )
    return Services(keeper, rightsizing)


def handle(event: dict[str, Any], service: Services) -> None:
    """One look, one wake request, or the daily look at sizes."""
    if event.get("task") == "rightsize":
        service.rightsizing().run()
        return
    keep(event, service.keeper)


@cache
def _service() -> Services:
    return build(CapacitySettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Entry point."""
    handle(event, _service())
