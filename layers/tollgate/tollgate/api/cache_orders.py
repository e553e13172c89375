"""Orders of the gateway to the cache function, which come as events that nobody waits for."""

from collections.abc import Callable, Mapping
from typing import Any

from tollgate.domain.errors import InvalidRequestError
from tollgate.ports.system import Telemetry


def carry_out(
    event: Mapping[str, Any], orders: Mapping[str, Callable[[Mapping[str, Any]], None]], telemetry: Telemetry
) -> None:
    """Give an order to whoever carries out its kind.

    Raises:
        InvalidRequestError: there is no such kind. Lambda puts the event among the dead letters, with this reason.
    """
    kind = str(event.get("kind", ""))
    if kind not in orders:
        problem = f"unknown kind '{kind[:40]}'"
        telemetry.log("ERROR", "event not understood", problem=problem)
        raise InvalidRequestError(problem)
    orders[kind](event)
