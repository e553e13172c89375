"""Advice about instances as the document that is stored, printed and answered."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tollgate.domain.places.rightsizing import Advice


def advice_document(advice: Advice) -> dict[str, Any]:
    """Advice about one endpoint; amounts are dollars as decimal text."""
    return {
        "deployment": advice.resource,
        "endpoint": advice.endpoint,
        "instance_type": advice.instance_type,
        "verdict": advice.verdict.value,
        "rule": advice.rule,
        "to": advice.to,
        "monthly_saving_usd": None if advice.monthly_saving is None else str(advice.monthly_saving),
        "breaks": advice.breaks,
    }


def advice_report(advices: Iterable[Advice], now: datetime) -> dict[str, Any]:
    """A whole report."""
    created = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"object": "list", "created_at": created, "data": [advice_document(advice) for advice in advices]}
