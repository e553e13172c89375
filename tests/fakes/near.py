"""The index of near-duplicates in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tollgate.domain.errors import StorageError
from tollgate.domain.near.guard import NearGuard
from tollgate.domain.near.index import NearEntry, admit
from tollgate.domain.near.record import FiledPrompt, NearShelf


@dataclass
class InMemoryNear:
    """The `NearStore` of tests. `fails` says which calls find the table down; `calls` remembers all."""

    fails: Callable[[str], bool] = lambda _operation: False
    buckets: dict[str, tuple[NearEntry, ...]] = field(default_factory=dict)
    filed: dict[str, FiledPrompt] = field(default_factory=dict)
    guards: dict[str, Mapping[str, object]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if self.fails(operation):
            raise StorageError("the table is down")

    def shelf(self, buckets: Sequence[str], model: str) -> NearShelf:
        self._called("shelf")
        return NearShelf(tuple(self.buckets.get(bucket, ()) for bucket in buckets), self.guards.get(model))

    def prompts(self, ids: Sequence[str]) -> Mapping[str, FiledPrompt]:
        self._called("prompts")
        return {each: self.filed[each] for each in ids if each in self.filed}

    def file(self, filed: FiledPrompt, entry: NearEntry, buckets: Sequence[str], now_s: int) -> None:
        self._called("file")
        self.filed[filed.entry_id] = filed
        for bucket in buckets:
            if entry not in self.buckets.get(bucket, ()):
                self.buckets[bucket] = admit(self.buckets.get(bucket, ()), entry, now=now_s)

    def drop(self, entry_id: str) -> None:
        self._called("drop")
        self.filed.pop(entry_id, None)

    def guard(self, model: str) -> Mapping[str, object] | None:
        self._called("guard")
        return self.guards.get(model)

    def put_guard(self, model: str, guard: NearGuard) -> bool:
        self._called("put_guard")
        there = self.guards.get(model)
        if (0 if there is None else there["version"]) != guard.version - 1:
            return False
        self.guards[model] = guard.document()
        return True
