"""What answers say of near matches: which entry was given, and, of a lookup, what it was chosen from."""

from typing import Any

from tollgate.domain.near.record import NearCandidate, NearSearch
from tollgate.domain.near.wrong_hit_bound import WrongHitBound


def matched_document(search: NearSearch, age_seconds: int | None) -> dict[str, Any]:
    """The field `cache` of an answer that was made for other words of its question."""
    match = search.match
    return {
        "state": "near",
        "matched": match.key if match else "",
        "age_seconds": age_seconds,
        "score": round(match.score, 3) if match else 0.0,
    }


def search_document(search: NearSearch, now_ms: int) -> dict[str, Any]:
    """The field `near` of a lookup: every entry that was compared, and the guard as it stands."""
    bound = search.guard.bound
    return {
        "matched": search.match.key if search.match else None,
        "candidates": [_candidate(candidate, now_ms) for candidate in search.candidates],
        "serves": bound.serves,
        "threshold": bound.threshold,
        "compared": {"agreed": search.guard.agreed, "disagreed": search.guard.disagreed},
        "wrong_rate": {"limit": bound.limit, "upper_bound": _rounded_bound(bound), "compared": bound.sample},
    }


def _candidate(candidate: NearCandidate, now_ms: int) -> dict[str, Any]:
    return {
        "key": candidate.key,
        "age_seconds": max(0, (now_ms - candidate.made_ms) // 1000),
        "score": round(candidate.score, 3),
        "agreed": candidate.agreed,
        "reasons": [reason.value for reason in candidate.reasons],
    }


def _rounded_bound(bound: WrongHitBound) -> float:
    return round(bound.wrong_rate_bound, 4)
