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
    """The distance between the outcome's bill and its bound, part by part; the parts add up to it.

    The first one is the rhythm in which the capacity function looks. The next ones hold the same design without that
    rhythm against the schedule that was made with all requests known; the last two are what that schedule costs more
    than the bound.
    """
    bounds = comparison.bounds_of(outcome)
    watched = comparison.watched.get(outcome.design, outcome)
    mine, foreseen = _by_kind(watched), bounds.foreseen
    texts = {
        "instances": (
            f"not knowing the next arrival: {watched.starts:,} start-ups (billed from their first second) and waiting "
            f"up, against {bounds.starts:,} by somebody who knows when requests come and when there will be none"
        ),
        "tokens": "not knowing whether company comes: requests paid by the token that a start would have served",
        "gateway": "waiting: each gathered request is a recorded job; the bound takes the gateway's cheapest road",
    }
    reasons = [
        Reason(text, mine.get(kind, Decimal(0)) - foreseen.get(kind, Decimal(0)))
        for kind, text in texts.items()
        if kind in mine or kind in foreseen
    ]
    rhythm = Reason(
        "the rhythm: looks every minute or every few seconds instead of all the time, the time that they leave before "
        f"a deadline, and requests served as they come: {outcome.starts:,} start-ups",
        outcome.total - watched.total,
    )
    return [
        *([] if watched is outcome else [rhythm]),
        *reasons,
        Reason(
            "work that somebody who knows all would spread over the waits between requests, so that staying up is free",
            bounds.foreseen_usd - bounds.without_jobs,
        ),
        Reason(
            "transform jobs, which start sooner than endpoints, just where nobody will come during their start",
            bounds.without_jobs - bounds.least,
        ),
    ]


def _by_kind(outcome: Outcome) -> Mapping[str, Decimal]:
    kinds: dict[str, Decimal] = {}
    for part, amount in outcome.bill.items():
        kind = part if part in {"tokens", "gateway"} else "instances"
        kinds[kind] = kinds.get(kind, Decimal(0)) + amount
    return kinds
