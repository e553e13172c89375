"""Where the records of requests are, and where their roll-ups are kept."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from tollgate.domain.costs.focus import FocusRow
from tollgate.domain.costs.loaded_cost import Endpoint
from tollgate.domain.costs.usage import RollUp, UsageRecord
from tollgate.domain.jobs.file_batches import CountedPart
from tollgate.domain.jobs.job import Job


class Span(StrEnum):
    """How long the time is that a roll-up is about."""

    SLICE = "slice"
    HOUR = "hour"
    DAY = "day"


class RequestRecords(Protocol):
    """Records of requests that have ended, from one source."""

    def between(self, start: datetime, end: datetime) -> Iterable[UsageRecord]:
        """All records made from `start` to before `end`; some may come twice.

        Raises:
            StorageError: the source cannot be read; what was yielded is not all.
        """


class InstanceHours(Protocol):
    """How long the instances of endpoints were up."""

    def of(self, endpoint: Endpoint, hour: datetime) -> Decimal | None:
        """Instance hours of all instances in the hour that begins then; None when nobody knows.

        Raises:
            StorageError: it cannot be asked.
        """


class SettledJobSource(Protocol):
    """Jobs and parts of batches by the time at which they were settled."""

    def jobs_between(self, start: datetime, end: datetime) -> Iterable[Job | CountedPart]:
        """Those settled from `start` to before `end`, without their bodies.

        Raises:
            StorageError
        """


class FocusFiles(Protocol):
    """Daily exports. Every method may raise StorageError."""

    def has(self, day: date) -> bool:
        """Whether the day's file is there."""

    def write(self, day: date, parts: Iterable[Iterable[FocusRow]]) -> None:
        """Write the day's file in place of what is there; the parts are asked for one after the other."""


class UsageStore(Protocol):
    """Roll-ups. Every method may raise StorageError."""

    def put(self, span: Span, roll_ups: Iterable[RollUp]) -> None:
        """Write them over what stands there, except where that counts more requests: it saw more records."""

    def read(self, span: Span, within: datetime) -> Sequence[RollUp]:
        """The slices of the hour, the hours of the day, or the days of the month that begins at `within`."""

    def each(self, span: Span, within: datetime) -> Iterator[RollUp]:
        """The same one by one, read as they are taken: a month of many keys does not fit into memory."""

    def closed_until(self, span: Span) -> datetime | None:
        """The end of the last span of which everything is known; None before the first."""

    def close(self, span: Span, until: datetime) -> None:
        """Note that everything before `until` is known."""
