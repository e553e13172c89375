"""The stored index of near-duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tollgate.domain.near.guard import NearGuard
    from tollgate.domain.near.index import NearEntry
    from tollgate.domain.near.record import FiledPrompt, NearShelf

type WordLikeness = Callable[[str, str], float]
"""Similarity of two texts by their words, 0..1; see `near.words`."""

type SentenceVectors = Callable[[str], bytes | None]
"""The packed vector of a text, see `near.vector`; None where it cannot be had now. Never raises."""


class NearStore(Protocol):
    """Buckets, the prompts that they point to, and each model's guard. Every method may raise StorageError."""

    def shelf(self, buckets: Sequence[str], model: str) -> NearShelf:
        """The buckets of these keys and the model's guard, in one read of at most seven items."""

    def prompts(self, ids: Sequence[str]) -> Mapping[str, FiledPrompt]:
        """The prompts of these entries (at most 100) by id; missing and damaged ones are left out."""

    def file(self, filed: FiledPrompt, entry: NearEntry, buckets: Sequence[str], now_s: int) -> None:
        """Write a prompt, and its entry into each of its buckets; doing it twice changes nothing."""

    def drop(self, entry_id: str) -> None:
        """Forget a prompt; its entries point to nothing then."""

    def guard(self, model: str) -> Mapping[str, object] | None:
        """The guard's stored state, as it is now."""

    def put_guard(self, model: str, guard: NearGuard) -> bool:
        """Store the state that follows the one of the version before; False if another came first."""
