"""What the budget-alarm function is called with: the schedule, messages of the alarm topic, orders of a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tollgate.api.control_documents import control_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tollgate.services.budgets.watch_spend import SpendWatch


def follow(event: Mapping[str, Any], service: SpendWatch) -> dict[str, Any]:
    """Do what an event says. Returns the record of the brakes, for whoever waits for it.

    Raises:
        UnreadableAlarmError: nobody understands it; after the retries it is a dead letter with this reason.
        CatalogueError, StorageError: send it again.
    """
    if event.get("source") == "aws.events":
        return control_document(service.tick(), ())
    # The schedule comes all day, the others seldom; and it needs none of their models.
    from tollgate.api.brake_orders import obey  # noqa: PLC0415 -- see above

    return control_document(obey(event, service), ())
