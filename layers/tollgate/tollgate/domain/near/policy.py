"""The operator's settings for near matches of one model; a cache policy without this has exact matches only."""

from dataclasses import dataclass
from enum import StrEnum


class Strictness(StrEnum):
    """How similar two questions must be, see `near.guard.ladder_of`."""

    STRICT = "strict"
    BALANCED = "balanced"
    LOOSE = "loose"


class Likeness(StrEnum):
    """What two questions are compared by."""

    WORDS = "words"
    """Vectors of single words, which ship with the gateway; see `near.words`."""
    SENTENCES = "sentences"
    """Vectors of whole questions, which a function of its own makes; see `near.vector`."""


@dataclass(frozen=True, slots=True)
class NearPolicy:
    """How answers to differently worded questions are given. Their times are the cache policy's.

    Attributes:
        strictness: where the threshold starts, and the loosest that it ever gets.
        wrong_hits: share of near hits that may be wrong, 0.01..0.5; above it the threshold tightens by itself.
        sample: share of near hits, 0..1, that are run again to see whether the answer was right.
        candidates: entries that one lookup compares at most, 1..6.
        likeness: what questions are compared by.
    """

    strictness: Strictness = Strictness.STRICT
    wrong_hits: float = 0.05
    sample: float = 0.02
    candidates: int = 6
    likeness: Likeness = Likeness.WORDS
