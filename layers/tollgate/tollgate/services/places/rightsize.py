"""Advice on whether instances fit their work, from a week of measurements of every endpoint.

The capacity function works it out once a day, `tollgate rightsize` on demand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tollgate.domain.catalogue import Deployment, InferenceType, Road
from tollgate.domain.errors import NoCatalogueError, TollgateError
from tollgate.domain.places.advice_report import advice_report
from tollgate.domain.places.rightsizing import Advice, MeasuredUse, advise
from tollgate.domain.places.standing import place_of, places_of
from tollgate.ports.endpoints import EndpointControl, RecommendationReports, UsageMetrics
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry


@dataclass(frozen=True, slots=True)
class Fit:
    """The week of each endpoint that could be measured, and the resulting advice."""

    usages: tuple[MeasuredUse, ...]
    advices: tuple[Advice, ...]


class RightSizing:
    """Works out advice about instances.

    Args:
        prices: dollars of an instance hour by type, for the region of the endpoints.
    """

    def __init__(
        self,
        *,
        catalogues: CatalogueSource,
        control: EndpointControl,
        metrics: UsageMetrics,
        prices: Callable[[], Mapping[str, Decimal]],
        reports: RecommendationReports,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._catalogues = catalogues
        self._control = control
        self._metrics = metrics
        self._prices = prices
        self._reports = reports
        self._telemetry = telemetry
        self._clock = clock

    def run(self) -> Fit:
        """Measure every real-time and asynchronous endpoint that stands, and replace the stored advice.

        An endpoint that cannot be measured is logged and skipped.

        Raises:
            CatalogueError, StorageError: nothing was stored; try again.
        """
        usages = tuple(self._measured())
        advices = advise(usages, self._prices())
        now = self._clock.now()
        self._reports.store(advice_report(advices, now), now=now)
        self._telemetry.log("INFO", "instances compared with their work", endpoints=len(usages))
        return Fit(usages, advices)

    def _measured(self) -> list[MeasuredUse]:
        try:
            places = places_of(self._catalogues.current())
        except NoCatalogueError:
            return []
        found: list[MeasuredUse] = []
        # By place: an endpoint shared by several deployments is measured once, or its saving would count for each of
        # them.
        for (deployment, road), *_ in places.values():
            # Instances under a component belong to its endpoint, which others may share.
            if road.inference_type is InferenceType.BATCH or road.inference_component is not None:
                continue
            try:
                found += self._week(deployment, road)
            except TollgateError as error:
                self._telemetry.log("WARNING", "endpoint not measured", endpoint=road.target, error=error.message)
        return found

    def _week(self, deployment: Deployment, road: Road) -> list[MeasuredUse]:
        standing = self._control.describe(place_of(road))
        now = self._clock.now()
        return [
            self._metrics.week(deployment, road, variant.name, max(1.0, standing.current), now)
            for variant in standing.variants[:1]
        ]
