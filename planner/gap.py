"""Why a design costs more than the clairvoyant bound, in dollars by reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from planner.comparison import Comparison
from planner.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Reason:
    """A part of the distance; negative where the design does better than the schedule it is held against."""

    text: str
    usd: Decimal


def above_the_bound(comparison: Comparison, outcome: Outcome) -> list[Reason]:
    """The distance between the outcome's bill and the bound, part by part; the parts add up to it.

    The first ones hold the outcome against the schedule that was made with all requests known; the last one is what
    that schedule costs more than the bound, which may be out of reach for everybody.
    """
    mine, foreseen = _by_kind(outcome), comparison.foresight.bill
    texts = {
        "instances": (
            f"instances: {outcome.starts:,} starts against {comparison.foresight.starts:,} by somebody who knows "
            "when the next request comes and when there will be none"
        ),
        "tokens": "tokens: requests sent there before it was known that a start was to be worth it",
        "gateway": "the gateway's own parts: waiting requests are recorded jobs, the bound takes the cheapest road",
    }
    reasons = [
        Reason(text, mine.get(kind, Decimal(0)) - foreseen.get(kind, Decimal(0)))
        for kind, text in texts.items()
        if kind in mine or kind in foreseen
    ]
    proof = (
        "the bound itself: it lets work and waiting overlap at will and starts by job where that is cheaper; no "
        "schedule may be as good"
    )
    return [*reasons, Reason(proof, comparison.foreseen - comparison.least)]


def _by_kind(outcome: Outcome) -> Mapping[str, Decimal]:
    kinds: dict[str, Decimal] = {}
    for part, amount in outcome.bill.items():
        kind = part if part in {"tokens", "gateway"} else "instances"
        kinds[kind] = kinds.get(kind, Decimal(0)) + amount
    return kinds
