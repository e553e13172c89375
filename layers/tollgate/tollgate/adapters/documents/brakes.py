"""The brakes of a catalogue as a JSON document, and back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep


def brakes_document(policy: BrakePolicy) -> dict[str, Any]:
    """The stored form; amounts and percents are text, so that they stay exact."""
    return {
        "steps": [[str(step.at_percent), step.level.word] for step in policy.steps],
        "budgets": list(policy.budgets),
        "forecasts": policy.forecasts.word,
        "alarms": [[pattern, level.word] for pattern, level in policy.alarms],
        "critical": sorted(policy.critical),
        "webhook_url": policy.webhook_url,
    }


def brakes_from_document(document: Mapping[str, Any]) -> BrakePolicy:
    """The policy of a stored document."""
    return BrakePolicy(
        steps=tuple(BrakeStep(Decimal(at), BrakeLevel.of(word)) for at, word in document["steps"]),
        budgets=tuple(document["budgets"]),
        forecasts=BrakeLevel.of(document["forecasts"]),
        alarms=tuple((pattern, BrakeLevel.of(word)) for pattern, word in document["alarms"]),
        critical=frozenset(document["critical"]),
        webhook_url=document["webhook_url"],
    )
