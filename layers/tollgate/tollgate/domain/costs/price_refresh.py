"""What a newly read price list means for the prices in force.

Small changes are applied; a jump, or a price that vanished, waits until a person accepts it: it may be a mistake in the
list or in reading it, or a bill that somebody should know of. A figure that is not positive is not a price.
"""

from collections.abc import Iterable, Mapping
from copy import replace
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tollgate.domain.costs.price_book import ListPrice
from tollgate.domain.errors import ConflictError
from tollgate.domain.money import ZERO

JUMP_PERCENT = Decimal(20)
"""Largest change, up or down, that is applied without asking."""
VANISHED_PERCENT = Decimal(100)
"""What a vanished price counts as, in the metric of jumps."""


@dataclass(frozen=True, slots=True)
class FoundPrice:
    """A figure from the price list: unchecked dollars, and its source."""

    usd: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class PendingPrice:
    """A change that waits to be accepted; `usd` is None for a price that is no longer in the list."""

    usd: Decimal | None
    date: str
    source: str


@dataclass(frozen=True, slots=True)
class PriceRecord:
    """What the registry knows of one price.

    Attributes:
        price: in force; None if a person accepted its removal.
        pending: waits to be accepted.
        revision: of the stored item, 0 before it is stored.
    """

    price: ListPrice | None
    pending: PendingPrice | None = None
    revision: int = 0


class PriceVerdict(StrEnum):
    """What becomes of a price that was looked up."""

    SAME = "same"
    NEW = "new"
    CHANGED = "changed"
    JUMPED = "jumped"
    VANISHED = "vanished"
    REFUSED = "refused"


PENDING_VERDICTS = frozenset({PriceVerdict.JUMPED, PriceVerdict.VANISHED})


@dataclass(frozen=True, slots=True)
class PriceFinding:
    """One price, before and after.

    Attributes:
        before: dollars in force until now, None if there were none.
        after: dollars in the list, None if it has none.
        jump_percent: size of the change relative to `before`, never negative.
        record: to be stored; None if nothing is.
    """

    name: str
    verdict: PriceVerdict
    before: Decimal | None
    after: Decimal | None
    jump_percent: Decimal
    record: PriceRecord | None


def review(
    known: Mapping[str, PriceRecord],
    snapshot: Mapping[str, ListPrice],
    found: Mapping[str, FoundPrice],
    *,
    date: str,
) -> tuple[PriceFinding, ...]:
    """Compare a price list with the prices in force, in the order of their names.

    Args:
        known: the registry's records of one region.
        snapshot: prices that came with this version; they count where they are newer than the registry's.
        found: the list of the same region. Prices that only the snapshot has were never in the list, so their absence
            says nothing.
        date: of the reading, like ``2026-11-22``.
    """
    findings = [_found(name, price, known.get(name), snapshot.get(name), date) for name, price in found.items()]
    findings += [
        _vanished(name, record, record.price, date)
        for name, record in known.items()
        if name not in found and record.price is not None
    ]
    return tuple(sorted(findings, key=lambda finding: finding.name))


def _found(
    name: str, found: FoundPrice, record: PriceRecord | None, snapshot: ListPrice | None, date: str
) -> PriceFinding:
    price = snapshot if record is None else record.price
    if price is not None and snapshot is not None and snapshot.date > price.date:
        price = snapshot
    before = None if price is None else price.usd
    if not found.usd.is_finite() or found.usd <= ZERO:
        return PriceFinding(name, PriceVerdict.REFUSED, before, found.usd, ZERO, None)
    revision = 0 if record is None else record.revision
    taken = PriceRecord(ListPrice(found.usd, date, found.source), revision=revision)
    if before is None:
        return PriceFinding(name, PriceVerdict.NEW, None, found.usd, ZERO, taken)
    jump = abs(found.usd - before) / before * 100
    if jump > JUMP_PERCENT:
        waiting = PriceRecord(price, PendingPrice(found.usd, date, found.source), revision)
        return PriceFinding(name, PriceVerdict.JUMPED, before, found.usd, jump, waiting)
    verdict = PriceVerdict.SAME if jump == ZERO else PriceVerdict.CHANGED
    return PriceFinding(name, verdict, before, found.usd, jump, taken)


def _vanished(name: str, record: PriceRecord, price: ListPrice, date: str) -> PriceFinding:
    waiting = replace(record, pending=PendingPrice(None, date, "no longer in the price list"))
    return PriceFinding(name, PriceVerdict.VANISHED, price.usd, None, VANISHED_PERCENT, waiting)


def largest_jump(findings: Iterable[PriceFinding]) -> Decimal:
    """Percent of the largest change, 0 when nothing changed."""
    return max((finding.jump_percent for finding in findings), default=ZERO)


def accept(name: str, record: PriceRecord) -> PriceRecord:
    """Put the pending price in force.

    Raises:
        ConflictError: nothing is pending.
    """
    pending = record.pending
    if pending is None:
        raise ConflictError(f"Nothing is pending for '{name}'.")
    price = None if pending.usd is None else ListPrice(pending.usd, pending.date, pending.source)
    return replace(record, price=price, pending=None)
