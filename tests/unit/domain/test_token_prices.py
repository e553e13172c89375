"""Every token is charged once, and unknown is not zero."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.domain.providers.prices import BucketRates, TokenUsage, split_usage, token_cost

COUNTS = st.integers(min_value=0, max_value=10_000_000)
RATE = st.decimals(min_value=0, max_value=1000, places=4)
BUCKETS = st.builds(BucketRates, input=RATE, output=RATE, cached_input=RATE, reasoning=RATE)
D = Decimal
RATES = BucketRates(D(2), D(8), cached_input=D("0.5"), reasoning=D(10))


@given(COUNTS, COUNTS, COUNTS, COUNTS, BUCKETS)
def test_the_cost_is_the_sum_of_the_buckets(a: int, b: int, c: int, d: int, rates: BucketRates) -> None:
    """One bucket at a time gives the same as all at once, to the last digit."""
    alone = [TokenUsage(a, 0, 0, 0), TokenUsage(0, b, 0, 0), TokenUsage(0, 0, c, 0), TokenUsage(0, 0, 0, d)]
    costs = [token_cost(usage, rates) for usage in alone]
    assert token_cost(TokenUsage(a, b, c, d), rates) == sum(cost for cost in costs if cost is not None)


@given(COUNTS, COUNTS, st.data())
def test_splitting_loses_and_doubles_no_token(prompt: int, completion: int, data: st.DataObject) -> None:
    """The buckets add up to the totals; with one rate for all the split does not matter."""
    cached = data.draw(st.integers(0, prompt))
    reasoning = data.draw(st.integers(0, completion))
    usage = split_usage(prompt, completion, cached=cached, reasoning=reasoning)
    assert (usage.input or 0) + cached == prompt
    assert (usage.output or 0) + reasoning == completion
    flat = BucketRates(D(3), D(3), D(3), D(3))
    assert token_cost(usage, flat) == D(3) * (prompt + completion) / 1_000_000


@given(COUNTS, COUNTS, COUNTS, st.sampled_from(["input", "output", "cached_input", "reasoning"]))
def test_a_missing_figure_is_unknown(a: int, b: int, c: int, missing: str) -> None:
    """Where the bucket has a price of its own."""
    counts: dict[str, int | None] = {"input": a, "output": b, "cached_input": c, "reasoning": c, missing: None}
    usage = TokenUsage(counts["input"], counts["output"], counts["cached_input"], counts["reasoning"])
    assert token_cost(usage, RATES) is None


def test_an_explicit_zero_is_zero() -> None:
    """All four counts 0 cost exactly nothing."""
    assert token_cost(TokenUsage(0, 0, 0, 0), RATES) == 0


def test_a_missing_part_at_the_price_of_its_whole_decides_nothing() -> None:
    """The tokens are in the whole, and it does not matter which they are."""
    rates = BucketRates(D(2), D(8), reasoning=D(8))
    assert token_cost(split_usage(1_000_000, 500_000, cached=0, reasoning=None), rates) == 6
    assert token_cost(split_usage(1_000_000, 0, cached=None, reasoning=None), rates) == 2


def test_tokens_without_a_rate_are_unknown() -> None:
    """Cached tokens where only fresh ones have a rate: refused rather than guessed."""
    rates = BucketRates(D(1), D(4))
    assert token_cost(TokenUsage(1, 1, 0, 0), rates) == D("0.000005")
    assert token_cost(TokenUsage(1, 1, 1, 0), rates) is None


def test_impossible_figures_are_refused() -> None:
    """Negative counts, parts larger than the whole, negative rates."""
    with pytest.raises(ValueError, match="negative"):
        TokenUsage(-1, 0)
    with pytest.raises(ValueError, match="larger than the whole"):
        split_usage(1, 1, cached=2, reasoning=0)
    with pytest.raises(ValueError, match="output"):
        BucketRates(D(1), D(-1))
    with pytest.raises(ValueError, match="input"):
        BucketRates(D("NaN"), D(1))


@pytest.mark.parametrize("model", snapshot_book().tokens)
def test_the_books_token_prices_are_sane(model: str) -> None:
    """Input always costs something, a cached token less than a fresh one."""
    price = snapshot_book().tokens[model]
    assert price.date >= "2026"
    assert price.source
    assert price.rates.input > 0
    assert price.rates.cached_input is None or 0 < price.rates.cached_input < price.rates.input


def test_a_known_request_costs_what_the_price_page_says() -> None:
    """gpt-4o: 1,000 fresh and 1,000 cached tokens in, 1,000 out: 0.0025 + 0.00125 + 0.01 dollars."""
    rates = snapshot_book().tokens["gpt-4o"].rates
    assert token_cost(split_usage(2000, 1000, cached=1000, reasoning=0), rates) == D("0.01375")
