"""Requests that wait for an endpoint, by their latest start, and the work that is due until any moment."""

import math
from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tollgate.domain.places.wake_by_deadline import DueWork

_GROUP_SECONDS = 10.0


@dataclass(slots=True)
class _Group:
    first: float
    since: float
    count: int = 0
    work: float = 0.0
    saved: float = 0.0


@dataclass(slots=True)
class Waiting:
    """What waits.

    Attributes:
        work: place-seconds of all of it.
        saved: dollars that instance time saves on all of it against tokens.
    """

    work: float = 0.0
    saved: float = 0.0
    _heap: list[tuple[float, int, float, float]] = field(default_factory=list)
    _groups: dict[int, _Group] = field(default_factory=dict)
    _keys: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, position: int, now: float, latest: float, work: float, saved: float = 0.0) -> None:
        """One more waits.

        Args:
            position: of the request.
            now: since when.
            latest: moment at which it must start.
            work: place-seconds that it is expected to take.
            saved: dollars that instance time saves against tokens.
        """
        heappush(self._heap, (latest, position, work, saved))
        key = int(latest // _GROUP_SECONDS)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(latest, now)
            insort(self._keys, key)
        group.first = min(group.first, latest)
        group.count += 1
        group.work += work
        group.saved += saved
        self.work += work
        self.saved += saved

    def pop(self) -> int:
        """Take out the request that must start first."""
        latest, position, work, saved = heappop(self._heap)
        key = int(latest // _GROUP_SECONDS)
        group = self._groups[key]
        group.count -= 1
        if group.count:
            group.work -= work
            group.saved -= saved
        else:
            del self._groups[key]
            self._keys.pop(0)  # the least latest start has the first key
        if self._keys:
            self.work -= work
            self.saved -= saved
        else:
            self.work = self.saved = 0.0
        return position

    @property
    def first(self) -> tuple[float, int]:
        """Latest start and position of the request that must start first."""
        latest, position, _, _ = self._heap[0]
        return latest, position

    def until(self, latest: float) -> float:
        """Place-seconds of the groups that begin by this latest start."""
        end = bisect_right(self._keys, int(latest // _GROUP_SECONDS))
        return sum(self._groups[key].work for key in self._keys[:end])

    def saved_until(self, latest: float) -> float:
        """Dollars that instance time saves on what must start by then."""
        end = bisect_right(self._keys, int(latest // _GROUP_SECONDS))
        return sum(self._groups[key].saved for key in self._keys[:end])

    def patient(self, latest: float) -> tuple[float, float, float] | None:
        """Of all that need not start by then: since when the first waits, its latest start, dollars saved on all."""
        begin = bisect_right(self._keys, int(latest // _GROUP_SECONDS))
        if begin == len(self._keys):
            return None
        group = self._groups[self._keys[begin]]
        return group.since, group.first, self.saved - self.saved_until(latest)

    def due(self, *, places: int, in_work: float, wait: float, up_from: float | None) -> Iterator[DueWork]:
        """Groups in order, as far as they can matter.

        With an instance up, no group matters by whose latest start that one could do all work. Without, none does that
        could wait, with all work ahead of it, for longer than a group before it.

        Args:
            places: of one instance.
            in_work: place-seconds still to be done on places that are taken; they come before everything.
            wait: a start-up and a margin from now; a group that could start after that asks for nothing now.
            up_from: when an instance is ready, and a margin; None where there is none.
        """
        ahead = in_work
        total = (in_work + self.work) / places
        tightest = math.inf
        for key in self._keys:
            group = self._groups[key]
            if group.first - total >= (max(tightest, wait) if up_from is None else up_from):
                return
            ahead += group.work
            tightest = min(tightest, group.first - ahead / places)
            yield DueWork(group.first, group.work + in_work)
            in_work = 0.0
