"""What an execution environment knows of counters, and who is told when a threshold is crossed.

Announcements go by what is spent: a burst of calls holds many times what it will cost and gives most of it back, while
an announcement stands, and may brake, until the period ends. Routing goes by what is committed.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from tollgate.domain.budgets.budget import FULL, AppliedBudget
from tollgate.domain.budgets.ledger import Change, Counter, Told
from tollgate.domain.budgets.pressure import thresholds_crossed
from tollgate.domain.errors import StorageError
from tollgate.domain.money import ZERO, money_text
from tollgate.ports.money import BudgetNotices, Ledger
from tollgate.ports.system import Clock, Telemetry

_SEEN_SECONDS = 5.0
_MOST_REMEMBERED = 2_000


class BudgetWatch:
    """Remembers where counters stood, for routing and headers; never to decide who may spend."""

    def __init__(self, *, ledger: Ledger, telemetry: Telemetry, clock: Clock, notices: BudgetNotices | None) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._clock = clock
        self._notices = notices
        self._seen: dict[str, Decimal] = {}
        self._calls: dict[str, tuple[float, int]] = {}
        self._read: dict[str, tuple[float, Decimal]] = {}
        self._watched: dict[str, AppliedBudget] = {}
        self._told: set[tuple[str, Decimal]] = set()

    def committed(self, counter: str) -> Decimal | None:
        """Dollars that were committed when the counter was last seen; None if it never was."""
        return self._seen.get(counter)

    def calls(self, counter: str) -> int | None:
        """Requests counted, including our own since it was last told; None if that is five seconds ago or more."""
        moment, calls = self._calls.get(counter, (0.0, None))
        return None if calls is None or self._clock.monotonic() - moment >= _SEEN_SECONDS else calls

    def look(self, counters: Sequence[str]) -> None:
        """Read the counters that were not read for five seconds. Routing can do without, so failures are ignored."""
        moment = self._clock.monotonic()
        old = [c for c in counters if c not in self._read or moment - self._read[c][0] >= _SEEN_SECONDS]
        if not old:
            return
        try:
            found = self._ledger.read(old)
        except StorageError:
            return
        if len(self._read) > _MOST_REMEMBERED:
            self._read.clear()
        self._read.update((name, (moment, found[name].used if name in found else ZERO)) for name in old)
        # The counter says which thresholds were announced, so none of those is tried again.
        self._remember((name, percent) for name in found for percent in found[name].told)
        nothing = Counter()
        there = {name: found.get(name, nothing) for name in old}
        self.see({name: Told(counter.committed, counter.calls) for name, counter in there.items()})

    def see(self, told: Mapping[str, Told]) -> None:
        """Take note of what a write told."""
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen.clear()
            self._calls.clear()
        for name, (committed, calls) in told.items():
            self._seen[name] = committed
            if calls is not None:
                self._calls[name] = (self._clock.monotonic(), calls)

    def add(self, counters: Iterable[str], amount: Decimal, calls: int = 0) -> None:
        """Note our own hold, or what its end changed, where the write did not tell the sums."""
        for name in counters:
            if name in self._seen:
                self._seen[name] += amount
            if calls and name in self._calls:
                moment, before = self._calls[name]
                self._calls[name] = (moment, before + calls)

    def spend(self, change: Change) -> None:
        """Note what one of our own settlements spent; those of others are known when the counter is next read."""
        if change.counter in self._read:
            moment, before = self._read[change.counter]
            self._read[change.counter] = (moment, before + change.spent + change.overrun)
        if change.counter in self._watched:
            self._tell(self._watched[change.counter], self._clock.now())

    def tell(self, budgets: Sequence[AppliedBudget], now: datetime) -> None:
        """Announce every threshold that spending has reached, once a period; later settlements will do so too."""
        if len(self._watched) > _MOST_REMEMBERED:
            self._watched.clear()
        for applied in budgets:
            if applied.budget.thresholds:
                self._watched[applied.counter] = applied
                self._tell(applied, now)

    def _tell(self, applied: AppliedBudget, now: datetime) -> None:
        _, spent = self._read.get(applied.counter, (0.0, ZERO))
        if spent:
            for threshold in thresholds_crossed(applied.budget, spent, now):
                self._announce(applied, threshold.at_percent, threshold.action.value, now)

    def tell_refused(self, applied: AppliedBudget, now: datetime) -> None:
        """Announce that the limit is reached, once in its period."""
        if applied.budget.limit_usd is not None:
            self._announce(applied, FULL, "block", now)

    def _remember(self, places: Iterable[tuple[str, Decimal]]) -> None:
        if len(self._told) > _MOST_REMEMBERED:
            self._told.clear()
        self._told.update(places)

    def _announce(self, applied: AppliedBudget, percent: Decimal, action: str, now: datetime) -> None:
        place = (applied.counter, percent)
        if place in self._told:
            return
        self._remember([place])
        # Few requests cross a threshold; the others need not pay for the import.
        from tollgate.domain.budgets.notices import RETRY, OpenNotice, notice_id  # noqa: PLC0415 -- see above

        limit = applied.budget.limit_at(now)
        identity = notice_id(applied.counter, percent)
        notice = {
            "id": identity,
            "budget": applied.budget.scope,
            "counter": applied.counter,
            "at_percent": str(percent),
            "action": action,
            "limit_usd": money_text(limit),
            "period_ends": None if applied.ends_at is None else applied.ends_at.isoformat(),
        }
        try:
            # Written down first: whatever happens from here on, the schedule publishes what is still open.
            if not self._ledger.open_notice(OpenNotice(notice, now + RETRY)):
                return
            if not self._ledger.tell_once(applied.counter, percent):
                self._ledger.close_notice(identity)
                return
        except StorageError:
            self._told.discard(place)
            return
        self._telemetry.count("BudgetWarned")
        self._telemetry.log("WARNING", "budget threshold crossed", **notice)
        if self._notices is not None:
            try:
                self._notices.send(notice)
                self._ledger.close_notice(identity)
            except StorageError as error:
                self._telemetry.count("BudgetNoticeDelayed")
                self._telemetry.log("WARNING", "budget notice delayed", id=identity, reason=error.message)
