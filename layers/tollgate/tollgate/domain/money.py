"""Dollars are `Decimal`, from the price list to the answer's header."""

from decimal import ROUND_HALF_EVEN, Context, Decimal

ZERO = Decimal(0)
SECONDS_PER_HOUR = Decimal(3600)

MONEY_QUANTUM = Decimal("1E-12")
_CONTEXT = Context(prec=28, rounding=ROUND_HALF_EVEN)


def usd(amount: Decimal) -> Decimal:
    """Round to a millionth of a millionth of a dollar, half to even.

    One request of a small model costs about 1E-5 dollars and its gateway parts about 1E-8, so twelve places
    keep four significant digits of the smallest part; sums of rounded amounts stay exact in DynamoDB's 38 digits.
    """
    return amount.quantize(MONEY_QUANTUM, context=_CONTEXT)


def usd_text(amount: Decimal) -> str:
    """Plain decimal notation without exponent or trailing zeros, as the API prints money: ``0.00001234``."""
    # Formatting rounds half to even, as `usd` does.
    text = f"{amount:.12f}".rstrip("0").rstrip(".") if amount else "0"
    return "0" if text == "-0" else text


def money_text(amount: Decimal | None) -> str | None:
    """Dollars as the API prints them, None where they are not known."""
    return None if amount is None else usd_text(amount)


def plus(total: Decimal | None, amount: Decimal | None) -> Decimal | None:
    """The sum, unknown if either is."""
    return None if total is None or amount is None else total + amount


def seconds(value: float) -> Decimal:
    """A measured duration as an exact decimal, rounded to a microsecond."""
    return Decimal(round(value * 1_000_000)).scaleb(-6)
