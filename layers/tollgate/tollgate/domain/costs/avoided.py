"""Why a request cost less than on the baseline road, in parts whose sum is the whole.

The baseline is a request with all its tokens, answered anew by the model's largest deployment on its real-time road.
Measures are applied always in the order of `AvoidedReason`, each to the price that the one before it left; what a
measure takes off is its reason's part. As every dollar between the baseline and what was paid lies in exactly one step,
nothing is counted twice and nothing is left over, even where measures work together (a smaller model on a cheaper
road). A saving that two measures make together goes to the earlier one.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

from tollgate.domain.money import ZERO


class AvoidedReason(StrEnum):
    """What saves, in the order in which savings are counted."""

    TRIM = "trim"
    TIER = "tier"
    ROAD = "road"
    BATCH = "batch"
    CACHE = "cache"


def avoided_by_reason(
    baseline: Decimal, costs_after: Iterable[tuple[AvoidedReason, Decimal]]
) -> Mapping[AvoidedReason, Decimal]:
    """What each measure took off the baseline, in dollars; negative where it made the request dearer.

    Args:
        baseline: dollars without any measure.
        costs_after: dollars after each measure, none twice, in the order in which they were taken; the last is what was
            paid.

    Returns:
        Only reasons that changed something. Their sum is exactly the baseline minus the last of `costs_after`.
    """
    parts: dict[AvoidedReason, Decimal] = {}
    before = baseline
    for reason, after in costs_after:
        if after != before:
            parts[reason] = before - after
        before = after
    return parts


def add_reasons(
    one: Mapping[AvoidedReason, Decimal], other: Mapping[AvoidedReason, Decimal]
) -> dict[AvoidedReason, Decimal]:
    """Add the parts of two requests, or of two sums of them."""
    return {
        reason: one.get(reason, ZERO) + other.get(reason, ZERO)
        for reason in AvoidedReason
        if reason in one or reason in other
    }
