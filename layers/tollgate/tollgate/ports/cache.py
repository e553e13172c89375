"""Answers kept to be given again, and who is making the ones that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tollgate.domain.cache.entry import CachedAnswer, CacheSlot, Forgotten
    from tollgate.domain.cache.ticket import CacheTicket


class AnswerStore(Protocol):
    """Answers by key. Every method may raise StorageError, and none of them tries for long."""

    def read(self, key: str, forgotten_of: str | None = None) -> tuple[CacheSlot, Forgotten | None]:
        """What is under a key, in one read of the table; and what that scope has forgotten, where one is named."""

    def read_many(self, keys: Sequence[str]) -> Mapping[str, CachedAnswer]:
        """The answers under these keys (at most 100), fresh or not; missing ones are left out."""

    def lead(
        self, key: str, seen: CacheSlot, *, scope: str, now_ms: int, until_ms: int, job_id: str = ""
    ) -> CacheSlot | None:
        """Take the lease of a key, for a job or a caller, if it is as it was `seen` and nobody has the lease now.

        Returns:
            None: the lease is taken, its fence is one more than was seen. Otherwise what is there now.
        """

    def store(self, ticket: CacheTicket, answer: CachedAnswer) -> bool:
        """Keep an answer and give the lease back.

        Returns:
            False where a later lease, or for a run without one a later `forget`, has made the ticket worthless.
        """

    def release(self, ticket: CacheTicket) -> None:
        """Give the lease back without an answer; nothing happens if it is another's by now."""

    def stray(self, key: str, most: int) -> bool:
        """Count one more request that runs beside the lease; False if that makes too many."""

    def forget(self, key: str, scope: str, now_ms: int) -> bool:
        """Forget one entry, and whatever is being made for it; False if the scope has none."""

    def forget_all(self, scope: str, what: str, now_ms: int) -> None:
        """Forget what was begun until now; `what` as in `Forgotten`.

        Where `MOST_FORGOTTEN` other names are remembered, everything is forgotten instead, and they need not be.
        """
