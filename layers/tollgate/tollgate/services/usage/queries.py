"""Answers what requests cost and how they went, grouped as the caller asks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tollgate.domain.costs.usage import RollUp, Tally, Totals
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.job import Owner
from tollgate.domain.money import usd
from tollgate.domain.spans import DAY, HOUR, day_of, hour_of, month_of
from tollgate.ports.system import Clock
from tollgate.ports.usage import Span, UsageStore

READ_SECONDS = 11.0
"""Seconds after which a report is given up; the function may run a little longer."""

MOST_LINES = 5_000
"""Most lines in one answer, which may have 6 MB."""

_DIMENSIONS = {
    "tenant": "tenant",
    "key": "key_id",
    "team": "team",
    "model": "model",
    "inference_type": "inference_type",
    "deployment": "deployment",
    "variant": "variant",
}
GROUPS = (*_DIMENSIONS, "hour", "day")
"""Dimensions that usage can be grouped by."""

_MOST_DAYS = {"hour": 31, "day": 400}
_OPEN_HOURS_READ = 72 * HOUR
_FIRST_YEAR, _LAST_YEAR = 2000, 2999


@dataclass(frozen=True, slots=True)
class UsageLine:
    """The requests of one group.

    Attributes:
        group: value by name of the dimension.
        totals: of all requests.
        loaded: dollars with idle time, of the hours that are closed; None if something in them is not known.
        loaded_totals: of the requests that `loaded` is about.
    """

    group: Mapping[str, str]
    totals: Totals
    loaded: Decimal | None
    loaded_totals: Totals

    @property
    def cost_per_thousand_requests(self) -> Decimal | None:
        """Dollars, fully loaded."""
        return self._each(self.loaded_totals.requests, 1_000)

    @property
    def cost_per_million_tokens(self) -> Decimal | None:
        """Dollars, fully loaded; None where some token counts are unknown."""
        known = not self.loaded_totals.unknown_tokens
        tokens = self.loaded_totals.input_tokens + self.loaded_totals.output_tokens
        return self._each(tokens, 1_000_000) if known else None

    def _each(self, count: int, many: int) -> Decimal | None:
        return None if self.loaded is None or not count else usd(self.loaded * many / count)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Usage in a span of time, by group.

    Attributes:
        start: of the first hour.
        end: of the last.
        loaded_until: end of the hours whose idle time is spread; later ones have no loaded cost yet.
    """

    start: datetime
    end: datetime
    loaded_until: datetime | None
    group_by: tuple[str, ...]
    lines: Sequence[UsageLine]
    total: UsageLine


class UsageQueries:
    """The usage that a key may see: its tenant's, or every tenant's for an admin."""

    def __init__(self, *, store: UsageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def usage(
        self, owner: Owner, *, group_by: Sequence[str], start: datetime | None, end: datetime | None
    ) -> UsageReport:
        """Usage of a span, to the hour; by default of the last day.

        Raises:
            InvalidRequestError: an unknown group, or a span that is empty or too long.
            StorageError
        """
        groups = tuple(dict.fromkeys(group_by))
        unknown = [name for name in groups if name not in GROUPS]
        if unknown:
            raise InvalidRequestError(
                f"'{unknown[0][:50]}' cannot be grouped by. Known: {', '.join(GROUPS)}.", param="group_by"
            )
        now = self._clock.now()
        for name, moment in (("from", start), ("to", end)):
            # There is no usage outside these years, and date arithmetic fails near the ends of the calendar.
            if moment is not None and not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
                raise InvalidRequestError(f"'{name}' must be in a year from {_FIRST_YEAR} to {_LAST_YEAR}.", param=name)
        until = hour_of(end or now)
        until = until if until == end else until + HOUR
        since = hour_of(start) if start is not None else until - DAY
        most = _MOST_DAYS["hour" if "hour" in groups else "day"]
        if since >= until:
            raise InvalidRequestError("'from' must be before 'to'.", param="from")
        if until - since > most * DAY:
            raise InvalidRequestError(f"At most {most} days can be asked for at once with these groups.", param="from")
        closed = self._store.closed_until(Span.HOUR)
        rows = self._rows(since, until, now, closed, hours="hour" in groups)
        found = self._summed(rows, owner, groups, closed)
        total = _Sums()
        for each in found.values():
            total.include(each)
        lines = [found[name].line(dict(zip(groups, name, strict=True))) for name in sorted(found)] if groups else []
        return UsageReport(since, until, closed, groups, lines, total.line({}))

    def _summed(
        self, rows: Iterable[RollUp], owner: Owner, groups: tuple[str, ...], closed: datetime | None
    ) -> dict[tuple[str, ...], "_Sums"]:
        found: dict[tuple[str, ...], _Sums] = {}
        began = self._clock.monotonic()
        for row in rows:
            if self._clock.monotonic() - began > READ_SECONDS:
                raise InvalidRequestError(
                    "There is too much to add up for one answer. Ask for fewer days.", param="from"
                )
            if _may_see(row, owner):
                name = tuple(_value(row, group) for group in groups)
                found.setdefault(name, _Sums()).add(row, closed)
            if len(found) > MOST_LINES:
                raise InvalidRequestError(
                    f"The answer would have more than {MOST_LINES} groups. Ask for fewer.", param="group_by"
                )
        return found

    def _rows(
        self, since: datetime, until: datetime, now: datetime, closed: datetime | None, *, hours: bool
    ) -> Iterator[RollUp]:
        """Days where whole ones are wanted and closed, then hours, then slices of what is not closed yet."""
        known_until = min(until, closed) if closed is not None else since
        whole_until = min(known_until, self._store.closed_until(Span.DAY) or since)
        moment = since
        while moment < known_until:
            day = day_of(moment)
            if not hours and moment == day and day + DAY <= whole_until:
                next_month = month_of(month_of(day) + 31 * DAY)
                last, read = min(next_month, day_of(whole_until)), self._store.each(Span.DAY, month_of(day))
            else:
                last, read = min(day + DAY, known_until), self._store.each(Span.HOUR, day)
            yield from (row for row in read if moment <= row.start < last)
            moment = last
        moment = max(since, known_until, hour_of(now) - _OPEN_HOURS_READ)
        while moment < min(until, now):
            yield from self._store.each(Span.SLICE, moment)
            moment += HOUR


def _value(row: RollUp, name: str) -> str:
    if name == "hour":
        return f"{hour_of(row.start):%Y-%m-%dT%H:00Z}"
    if name == "day":
        return f"{row.start:%Y-%m-%d}"
    value: str = getattr(row.dimensions, _DIMENSIONS[name])
    # Deployments of two models may have the same name.
    return f"{row.dimensions.model}/{value}" if name == "deployment" and value else value


def _may_see(row: RollUp, owner: Owner) -> bool:
    return "admin" in owner.scopes or (bool(owner.tenant) and row.dimensions.tenant == owner.tenant)


class _Sums:
    """Of one group, under construction: a year of many keys' days does not fit into memory."""

    def __init__(self) -> None:
        self.closed, self.open = Tally(), Tally()

    def add(self, row: RollUp, closed: datetime | None) -> None:
        """Add a roll-up; the idle time of those before `closed` is spread."""
        tally = self.closed if closed is not None and row.start < closed else self.open
        tally.add(row.totals)

    def include(self, other: "_Sums") -> None:
        """Add another group."""
        for tally, more in ((self.closed, other.closed), (self.open, other.open)):
            if not more.is_empty:
                tally.add(more.totals())

    def line(self, group: Mapping[str, str]) -> UsageLine:
        """The group as it is answered."""
        spread, whole = self.closed.totals(), Tally()
        whole.add(spread)
        whole.add(self.open.totals())
        return UsageLine(group, whole.totals(), spread.loaded, spread)
