"""The rate between quality and money."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.choice.exchange import (
    KEEN,
    LARGEST_RATE,
    LEAD,
    STRICTER,
    best_lead,
    best_value,
    cautious_share,
    exchange_rate,
)

MEANS = (0.535, 0.561, 0.621)
PRICES = (0.11, 0.22, 1.0)
GENERAL = (0.0, 0.0, 0.075)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.0, 0.02, 0.05]))
def test_the_more_is_to_be_kept_the_less_is_given_up(one: float, other: float, own: float) -> None:
    """The rate never rises with the share."""
    low, high = sorted((one, other))
    assert exchange_rate(MEANS, PRICES, GENERAL, own, high) <= exchange_rate(MEANS, PRICES, GENERAL, own, low)


def test_the_ends_of_the_dial() -> None:
    """Nothing is given up at 1; at 0 the price alone decides."""
    assert exchange_rate(MEANS, PRICES, GENERAL, 0.05, 1.0) == 0.0
    assert exchange_rate(MEANS, PRICES, GENERAL, 0.05, 0.0) == LARGEST_RATE
    assert best_value(MEANS, PRICES, LARGEST_RATE) == 0
    assert best_value(MEANS, PRICES, 0.0) == 2


def test_on_unfamiliar_prompts_the_dial_holds_on_the_means() -> None:
    """Where no prediction strays from its mean, the model that is chosen has at least the share that was asked."""
    for share in (0.8, 0.87, 0.9, 0.95, 0.99, 1.0):
        rate = exchange_rate(MEANS, PRICES, (0.0, 0.0, 0.0), 0.0, share)
        assert MEANS[best_value(MEANS, PRICES, rate)] >= share * MEANS[2] - 1e-9


@given(st.floats(0, 1))
def test_what_money_buys_more_of_comes_first(share: float) -> None:
    """Between models of one price the better one is chosen, whatever the dial."""
    rate = exchange_rate((0.5, 0.6), (1.0, 1.0), (0.0, 0.0), 0.0, share)
    assert best_value((0.5, 0.6), (1.0, 1.0), rate) == 1


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_strange_prompt_is_given_up_less_of(share: float, known: float, other: float) -> None:
    """The share to work with is what was asked for where all is familiar, and rises as it gets strange."""
    strange, familiar = sorted((known, other))
    assert cautious_share(share, 1.0) == pytest.approx(share)
    assert cautious_share(share, 0.0) == pytest.approx(share**STRICTER)
    assert (cautious_share(0.0, known), cautious_share(1.0, known)) == (0.0, 1.0)
    assert share - 1e-9 <= cautious_share(share, familiar) <= cautious_share(share, strange) + 1e-9 <= 1.0 + 2e-9


def test_the_best_on_average_is_left_for_a_clear_lead_only() -> None:
    """Up to `KEEN` price and prediction decide alone; where all is to be kept, the lead is full."""
    assert best_lead(0.0) == best_lead(KEEN) == 0.0
    assert best_lead(1.0) == pytest.approx(LEAD)


@pytest.mark.parametrize("share", [0.87, 0.9, 0.94])
def test_the_rate_is_the_highest_that_keeps_the_share(share: float) -> None:
    """Where nothing strays from its mean, a little more would choose a model below it."""
    rate = exchange_rate(MEANS, PRICES, (0.0, 0.0, 0.0), 0.0, share)
    kept = [MEANS[best_value(MEANS, PRICES, each)] >= share * MEANS[2] for each in (rate, rate * 1.001)]
    assert kept == [True, False]


def test_beyond_the_keen_share_the_rate_fades() -> None:
    """Half way to keeping everything, at most half of it is left."""
    whole = exchange_rate(MEANS, PRICES, GENERAL, 0.05, KEEN)
    assert 0 < exchange_rate(MEANS, PRICES, GENERAL, 0.05, (1 + KEEN) / 2) <= whole / 2 * (1 + 1e-9)
