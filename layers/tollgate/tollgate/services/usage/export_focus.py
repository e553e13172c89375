"""Writes the costs of a day as a FOCUS file."""

from collections.abc import Iterator
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tollgate.domain.costs.focus import FocusAccount, FocusDay, FocusRow, focus_jobs, focus_roll_ups, sellers_of
from tollgate.domain.errors import NoCatalogueError, StorageError
from tollgate.domain.money import ZERO
from tollgate.domain.spans import DAY, HOUR, day_of
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.ports.usage import FocusFiles, SettledJobSource, Span, UsageStore

CAUGHT_UP_DAYS = 7
"""How many days back missing files are looked for."""


@dataclass(slots=True)
class FocusSummary:
    """What a file contains, and what it leaves out because its cost is unknown."""

    rows: int = 0
    total: Decimal = ZERO
    unknown: int = 0
    first_unknown: str = ""

    def add(self, part: FocusDay) -> None:
        """Count a part of the file."""
        self.rows += len(part.rows)
        self.total += part.total
        self.unknown += len(part.unknown) + part.unknown_requests
        self.first_unknown = self.first_unknown or next(iter(part.unknown), "")


class FocusExport:
    """Exports whole days, an hour at a time, so that a busy day needs no more memory than its busiest hour.

    `catalogues` say which deployments SageMaker does not serve, as of the day of the export.
    """

    def __init__(
        self,
        *,
        store: UsageStore,
        jobs: SettledJobSource,
        files: FocusFiles,
        account: FocusAccount,
        telemetry: Telemetry,
        clock: Clock,
        catalogues: CatalogueSource | None = None,
    ) -> None:
        self._catalogues = catalogues
        self._store = store
        self._jobs = jobs
        self._files = files
        self._account = account
        self._telemetry = telemetry
        self._clock = clock

    def run(self) -> None:
        """Export every closed day of the last week that has no file yet.

        Raises:
            StorageError: try again.
        """
        today = day_of(self._clock.now())
        closed = self._store.closed_until(Span.DAY)
        for ago in range(CAUGHT_UP_DAYS, 0, -1):
            day = today - ago * DAY
            if closed is not None and day + DAY <= closed and not self._files.has(day.date()):
                self.export(day)

    def export(self, day: datetime) -> FocusSummary:
        """Write the file of a day, replacing an existing one.

        Raises:
            CatalogueError: there is none.
            StorageError: the day is not closed yet, or something cannot be read or written.
        """
        closed = self._store.closed_until(Span.DAY)
        if closed is None or closed < day + DAY:
            raise StorageError(f"The usage of {day:%Y-%m-%d} is not complete yet; its file would not be either.")
        summary = FocusSummary()
        self._files.write(day.date(), self._parts(day, summary))
        if summary.unknown:
            self._telemetry.count("FocusRowsMissing", summary.unknown)
        self._telemetry.log("INFO", "focus export written", day=day.date().isoformat(), rows=summary.rows)
        return summary

    def _parts(self, day: datetime, summary: FocusSummary) -> Iterator[tuple[FocusRow, ...]]:
        roll_ups = self._store.read(Span.HOUR, day)
        account = self._account
        if self._catalogues is not None:
            with suppress(NoCatalogueError):
                account = replace(account, sellers=sellers_of(self._catalogues.current()))
        hour = day
        while hour < day + DAY:
            for part in (
                focus_roll_ups([each for each in roll_ups if each.start == hour], account),
                focus_jobs(self._jobs.jobs_between(hour, hour + HOUR), account),
            ):
                summary.add(part)
                yield part.rows
            hour += HOUR
