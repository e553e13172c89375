"""Orders of the gateway to the cache function, which come as events that nobody waits for."""

from collections.abc import Callable, Container, Mapping
from typing import Any

from tollgate.api.message_fields import MessageError, text_field
from tollgate.ports.system import Telemetry

type Order = Callable[[Mapping[str, Any]], None]


def carry_out(event: Mapping[str, Any], orders: Mapping[str, Order], telemetry: Telemetry) -> None:
    """Give an order to whoever carries out its kind.

    Raises:
        MessageError: there is no such kind. Lambda puts the event among the dead letters, with this reason.
    """
    try:
        order = orders[_kind(event, orders)]
    except MessageError as error:
        telemetry.log("ERROR", "event not understood", problem=str(error))
        raise
    order(event)


def _kind(event: Mapping[str, Any], known: Container[str]) -> str:
    kind = text_field(event, "kind")
    if kind not in known:
        raise MessageError(f"unknown kind '{kind[:40]}'")
    return kind
