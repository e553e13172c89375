"""What AWS invoices."""

from datetime import date
from decimal import Decimal
from typing import Protocol


class Bill(Protocol):
    """The invoice of the account, as far as it is about this stack."""

    def of_day(self, day: date) -> Decimal | None:
        """Dollars of a day, UTC, before credits; the figures settle within two days. None where nobody keeps them.

        Raises:
            StorageError: it cannot be read.
        """
