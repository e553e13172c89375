"""What tokens cost at a token-priced backend.

The buckets are disjoint: a token that came from the provider's prompt cache is not also an input token, and a token of
reasoning is not also an output token, so every token is charged once. Rates are dollars for a million tokens.
"""

from dataclasses import dataclass, fields
from decimal import Decimal

from tollgate.domain.money import ZERO, usd

_PER = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class BucketRates:
    """Dollars per million tokens of each bucket.

    Attributes:
        input: tokens read afresh.
        output: tokens of the answer.
        cached_input: tokens found in the prompt cache; None when no rate is known.
        reasoning: tokens of hidden reasoning; None when no rate is known.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    reasoning: Decimal | None = None

    def __post_init__(self) -> None:
        """Reject values that cannot be prices.

        Raises:
            ValueError: a rate is negative or not finite; zero is allowed for embeddings, which have no output.
        """
        for entry in fields(self):
            rate = getattr(self, entry.name)
            if rate is not None and (not rate.is_finite() or rate < ZERO):
                raise ValueError(f"The rate of {entry.name} must be a finite amount of at least 0.")


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one request in disjoint buckets. None is unknown, 0 is none.

    While `cached_input` is unknown, `input` may contain tokens from the cache; likewise `output` and `reasoning`.
    """

    input: int | None
    output: int | None
    cached_input: int | None = None
    reasoning: int | None = None

    def __post_init__(self) -> None:
        """Reject impossible counts.

        Raises:
            ValueError: a count is negative.
        """
        if any(
            count is not None and count < 0 for count in (self.input, self.output, self.cached_input, self.reasoning)
        ):
            raise ValueError("A count of tokens cannot be negative.")


def split_usage(prompt: int | None, completion: int | None, *, cached: int | None, reasoning: int | None) -> TokenUsage:
    """Split the overlapping figures that providers report into disjoint buckets.

    Args:
        prompt: all tokens of the prompt, cached ones included.
        completion: all tokens generated, reasoning included.
        cached: of the prompt.
        reasoning: of the completion.

    Raises:
        ValueError: a part is larger than its whole, or a count is negative.
    """
    return TokenUsage(
        input=_rest(prompt, cached),
        output=_rest(completion, reasoning),
        cached_input=cached,
        reasoning=reasoning,
    )


def _rest(whole: int | None, part: int | None) -> int | None:
    if whole is None or part is None:
        return whole
    if part > whole:
        raise ValueError("A part of the tokens cannot be larger than the whole.")
    return whole - part


def token_cost(usage: TokenUsage, rates: BucketRates) -> Decimal | None:
    """Dollars of a request, None when a decisive figure is unknown.

    An unknown cached or reasoning count does not matter when that bucket costs what its whole costs, or when the
    model has no rate for it, because its tokens are then counted in the whole. Tokens in a bucket without a rate are
    of unknown cost: their charge is not guessed.
    """
    parts = (
        _bucket(usage.input, rates.input),
        _bucket(usage.output, rates.output),
        _inner_bucket(usage.cached_input, rates.cached_input, rates.input),
        _inner_bucket(usage.reasoning, rates.reasoning, rates.output),
    )
    total = ZERO
    for part in parts:
        if part is None:
            return None
        total += part
    return usd(total / _PER)


def _bucket(tokens: int | None, rate: Decimal) -> Decimal | None:
    return None if tokens is None else tokens * rate


def _inner_bucket(tokens: int | None, rate: Decimal | None, rate_of_whole: Decimal) -> Decimal | None:
    if tokens is None:
        return ZERO if rate is None or rate == rate_of_whole else None
    if tokens == 0:
        return ZERO
    return None if rate is None else tokens * rate
