"""What every service needs of its surroundings: time, names, and a way to tell what happened."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from tollgate.domain.records import RequestRecord


class Clock(Protocol):
    """Time, so that tests can move it."""

    def now(self) -> datetime:
        """The present moment, in UTC."""

    def monotonic(self) -> float:
        """Seconds for measuring durations."""


class IdSource(Protocol):
    """Names for new things."""

    def new(self, prefix: str) -> str:
        """A name like ``inf_...``: unique, sortable by time, at most 64 characters of [A-Za-z0-9_]."""


class Telemetry(Protocol):
    """Metrics and log lines."""

    def request(self, record: RequestRecord) -> None:
        """The canonical line and metric record of one request."""

    def log(self, level: str, message: str, **fields: Any) -> None:
        """One structured line: a static message and its fields, never prompts, bodies or secrets."""

    def measure(self, values: Mapping[str, float], dimensions: Mapping[str, str]) -> None:
        """Metrics of one thing; the names of `dimensions` have metrics of their own for each of their values."""

    def count(self, metric: str, value: float = 1, *, unit: str = "Count") -> None:
        """A metric without dimensions."""
