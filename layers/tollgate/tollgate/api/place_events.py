"""Schedules and wake requests of the capacity function."""

from collections.abc import Mapping
from typing import Any

from tollgate.api.message_fields import MessageError, text_field
from tollgate.domain.places.standing import Place
from tollgate.services.places.keep_places import PlaceKeeper


def keep(event: Mapping[str, Any], keeper: PlaceKeeper) -> None:
    """A look at every place for the schedule, a wake for a request; then what changes is followed.

    Raises:
        MessageError: the event asks for nothing that is done here. Lambda puts it among the dead letters, with this.
    """
    if "kind" not in event:
        keeper.follow(keeper.tick())
        return
    try:
        place = _wanted(event)
    except MessageError as error:
        keeper.telemetry.log("ERROR", "event not understood", problem=str(error))
        raise
    keeper.follow(keeper.wake(place))


def _wanted(event: Mapping[str, Any]) -> Place:
    kind = text_field(event, "kind")
    if kind != "wake":
        raise MessageError(f"unknown kind '{kind[:40]}'")
    key = text_field(event, "place")
    try:
        return Place.from_key(key)
    except ValueError as error:
        raise MessageError(f"no such place '{key[:80]}'") from error
