"""What the index of near-duplicates keeps, and what a search in it found. Times are as in `cache_entry`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tollgate.domain.near_guard import NearGuard
from tollgate.domain.near_index import NearEntry
from tollgate.domain.near_match import Disagreement

ID_CHARACTERS = 32
"""Of an exact key's 64. The rest is in the filed prompt."""


@dataclass(frozen=True, slots=True)
class FiledPrompt:
    """The prompt behind an exact entry, for the verifier.

    Attributes:
        key: of the exact entry.
        context_key: of the prompt, see `cache_key.near_context`; who asks in another context never sees it.
        prompt: its text.
        made_ms: when the answer was there.
        expires_s: Unix time in seconds from which it is not served.
    """

    key: str
    context_key: str
    prompt: str
    made_ms: int
    expires_s: int

    @property
    def entry_id(self) -> str:
        """Its name in the buckets."""
        return entry_id(self.key)

    def check(self) -> str:
        """Digest by which a damaged or misplaced one is known."""
        head = f"{self.key} {self.context_key} {self.made_ms} {self.expires_s} "
        return hashlib.sha256((head + self.prompt).encode("utf-8", "surrogatepass")).hexdigest()


def entry_id(key: str) -> str:
    """The name of an exact entry in the buckets."""
    return key[:ID_CHARACTERS]


@dataclass(frozen=True, slots=True)
class NearShelf:
    """What one read brought: the buckets that were asked for, and the guard's stored state, None where it has none."""

    buckets: tuple[tuple[NearEntry, ...], ...]
    guard: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class NearCandidate:
    """An entry that was compared.

    Attributes:
        score: similarity in 0..1 after penalties; 0 where a rule refused.
        reasons: why it was refused; empty where the verifier agrees.
    """

    key: str
    made_ms: int
    score: float
    reasons: tuple[Disagreement, ...]

    @property
    def agreed(self) -> bool:
        """Whether the verifier takes it."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class NearSearch:
    """What came of a search.

    Attributes:
        context_key, prompt: of the request.
        candidates: that were compared, likeliest first.
        guard: of the model, as it stands.
        match: the candidate whose entry is there and fresh; it is served only if the guard serves.
    """

    context_key: str
    prompt: str
    candidates: tuple[NearCandidate, ...]
    guard: NearGuard
    match: NearCandidate | None = None
