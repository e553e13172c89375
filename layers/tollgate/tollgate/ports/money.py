"""The ledger, the notices about it, and the prices."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from tollgate.domain.budgets.ledger import Counter, LedgerWrite, Told, WorkflowCall

if TYPE_CHECKING:
    # Only functions of the later roads need these at run time; the gateway must not pay for them.
    from datetime import datetime

    from tollgate.domain.budgets.notices import OpenNotice
    from tollgate.domain.costs.price_refresh import FoundPrice, PriceRecord


class Ledger(Protocol):
    """Counters of budgets and calls of workflow runs. Every method may raise StorageError."""

    def write(self, writes: Sequence[LedgerWrite]) -> Mapping[str, Told]:
        """Do these writes, all or none.

        Returns:
            Where the counters stand now, as far as the write told.

        Raises:
            LedgerRefusedError: with the counters that refused.
        """

    def read(self, counters: Sequence[str], *, consistent: bool = False) -> Mapping[str, Counter]:
        """These counters (at most 100), without those that nobody has used."""

    def tell_once(self, counter: str, at_percent: Decimal) -> bool:
        """Note that a threshold is announced; False if it already was."""

    def open_notice(self, notice: "OpenNotice") -> bool:
        """Keep a notice until it is closed; False if one of its id is open."""

    def open_notices(self, *, limit: int) -> "Sequence[OpenNotice]":
        """The notices that nobody has closed."""

    def postpone_notice(self, notice: "OpenNotice", due: "datetime") -> bool:
        """Take a notice to send it before `due`; False if somebody else has taken or closed it meanwhile."""

    def close_notice(self, notice_id: str) -> None:
        """Forget a notice that was published, if it is there."""

    def call(self, tenant: str, workflow: str, inference_id: str) -> WorkflowCall | None:
        """One call of a run."""

    def calls_of(self, tenant: str, workflow: str, *, limit: int) -> Sequence[WorkflowCall]:
        """The calls of a run, oldest first."""


class BudgetNotices(Protocol):
    """Tells people that a budget is being used up."""

    def send(self, notice: Mapping[str, Any]) -> None:
        """Publish a notice of a few fields.

        Raises:
            StorageError: it may or may not have been published.
        """


class PriceList(Protocol):
    """The prices that AWS publishes."""

    def prices(self, region: str) -> "Mapping[str, FoundPrice]":
        """Prices of a region by instance type and by part of the gateway; what the list lacks is absent.

        Raises:
            StorageError: the list cannot be read.
        """


class PriceStore(Protocol):
    """The registry's prices."""

    def records(self, region: str) -> "Mapping[str, PriceRecord]":
        """All prices of a region by name.

        Raises:
            StorageError: they cannot be read.
        """

    def store(self, region: str, name: str, record: "PriceRecord") -> None:
        """Store a record whose revision is still the one that was read.

        Raises:
            ConflictError: it was changed meanwhile.
            StorageError: it cannot be written.
        """
