"""Computes usage from the records of requests, repeatedly, until no record can arrive late any more.

Every run recomputes the slices of the last quarter of an hour, so late or half-read records are corrected by the next
run. An hour is closed when a record would have to be half an hour late to miss it: all its slices are computed once
more, the hour's idle time is spread, and the sums are written as the hour's. Each step can be repeated, and the next
run makes up for one that failed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from tollgate.domain.costs.usage import RollUp, gathered, roll_up
from tollgate.domain.spans import DAY, HOUR, SLICE, day_of, hour_of, slice_of
from tollgate.ports.system import Clock, Telemetry
from tollgate.ports.usage import RequestRecords, Span, UsageStore
from tollgate.services.budgets.tell_budgets import BudgetGauge
from tollgate.services.usage.load_hours import HourLoader

LATE = timedelta(minutes=30)
"""How late a record may come. Log lines and index entries come within seconds."""

_RECENT = timedelta(minutes=15)


class UsageRollUp:
    """Rolls usage up; runs every five minutes."""

    def __init__(
        self,
        *,
        sources: Sequence[RequestRecords],
        store: UsageStore,
        loader: HourLoader,
        gauge: BudgetGauge,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._sources = sources
        self._store = store
        self._loader = loader
        self._gauge = gauge
        self._telemetry = telemetry
        self._clock = clock

    def run(self) -> None:
        """Bring usage up to date.

        Raises:
            CatalogueError, StorageError: a source, the store or the catalogue failed; the next turn goes on from there.
        """
        now = self._clock.now()
        moment, recent = slice_of(now - _RECENT), list[RollUp]()
        while moment <= now:
            recent += self._slice(moment)
            moment += SLICE
        until = self._store.closed_until(Span.HOUR)
        if until is None:
            # The first run comes at most five minutes after the first request, which may lie in the hour before.
            until = hour_of(now) - HOUR
            self._store.close(Span.HOUR, until)
            self._store.close(Span.DAY, day_of(until))
        while until + HOUR + LATE <= now and self._close_hour(until):
            until += HOUR
        self._close_days(until)
        self._gauge.tell()
        self._gauge.announce(recent)

    def _slice(self, start: datetime) -> tuple[RollUp, ...]:
        records = (record for source in self._sources for record in source.between(start, start + SLICE))
        found = roll_up(records, start)
        self._store.put(Span.SLICE, found)
        return found

    def _close_hour(self, hour: datetime) -> bool:
        """Whether it could be closed: with very many endpoints it takes several turns."""
        moment = hour
        while moment < hour + HOUR:
            self._slice(moment)
            moment += SLICE
        # The stored slice may include more than this read.
        found = gathered(self._store.read(Span.SLICE, hour), hour)
        loaded = self._loader.loaded(found, hour)
        if loaded is None:
            return False
        self._store.put(Span.HOUR, loaded)
        self._store.close(Span.HOUR, hour + HOUR)
        self._telemetry.log(
            "INFO", "usage hour closed", hour=hour.isoformat(), requests=sum(each.totals.requests for each in found)
        )
        return True

    def _close_days(self, hours_until: datetime) -> None:
        day = self._store.closed_until(Span.DAY) or day_of(hours_until)
        while day + DAY <= hours_until:
            self._store.put(Span.DAY, gathered(self._store.read(Span.HOUR, day), day))
            day += DAY
            self._store.close(Span.DAY, day)
