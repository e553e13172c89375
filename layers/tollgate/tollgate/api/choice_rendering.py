"""What was trimmed, which size was chosen, and what was escalated, as fields of an answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tollgate.domain.money import money_text

if TYPE_CHECKING:
    from tollgate.domain.trimming.prompt_trimming import TrimReport
    from tollgate.domain.trimming.terms import Dropped
    from tollgate.services.requests.choose_tier import Chosen
    from tollgate.services.requests.trail import Trail


def choice_document(trail: "Trail") -> dict[str, Any]:
    """The fields, without those that say nothing."""
    found: dict[str, Any] = {}
    if trail.trimmed is not None:
        found["trimmed"] = _trimmed(trail.trimmed)
    if trail.chosen is not None and len(trail.chosen.options) > 1:
        found["choice"] = _chosen(trail.chosen)
    if trail.escalation is not None:
        found["escalation"] = {
            "first_deployment": trail.escalation.resource,
            "failed_check": trail.escalation.check,
            "first_cost_usd": money_text(trail.escalation.effective_cost),
        }
    return found


def _trimmed(report: "TrimReport") -> dict[str, Any]:
    return {
        "input_tokens_before": report.input_tokens_before,
        "input_tokens_after": report.input_tokens_after,
        "dropped_messages": _dropped(report.messages),
        "dropped_documents": _dropped(report.documents),
    }


def _dropped(entries: Sequence["Dropped"]) -> list[dict[str, Any]]:
    return [
        {
            "index": entry.index,
            "id": entry.id,
            "tokens": entry.tokens,
            "reason": entry.reason.value,
            "partial": entry.is_partial,
        }
        for entry in entries
    ]


def _chosen(chosen: "Chosen") -> dict[str, Any]:
    return {
        "tier": chosen.decision.deployment.tier.value,
        "complexity": None if chosen.complexity is None else round(chosen.complexity, 3),
        "topic": chosen.topic,
        "options": [
            {
                "tier": option.tier.value,
                "estimated_cost_usd": money_text(option.estimated_cost),
                "quality": None if option.quality is None else round(option.quality, 3),
                "judged": int(option.record.judged),
            }
            for option in chosen.options
        ],
    }
