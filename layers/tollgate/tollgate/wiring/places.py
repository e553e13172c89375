"""What the capacity function is made of, besides what all roads share."""

from __future__ import annotations

import time
from functools import cache, cached_property
from typing import TYPE_CHECKING

from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.metering.cloudwatch_activity import CloudWatchActivity
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.adapters.time_zones import time_zone
from tollgate.domain.catalogue import InferenceType
from tollgate.services.places.keep_places import PlaceKeeper
from tollgate.services.places.news import PlaceNews
from tollgate.services.places.watch_places import PlaceWatch
from tollgate.services.places.work import PlaceWork
from tollgate.wiring.roads import RoadParts

if TYPE_CHECKING:
    from tollgate.services.places.hand_on import HandingOn
    from tollgate.services.places.rightsize import RightSizing
    from tollgate.settings import PlaceSettings


class PlaceParts(RoadParts):
    """The keeper of endpoints, and the daily look at their size."""

    def __init__(self, settings: PlaceSettings) -> None:
        super().__init__(settings)
        self._region = settings.aws_region
        self._async_queue = self.queue(settings.async_queue_url)
        self._deferred_queue = self.queue(settings.deferred_queue_url)
        self._control = SageMakerControl()

    @cached_property
    def keeper(self) -> PlaceKeeper:
        """Puts places to sleep, and wakes them."""
        places = RegistryPlaces(self.tables, self._registry)
        return PlaceKeeper(
            catalogues=self.catalogues,
            records=places,
            control=self._control,
            watch=PlaceWatch(
                work=PlaceWork(jobs=self.jobs, catalogues=self.catalogues, capacities=self.capacities),
                control=self._control,
                activity=CloudWatchActivity(),
                telemetry=self.telemetry,
                zones=time_zone,
                handing_on=lambda: self.handing_on,
            ),
            news=PlaceNews(
                capacities=self.capacities,
                states=places,
                jobs=self.jobs,
                queues={InferenceType.REALTIME: self._deferred_queue, InferenceType.ASYNC: self._async_queue},
            ),
            telemetry=self.telemetry,
            clock=self.clock,
            pause=time.sleep,
        )

    @cached_property
    def handing_on(self) -> HandingOn:
        """Hands jobs on to a provider; few endpoints have one beside them."""
        from tollgate.services.places.hand_on import HandingOn  # noqa: PLC0415 -- see above

        return HandingOn(
            jobs=self.jobs,
            objects=self.objects,
            queue=self._async_queue,
            catalogues=self.catalogues,
            capacities=self.capacities,
            dialects=self.dialects,
            gate=self.gate,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def rightsizing(self) -> RightSizing:
        """Whether instances fit; asked once a day."""
        import boto3  # noqa: PLC0415 -- see above

        from tollgate.adapters.dynamodb.registry.prices import RegistryPrices  # noqa: PLC0415 -- see above
        from tollgate.adapters.dynamodb.registry.recommendations import RegistryRecommendations  # noqa: PLC0415 -- see above
        from tollgate.adapters.metering.cloudwatch_usage import CloudWatchUsage  # noqa: PLC0415 -- see above
        from tollgate.adapters.metering.instance_prices import instance_prices  # noqa: PLC0415 -- see above
        from tollgate.services.places.rightsize import RightSizing  # noqa: PLC0415 -- see above

        return RightSizing(
            catalogues=self.catalogues,
            control=self._control,
            metrics=CloudWatchUsage(cache(lambda: boto3.client("cloudwatch"))),
            prices=lambda: instance_prices(RegistryPrices(self.tables, self._registry), self._region),
            reports=RegistryRecommendations(self.tables, self._registry),
            telemetry=self.telemetry,
            clock=self.clock,
        )
