"""What a kind of stored item has to offer."""

from collections.abc import Callable
from typing import NamedTuple

from tests.contract.moto_stores import LocalAws


class StoredKind(NamedTuple):
    """How one kind of item is written into empty tables, and what is read of it."""

    write: Callable[[LocalAws], object]
    read: Callable[[LocalAws], object]
