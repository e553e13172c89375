"""Cached answers in memory."""

from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from threading import Lock

from tollgate.domain.cache.entry import MOST_FORGOTTEN, CachedAnswer, CacheSlot, Forgotten
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.errors import StorageError


@dataclass
class _Row:
    slot: CacheSlot
    scope: str
    strays: int = 0
    forgotten_ms: int = -1


@dataclass
class InMemoryAnswers:
    """The `AnswerStore` of tests. `fails` says which calls find the table down; `calls` remembers all."""

    fails: Callable[[str], bool] = lambda _operation: False
    rows: dict[str, _Row] = field(default_factory=dict)
    forgotten: dict[str, dict[str, int]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = Lock()

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if self.fails(operation):
            raise StorageError("the table is down")

    def read(self, key: str, forgotten_of: str | None = None) -> tuple[CacheSlot, Forgotten | None]:
        self._called("read")
        row = self.rows.get(key)
        slot = CacheSlot() if row is None else row.slot
        return slot, None if forgotten_of is None else Forgotten(dict(self.forgotten.get(forgotten_of, {})))

    def read_many(self, keys: Sequence[str]) -> Mapping[str, CachedAnswer]:
        self._called("read_many")
        slots = {key: self.rows[key].slot for key in keys if key in self.rows}
        return {key: slot.answer for key, slot in slots.items() if slot.answer is not None}

    def lead(
        self, key: str, seen: CacheSlot, *, scope: str, now_ms: int, until_ms: int, job_id: str = ""
    ) -> CacheSlot | None:
        self._called("lead")
        with self._lock:
            row = self.rows.setdefault(key, _Row(CacheSlot(), scope))
            if row.slot.fence != seen.fence or row.slot.is_led(now_ms):
                return row.slot
            row.slot = replace(row.slot, fence=seen.fence + 1, lease_until_ms=until_ms, job_id=job_id)
            row.strays = 0
            return None

    def store(self, ticket: CacheTicket, answer: CachedAnswer) -> bool:
        self._called("store")
        with self._lock:
            row = self.rows.setdefault(ticket.key, _Row(CacheSlot(), ticket.scope))
            if not ticket.fence:
                if answer.began_ms <= row.forgotten_ms:
                    return False
                row.slot = replace(row.slot, answer=answer)
                return True
            if row.slot.fence != ticket.fence:
                return False
            row.slot = CacheSlot(answer, ticket.fence)
            return True

    def release(self, ticket: CacheTicket) -> None:
        self._called("release")
        row = self.rows.get(ticket.key)
        if row is not None and ticket.fence and row.slot.fence == ticket.fence:
            row.slot = replace(row.slot, lease_until_ms=0, job_id="")

    def stray(self, key: str, most: int) -> bool:
        self._called("stray")
        with self._lock:
            row = self.rows[key]
            if row.strays >= most:
                return False
            row.strays += 1
            return True

    def forget(self, key: str, scope: str, now_ms: int) -> bool:
        self._called("forget")
        row = self.rows.get(key)
        if row is None or row.scope != scope:
            return False
        row.slot, row.forgotten_ms = CacheSlot(fence=row.slot.fence + 1), now_ms
        return True

    def forget_all(self, scope: str, what: str, now_ms: int) -> None:
        self._called("forget_all")
        known = self.forgotten.setdefault(scope, {})
        if what not in known and len(known) >= MOST_FORGOTTEN:
            known.clear()
            what = "all"
        known[what] = now_ms
