"""Reports over long spans take time and memory by the rows that there are, and end before the function does."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.usage import DIMENSIONS, NOON, InMemoryUsage
from tollgate.domain.costs.usage import RollUp, Tally, Totals
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.job import Owner
from tollgate.domain.spans import DAY, day_of
from tollgate.ports.usage import Span
from tollgate.services.usage.queries import READ_SECONDS, UsageQueries

ADMIN = Owner("acme", "key_1", scopes=frozenset({"admin"}))
DAYS, MODELS = 100, 3


class SlowUsage(InMemoryUsage):
    """Takes time for each row, and counts those that were taken."""

    def __init__(self, clock: ManualClock, seconds: float = 0.0) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds
        self.taken = 0
        today = day_of(NOON)
        self.close(Span.HOUR, today)
        self.close(Span.DAY, today)
        for ago in range(1, DAYS + 1):
            self.put(
                Span.DAY,
                [
                    RollUp(today - ago * DAY, DIMENSIONS._replace(model=f"model-{number}"), Totals(requests=1))
                    for number in range(MODELS)
                ],
            )

    def each(self, span: Span, within: datetime) -> Iterator[RollUp]:
        for row in super().each(span, within):
            self.taken += 1
            self._clock.advance(self._seconds)
            yield row


def test_each_row_is_read_once_and_added_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a group is added to the total, not its rows again."""
    added: list[Totals] = []
    add = Tally.add

    def counted(tally: Tally, one: Totals) -> None:
        added.append(one)
        add(tally, one)

    monkeypatch.setattr(Tally, "add", counted)
    clock = ManualClock(NOON)
    store = SlowUsage(clock)
    end = day_of(NOON)
    report = UsageQueries(store=store, clock=clock).usage(ADMIN, group_by=["model"], start=end - DAYS * DAY, end=end)
    assert [line.totals.requests for line in report.lines] == [DAYS] * MODELS
    assert report.total.totals.requests == DAYS * MODELS
    assert store.taken == DAYS * MODELS
    assert len(added) == DAYS * MODELS + MODELS


def test_a_report_that_would_take_too_long_is_refused_in_time() -> None:
    """The function would be stopped, and the caller be told nothing."""
    clock = ManualClock(NOON)
    store = SlowUsage(clock, seconds=0.25)
    end = day_of(NOON)
    with pytest.raises(InvalidRequestError, match="fewer days"):
        UsageQueries(store=store, clock=clock).usage(ADMIN, group_by=[], start=end - DAYS * DAY, end=end)
    assert clock.now() - NOON <= timedelta(seconds=READ_SECONDS + 0.25)
