"""Dollars as people read them: as many places in a column as its largest amount calls for, the same in every row."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

_DIGITS = 5
_FEWEST, _MOST = 2, 12


def places_for(amounts: Sequence[Decimal | None]) -> int:
    """Decimal places that show the largest of some amounts with five digits; cents at the least."""
    largest = max((abs(amount) for amount in amounts if amount is not None), default=Decimal(0))
    if not largest:
        return _FEWEST
    return min(_MOST, max(_FEWEST, _DIGITS - 1 - largest.adjusted()))


def amount_text(amount: Decimal | None, places: int) -> str:
    """An amount with so many places; ``?`` for one that nobody knows, and never 0 for one that is not."""
    if amount is None:
        return "?"
    if not amount:
        return "0"
    step = Decimal(1).scaleb(-places)
    rounded = amount.quantize(step, ROUND_HALF_EVEN)
    if not rounded:
        return f"{'<' if amount > 0 else '>-'}{step:f}"
    return f"{rounded:,f}"


def amount_texts(amounts: Sequence[Decimal | None]) -> list[str]:
    """The amounts of a column, all with the same number of places."""
    places = places_for(amounts)
    return [amount_text(amount, places) for amount in amounts]


def ticks_for(highest: Decimal) -> list[Decimal]:
    """Round numbers from 0 up to the first that is not below `highest`, three to five of them."""
    if highest <= 0:
        return [Decimal(0), Decimal(1)]
    rough = highest / 4
    power = Decimal(1).scaleb(rough.adjusted())
    step = next(power * times for times in (1, Decimal("1.5"), 2, Decimal("2.5"), 5, 10) if power * times >= rough)
    count = int((highest / step).to_integral_value(ROUND_CEILING))
    return [step * number for number in range(count + 1)]
