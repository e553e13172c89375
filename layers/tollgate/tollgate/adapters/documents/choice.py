"""The stored form of what a catalogue says about choosing among sizes and about trimming.

Imported for the catalogues that have such a part.
"""

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from tollgate.domain.choice.policy import CascadePolicy, Check, ChoicePolicy, ExtraSpend, TierThresholds
from tollgate.domain.token_rates import TokenizerFamily
from tollgate.domain.trimming.policy import InputBudget, TrimmingPolicy


def choice_document(policy: ChoicePolicy) -> dict[str, Any]:
    """The stored form of a model's policy."""
    cascade = policy.cascade
    return {
        "medium_from": policy.thresholds.medium,
        "large_from": policy.thresholds.large,
        "quality": policy.quality,
        "sticky": policy.sticky,
        "explore": _extra_document(policy.explore),
        "shadow": _extra_document(policy.shadow),
        "cascade": None
        if cascade is None
        else {
            "checks": sorted(check.value for check in cascade.checks),
            "min_characters": cascade.min_characters,
            "min_mean_logprob": cascade.min_mean_logprob,
        },
    }


def choice_from_document(entry: Mapping[str, Any]) -> ChoicePolicy:
    """The policy of a stored form."""
    cascade = entry["cascade"]
    return ChoicePolicy(
        thresholds=TierThresholds(float(entry["medium_from"]), float(entry["large_from"])),
        quality=None if entry["quality"] is None else float(entry["quality"]),
        sticky=entry["sticky"],
        explore=_extra(entry["explore"]),
        shadow=_extra(entry["shadow"]),
        cascade=None
        if cascade is None
        else CascadePolicy(
            checks=frozenset(map(Check, cascade["checks"])),
            min_characters=cascade["min_characters"],
            min_mean_logprob=float(cascade["min_mean_logprob"]),
        ),
    )


def _extra_document(extra: ExtraSpend | None) -> dict[str, Any] | None:
    return None if extra is None else {"share": extra.share, "usd_per_day": str(extra.usd_per_day)}


def _extra(entry: Mapping[str, Any] | None) -> ExtraSpend | None:
    return None if entry is None else ExtraSpend(float(entry["share"]), Decimal(entry["usd_per_day"]))


def trimming_document(policy: TrimmingPolicy) -> dict[str, Any]:
    """The stored form of a model's trimming."""
    return {**asdict(policy), "tokenizer": policy.tokenizer.value}


def trimming_from_document(entry: Mapping[str, Any]) -> TrimmingPolicy:
    """The trimming of a stored form."""
    kinds = {"diversity": float(entry["diversity"]), "tokenizer": TokenizerFamily(entry["tokenizer"])}
    return TrimmingPolicy(**{**entry, **kinds})


def input_budget_document(budget: InputBudget) -> dict[str, Any]:
    """The stored form of a budget of tokens."""
    return asdict(budget)


def input_budget_from_document(entry: Mapping[str, Any]) -> InputBudget:
    """The budget of a stored form."""
    return InputBudget(**entry)
