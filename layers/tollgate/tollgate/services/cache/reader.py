"""Reads kept answers: not while the table is down, and none that their owner has asked to forget."""

from __future__ import annotations

from copy import replace
from typing import TYPE_CHECKING

from tollgate.domain.cache.entry import NOTHING_FORGOTTEN
from tollgate.domain.errors import StorageError
from tollgate.services.cache.breaker import CacheBreaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.cache.entry import CacheSlot, Forgotten
    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.system import Clock
    from tollgate.services.cache.cached_run import CachedRun

FORGOTTEN_SECONDS = 5.0
"""How old the known list of what a scope has forgotten may be. It is read together with an answer, in one call."""

RETRY_SECONDS = 5
"""After which a caller may find the table again."""

_SCOPES_KNOWN = 500


class CacheReader:
    """Reads the table through a circuit breaker."""

    def __init__(self, store: AnswerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._breaker = CacheBreaker(clock)
        self._forgotten: dict[str, tuple[float, Forgotten]] = {}

    def look(self, run: CachedRun, key: str = "") -> CacheSlot:
        """What is kept for the request, unless its owner has had it forgotten.

        Args:
            run: the request.
            key: another entry's, of the same scope and namespace, to read instead of its own.

        Raises:
            StorageError: the table does not answer, or was not asked because it is down.
        """
        if self._breaker.is_open():
            raise StorageError("The cache is down.", retry_after=RETRY_SECONDS)
        known = self._forgotten.get(run.scope)
        due = known is None or self._clock.monotonic() - known[0] >= FORGOTTEN_SECONDS
        slot, news = self.asked(lambda: self._store.read(key or run.key, run.scope if due else None))
        forgotten = NOTHING_FORGOTTEN if known is None else known[1]
        if news is not None:
            forgotten = self._remember(run.scope, news)
        if slot.answer is not None and forgotten.covers(slot.answer, run.request.model, run.control.namespace):
            return replace(slot, answer=None)
        return slot

    def asked[T](self, ask: Callable[[], T]) -> T:
        """The table's answer. A first failure may be a hiccup, so it is tried again at once.

        Raises:
            StorageError: it failed twice.
        """
        try:
            found = ask()
        except StorageError:
            try:
                found = ask()
            except StorageError:
                self._breaker.failed()
                raise
        self._breaker.worked()
        return found

    def forgotten_of(self, scope: str, key: str) -> Forgotten:
        """What a scope has forgotten, as of at most five seconds ago.

        Args:
            scope: see `cache.identity.scope_name`.
            key: of any entry that is read anyway.

        Raises:
            StorageError: the table does not answer, or was not asked because it is down.
        """
        if self._breaker.is_open():
            raise StorageError("The cache is down.", retry_after=RETRY_SECONDS)
        known = self._forgotten.get(scope)
        if known is not None and self._clock.monotonic() - known[0] < FORGOTTEN_SECONDS:
            return known[1]
        _, news = self.asked(lambda: self._store.read(key, scope))
        return self._remember(scope, news or NOTHING_FORGOTTEN)

    def _remember(self, scope: str, news: Forgotten) -> Forgotten:
        if len(self._forgotten) >= _SCOPES_KNOWN:
            self._forgotten.clear()
        self._forgotten[scope] = (self._clock.monotonic(), news)
        return news
