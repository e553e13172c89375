"""A reservation as a JSON document on its job's record, and back. Amounts are strings, so that they stay exact."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.domain.budgets.ledger import Hold, Reservation, WorkflowCall
from tollgate.domain.catalogue import InferenceType


def reservation_document(reservation: Reservation) -> dict[str, Any]:
    """The stored form."""
    return {
        "slot": reservation.slot,
        "amount": str(reservation.amount),
        "seconds": reservation.seconds,
        "holds": [
            [hold.counter, None if hold.ceiling is None else str(hold.ceiling), hold.max_calls, hold.ttl]
            for hold in reservation.holds
        ],
        "call": None if reservation.call is None else _call_document(reservation.call),
    }


def _call_document(call: WorkflowCall) -> dict[str, Any]:
    return {
        "tenant": call.tenant,
        "workflow": call.workflow,
        "inference_id": call.inference_id,
        "parent": call.parent,
        "depth": call.depth,
        "model": call.model,
        "inference_type": call.inference_type.value,
        "status": call.status,
        "created_at": call.created_at.isoformat(),
    }


def reservation_of(document: Mapping[str, Any]) -> Reservation:
    """The reservation of a stored document."""
    call = document["call"]
    return Reservation(
        slot=document["slot"],
        amount=Decimal(document["amount"]),
        seconds=document["seconds"],
        holds=tuple(
            Hold(counter, None if ceiling is None else Decimal(ceiling), max_calls, ttl)
            for counter, ceiling, max_calls, ttl in document["holds"]
        ),
        call=None
        if call is None
        else WorkflowCall(
            **call
            | {
                "inference_type": InferenceType(call["inference_type"]),
                "created_at": datetime.fromisoformat(call["created_at"]),
            }
        ),
    )
