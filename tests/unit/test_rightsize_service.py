"""The daily look at sizes: measured, advised, stored with its date, and read again by the API."""

import json
from collections.abc import Mapping
from copy import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from functions.capacity import app as capacity
from tests.fakes.backends import FixedCatalogue
from tests.fakes.clock import ManualClock
from tests.fakes.endpoints import FakeEndpoints
from tests.fakes.examples import make_catalogue
from tests.fakes.sleepers import ASYNC, REALTIME, Sleepers, standing
from tests.fakes.telemetry import RecordingTelemetry
from tests.unit.template_document import ROOT
from tollgate.domain.catalogue import Catalogue, Deployment, Road
from tollgate.domain.errors import StorageError
from tollgate.domain.places.rightsizing import MeasuredUse, Resource
from tollgate.services.places.rightsize import RightSizing

_QUIET = (10.0,) * 48


class _Week:
    """A `UsageMetrics` with a quiet week of every endpoint but one, which cannot be read."""

    def __init__(self, unreadable: str = "") -> None:
        self._unreadable = unreadable

    def week(self, deployment: Deployment, road: Road, variant: str, instances: float, now: datetime) -> MeasuredUse:
        assert (variant, instances, now) == ("main", 2.0, ManualClock().now())
        if road.target == self._unreadable:
            raise StorageError("The metric CPUUtilization cannot be read.")
        quiet = {Resource.CPU: _QUIET, Resource.MEMORY: _QUIET}
        return MeasuredUse(deployment.resource, road.target, "ml.c5.4xlarge", quiet, quiet, _QUIET, _QUIET, instances)


class _Reports:
    """A `RecommendationReports` in memory."""

    def __init__(self) -> None:
        self.stored: list[tuple[Mapping[str, Any], datetime]] = []

    def store(self, report: Mapping[str, Any], *, now: datetime) -> None:
        self.stored.append((report, now))

    def latest(self) -> Mapping[str, Any] | None:
        return self.stored[-1][0] if self.stored else None


class _World:
    def __init__(self, unreadable: str = "", catalogue: Catalogue | None = None) -> None:
        self.reports, self.telemetry, self.endpoints = _Reports(), RecordingTelemetry(), FakeEndpoints()
        for place in (REALTIME, ASYNC):
            self.endpoints.put(standing(place, 2))
        self.service = RightSizing(
            catalogues=FixedCatalogue(catalogue or make_catalogue()),
            control=self.endpoints,
            metrics=_Week(unreadable),
            prices=lambda: {"ml.c5.4xlarge": Decimal("0.816"), "ml.c5.xlarge": Decimal("0.204")},
            reports=self.reports,
            telemetry=self.telemetry,
            clock=ManualClock(),
        )


def test_the_daily_event_stores_the_advice_with_its_date() -> None:
    """For each endpoint that stands: the rule, the saving, and when it was worked out; transform jobs have none."""
    world = _World()
    event = json.loads((ROOT / "events" / "capacity" / "rightsize.json").read_text())
    capacity.handle(event, capacity.Services(Sleepers().keeper, lambda: world.service))
    [(report, now)] = world.reports.stored
    assert now == ManualClock().now()
    assert report["created_at"] == now.isoformat(timespec="seconds").replace("+00:00", "Z")
    assert [(each["deployment"], each["verdict"], each["to"]) for each in report["data"]] == [
        ("echo/small", "smaller", "ml.c5.xlarge")
    ] * 2
    # Two instances at 61.2 cents an hour less, 730 hours.
    assert report["data"][0]["monthly_saving_usd"] == "893.52"


def test_an_endpoint_of_several_deployments_is_advised_on_once() -> None:
    """What could be saved on it is not counted again for each deployment that it serves."""
    alone = make_catalogue()
    echo = alone.models["echo"]
    again = replace(echo, name="parrot", deployments=(replace(echo.deployments[0], model="parrot"),))
    advices = _World(catalogue=replace(alone, models={"echo": echo, "parrot": again})).service.run().advices
    assert [(each.resource, each.endpoint) for each in advices] == [
        ("echo/small", REALTIME.name),
        ("echo/small", ASYNC.name),
    ]


@pytest.mark.parametrize("gone", [REALTIME, ASYNC])
def test_an_endpoint_that_does_not_stand_has_no_advice(gone: Any) -> None:
    """It sleeps, or was never made."""
    world = _World()
    world.endpoints.put(replace(standing(gone, 2), variants=()))
    assert len(world.service.run().advices) == 1


def test_one_that_cannot_be_measured_does_not_keep_the_others_from_theirs() -> None:
    """The log names it, and the report is about the rest."""
    world = _World(unreadable=REALTIME.name)
    assert len(world.service.run().usages) == 1
    [(level, message, fields)] = [line for line in world.telemetry.lines if line[0] == "WARNING"]
    assert (message, fields["endpoint"]) == ("endpoint not measured", REALTIME.name)
    assert len(world.reports.stored) == 1
    assert level == "WARNING"
