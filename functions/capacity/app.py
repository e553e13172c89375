"""Every minute, and at wake requests: endpoints that nobody uses go to sleep, wanted ones wake. Daily: do they fit?"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.api.place_events import keep
from tollgate.settings import PlaceSettings
from tollgate.wiring.places import PlaceParts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.services.places.keep_places import PlaceKeeper
    from tollgate.services.places.rightsize import RightSizing


class CapacitySettings(PlaceSettings):
    """Settings of this function."""


class Services(NamedTuple):
    """What the keeper of endpoints needs, and what the daily look at their size needs."""

    keeper: PlaceKeeper
    rightsizing: Callable[[], RightSizing]


def build(settings: CapacitySettings) -> Services:
    """Wire the services; nothing is connected before the first look."""
    parts = PlaceParts(settings)
    return Services(parts.keeper, lambda: parts.rightsizing)


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
