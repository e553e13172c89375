"""Spreads what each endpoint cost in an hour over the requests that ran on it."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from tollgate.domain.costs.loaded_cost import Endpoint, EndpointHour, endpoints_of, load_hour
from tollgate.domain.costs.usage import RollUp
from tollgate.domain.errors import NoCatalogueError
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.ports.usage import InstanceHours

COUNT_SECONDS = 100.0
"""Seconds for asking how long endpoints were up: a third of what the function has, and enough for hundreds of them."""


class HourLoader:
    """Adds the loaded cost to the roll-ups of an hour, and reports idle endpoints."""

    def __init__(
        self, *, catalogues: CatalogueSource, instances: InstanceHours, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._catalogues = catalogues
        self._instances = instances
        self._telemetry = telemetry
        self._clock = clock
        self._counted: dict[tuple[Endpoint, datetime], Decimal | None] = {}

    def loaded(self, roll_ups: Sequence[RollUp], hour: datetime) -> tuple[RollUp, ...] | None:
        """The roll-ups with `loaded`, and a row for each endpoint that was up without work.

        None if there was no time to ask for all endpoints: the next call for the same hour asks for the others only.

        Raises:
            CatalogueError, StorageError: the catalogue cannot be read, or the endpoints cannot be asked.
        """
        try:
            catalogue = self._catalogues.current()
        except NoCatalogueError:
            return tuple(roll_ups)  # Nothing was offered yet, so nothing was up.
        began, counted = self._clock.monotonic(), {}
        for endpoint in endpoints_of(catalogue):
            known = (endpoint, hour)
            if known in self._counted:
                counted[known] = self._counted[known]
            elif self._clock.monotonic() - began < COUNT_SECONDS:
                counted[known] = self._counted[known] = self._instances.of(endpoint, hour)
            else:
                return None
        self._counted = counted
        hours = {endpoint: up for (endpoint, _), up in counted.items()}
        loaded, seen = load_hour(roll_ups, hour, hours)
        for each in seen:
            self._tell(each)
        unknown = [endpoint.target for endpoint, up in hours.items() if up is None]
        if unknown:
            self._telemetry.log("WARNING", "instance hours unknown", endpoints=unknown, hour=hour.isoformat())
        return loaded

    def _tell(self, each: EndpointHour) -> None:
        model, deployment, inference_type = each.endpoint.roads[0]
        values = {"IdleCostUSD": float(each.idle)}
        if each.utilisation is not None:
            values["UtilisationPercent"] = round(float(each.utilisation) * 100, 3)
        self._telemetry.measure(values, {"InferenceType": inference_type, "Model": model, "Deployment": deployment})
