"""Messages and schedules of the capacity function."""

from collections.abc import Mapping
from typing import Any

from tollgate.api.queue_events import MessageError, process_messages, text_field
from tollgate.domain.standing import Place
from tollgate.services.keep_places import PlaceKeeper


def keep(event: dict[str, Any], keeper: PlaceKeeper) -> dict[str, Any] | None:
    """A look at every place for a schedule; for messages what they ask, and which of them come back later."""
    if "Records" not in event:
        keeper.tick()
        return None
    return process_messages(event, lambda message: _obey(message, keeper), keeper.telemetry)


def _obey(message: Mapping[str, Any], keeper: PlaceKeeper) -> None:
    place = _place(message)
    match text_field(message, "kind"):
        case "wake":
            keeper.wake(place)
        case "look":
            keeper.look(place)
        case kind:
            raise MessageError(f"unknown kind '{kind[:40]}'")


def _place(message: Mapping[str, Any]) -> Place:
    key = text_field(message, "place")
    try:
        return Place.from_key(key)
    except ValueError as error:
        raise MessageError("no such kind of place") from error
