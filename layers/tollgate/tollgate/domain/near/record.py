"""What the near-duplicate index stores, and the result of a search in it. Times are as in `cache.entry`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tollgate.domain.cache.entry import CachedAnswer
    from tollgate.domain.near.guard import NearGuard
    from tollgate.domain.near.index import NearEntry
    from tollgate.domain.near.match import Disagreement

_FIELDS = {"model": str, "key": str, "context": str, "prompt": str, "made_ms": int, "expires_s": int}
_BESIDE = {"key": str, "made_ms": int}

ID_CHARACTERS = 32
"""Characters kept of an exact key's 64. The rest is in the filed prompt."""


@dataclass(frozen=True, slots=True)
class FiledPrompt:
    """The prompt behind an exact entry, for the verifier.

    Attributes:
        key: of the exact entry.
        context_key: of the prompt, see `cache.key.near_context`; requests in another context never see it.
        prompt: its text.
        made_ms: when the answer was complete.
        expires_s: Unix time in seconds from which it is not served.
        vector: of the prompt, see `near.vector`; empty where the model compares by words.
    """

    key: str
    context_key: str
    prompt: str
    made_ms: int
    expires_s: int
    vector: bytes = b""

    @property
    def entry_id(self) -> str:
        """Its name in the buckets."""
        return entry_id(self.key)

    def check(self) -> str:
        """Checksum that reveals a damaged or misplaced entry."""
        head = f"{self.key} {self.context_key} {self.made_ms} {self.expires_s} "
        return hashlib.sha256((head + self.prompt).encode("utf-8", "surrogatepass") + self.vector).hexdigest()


def entry_id(key: str) -> str:
    """The name of an exact entry in the buckets."""
    return key[:ID_CHARACTERS]


@dataclass(frozen=True, slots=True)
class NearShelf:
    """The result of one read: the requested buckets, and the guard's stored state, None if there is none."""

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
        """Whether the verifier accepts it."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class NearSearch:
    """The result of a search.

    Attributes:
        context_key, prompt: of the request.
        candidates: that were compared, likeliest first.
        guard: of the model, as it stands.
        match: the candidate whose entry is there and fresh; it is served only if the guard serves.
        vector: of the prompt, where the model compares by sentences.
    """

    context_key: str
    prompt: str
    candidates: tuple[NearCandidate, ...]
    guard: NearGuard
    match: NearCandidate | None = None
    vector: bytes = b""


def filing_order(
    model: str,
    key: str,
    context_key: str,
    prompt: str,
    answer: CachedAnswer,
    *,
    vector: bytes = b"",
    beside: NearCandidate | None = None,
) -> dict[str, Any]:
    """The order to file an answer, see `near_upkeep`.

    Args:
        model: that gave it.
        key: of its entry.
        context_key: of the request.
        prompt: of the request.
        answer: that was stored.
        vector: of the prompt, where it is known already.
        beside: the match that was not served because the guard does not serve: a comparison that costs nothing.
    """
    return {
        "kind": "near",
        "model": model,
        "key": key,
        "context": context_key,
        "prompt": prompt,
        "vector": base64.b64encode(vector).decode(),
        "made_ms": answer.made_ms,
        "expires_s": answer.fresh_ms // 1000,
        "beside": None if beside is None else {"key": beside.key, "made_ms": beside.made_ms},
    }


def filed_prompt(order: Mapping[str, Any]) -> FiledPrompt:
    """The prompt that an order files.

    Raises:
        ValueError: it is not such an order; says which field is missing or wrong.
    """
    _check(order, _FIELDS)
    if order.get("beside") is not None:
        _check(order["beside"], _BESIDE)
    vector = base64.b64decode(order.get("vector", ""))
    return FiledPrompt(order["key"], order["context"], order["prompt"], order["made_ms"], order["expires_s"], vector)


def _check(order: Mapping[str, Any], fields: Mapping[str, type]) -> None:
    wrong = [name for name, kind in fields.items() if not isinstance(order.get(name), kind)]
    if wrong:
        raise ValueError(f"missing or wrong: {', '.join(wrong)}")
