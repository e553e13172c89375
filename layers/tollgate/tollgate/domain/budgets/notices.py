"""A notice that a threshold was crossed, kept until it is known to be published.

It is written down before the counter's mark and before it is sent, and taken away after. Whatever fails in between, the
schedule finds it and sends it: somebody may hear of a threshold twice, under the same id, and nobody never.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

RETRY = timedelta(minutes=1)
"""How long whoever sends a notice has before somebody else tries: much longer than a function waits for the topic."""


@dataclass(frozen=True, slots=True)
class OpenNotice:
    """A notice that is not known to be published.

    Attributes:
        document: what is published; `id`, `counter` and `at_percent` are among its fields.
        due: the schedule leaves it to whoever took it before, until then.
    """

    document: Mapping[str, Any]
    due: datetime

    @property
    def notice_id(self) -> str:
        """The same however often it is published: subscribers tell repetitions by it."""
        return str(self.document["id"])


def notice_id(counter: str, at_percent: Decimal) -> str:
    """Id of the notice about a threshold of a counter, which has its scope and period in its name."""
    return f"{counter}@{at_percent.normalize():f}"


def period_of(counter: str) -> str:
    """The period in a counter's name: ``team:acme/search#day#2026-11-22`` is of a day."""
    return counter.rsplit("#", 2)[-2]
