"""The record of the brakes: who reads it, who keeps it, and who is told."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from tollgate.domain.brakes.level import Control
from tollgate.domain.brakes.plan import BrakeEntry
from tollgate.domain.places.standing import Place


class BrakeSource(Protocol):
    """The brakes as a gateway sees them, a few seconds old at most."""

    def in_force(self) -> Control:
        """The record; an earlier copy when it cannot be read.

        Raises:
            StorageError: it cannot be read and there is no earlier copy.
        """


class ControlStore(Protocol):
    """The record itself. Every method may raise StorageError."""

    def read(self) -> Control:
        """The record as it is now; `NO_CONTROL` before the first."""

    def save(self, control: Control) -> Control | None:
        """Store a changed record whose revision is still the stored one.

        Returns:
            The record with its new revision; None when somebody else has changed it meanwhile.
        """

    def entries(self, episode: str) -> Sequence[BrakeEntry]:
        """The steps of an episode, in order."""

    def put(self, entry: BrakeEntry) -> None:
        """Store a step, new or changed."""


class PlaceHolds(Protocol):
    """Keeps sleep and wake away from places that the brakes have taken down."""

    def hold(self, place: Place, by: str, now: datetime) -> None:
        """Keep a place from being woken or put to sleep, until `let_go`. Holding again changes nothing."""

    def let_go(self, place: Place, by: str) -> None:
        """End a hold of the same name; nothing happens if there is none."""


class NoticeTopic(Protocol):
    """A topic that people and programs subscribe to."""

    def publish(self, subject: str, document: Mapping[str, Any]) -> None:
        """Publish a document of a few fields.

        Raises:
            StorageError
        """


class Announcer(Protocol):
    """Tells people that the brakes have changed."""

    def announce(self, notice: Mapping[str, Any], *, at: datetime) -> None:
        """Publish a notice of a few fields, `event` among them.

        Raises:
            StorageError: nobody was told; try again.
        """
