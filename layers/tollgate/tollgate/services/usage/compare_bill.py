"""Compares the ledger with AWS's invoice and reports the difference; nothing is corrected."""

from datetime import datetime, timedelta
from decimal import Decimal

from tollgate.domain.costs.usage import sum_of
from tollgate.domain.money import ZERO, usd_text
from tollgate.domain.spans import DAY, day_of, month_of
from tollgate.ports.bill import Bill
from tollgate.ports.system import Clock, Telemetry
from tollgate.ports.usage import Span, UsageStore

SETTLED = timedelta(days=3)
"""The invoice of a day is final after two days; the third is for the hours between."""

DRIFT_ALARM_PERCENT = 20
"""Drift above which the alarm is raised."""

IDLE_WEEKDAY = 0
"""While the ledger is empty, only Mondays are queried: each query costs a cent."""

STANDING_USD = Decimal("0.25")
"""What a day of an idle gateway may cost without counting as drift; `docs/deploy.md` lists its parts."""

_ALL = Decimal(100)


class BillComparison:
    """Compares the last day whose invoice is final."""

    def __init__(self, *, store: UsageStore, bill: Bill, telemetry: Telemetry, clock: Clock) -> None:
        self._store = store
        self._bill = bill
        self._telemetry = telemetry
        self._clock = clock

    def run(self) -> Decimal | None:
        """Report by what percentage of the invoice the ledger is off.

        Returns:
            The percentage, positive when the ledger has more; None when the ledger or the bill does not have that
            day, or the ledger is empty on a day that is not queried.

        Raises:
            StorageError: the ledger or the bill cannot be read; nothing was reported.
        """
        day = day_of(self._clock.now()) - SETTLED
        closed = self._store.closed_until(Span.DAY)
        rows = [row for row in self._store.read(Span.DAY, month_of(day)) if row.start == day]
        ledger = sum_of(rows).loaded if rows else ZERO
        if closed is None or closed < day + DAY or ledger is None:
            self._tell(day, "the ledger does not know that day")
            return None
        if ledger == ZERO and day.weekday() != IDLE_WEEKDAY:
            self._telemetry.log("INFO", "nothing to compare with the bill", day=day.date().isoformat())
            return None
        bill = self._bill.of_day(day.date())
        if bill is None:
            self._tell(day, "Cost Explorer is not enabled, or has no data yet")
            return None
        drift = _percent(ledger, bill)
        # Both directions raise the same alarm; the log line says which it is.
        self._telemetry.count("LedgerDriftPercent", abs(float(drift)), unit="Percent")
        self._telemetry.log(
            "INFO",
            "ledger compared with the bill",
            day=day.date().isoformat(),
            ledger_usd=usd_text(ledger),
            bill_usd=usd_text(bill),
            drift_percent=str(drift),
        )
        return drift

    def _tell(self, day: datetime, why: str) -> None:
        self._telemetry.log("WARNING", "ledger cannot be compared", day=day.date().isoformat(), reason=why)
        self._telemetry.count("LedgerUncompared")


def _percent(ledger: Decimal, bill: Decimal) -> Decimal:
    if ledger == ZERO and bill <= STANDING_USD:
        return ZERO
    if bill == ZERO:
        return _ALL
    return ((ledger - bill) * _ALL / bill).quantize(Decimal("0.01"))
