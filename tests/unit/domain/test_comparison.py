"""What can be said of two variants, and when nothing can."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.choice.comparison import (
    Verdict,
    mean_difference,
    mean_interval,
    observed_of,
    share_difference,
    share_interval,
)
from tollgate.domain.choice.outcomes import NOTHING, Tally, of_quality, of_run


def test_a_mean_has_students_interval() -> None:
    """Worked example: 1, 2, 3, 4, 5 has the mean 3 and the interval 3 +- 2.776 x 0.7071."""
    found = mean_interval(15, 55, 5)
    assert found.mean == 3
    assert found.high - 3 == pytest.approx(2.776 * 0.70711, rel=0.01)


def test_a_share_has_wilsons_interval() -> None:
    """Worked example of Newcombe (1998): 81 of 263 is 0.308 with 0.2553 to 0.3662."""
    found = share_interval(81, 263)
    assert [found.low, found.high] == pytest.approx([0.2553, 0.3662], abs=1e-4)


def test_a_difference_has_newcombes_interval() -> None:
    """Worked example of Newcombe (1998), method 10: 56/70 minus 48/80 is 0.2 with 0.0524 to 0.3339."""
    found = share_difference(share_interval(48, 80), share_interval(56, 70), more_is_better=True)
    assert found.verdict is Verdict.BETTER
    assert [found.low, found.high] == pytest.approx([0.0524, 0.3339], abs=1e-4)


def test_few_observations_say_nothing() -> None:
    """And how many would."""
    few = share_difference(share_interval(7, 10), share_interval(9, 10), more_is_better=True)
    assert few.verdict is Verdict.UNKNOWN
    assert 500 < few.needed < 800
    none = share_difference(share_interval(0, 0), share_interval(9, 10), more_is_better=True)
    assert (none.verdict, none.mean) == (Verdict.UNKNOWN, None)


def test_many_equal_observations_say_that_it_does_not_matter() -> None:
    """Within five points."""
    same = share_difference(share_interval(4_000, 5_000), share_interval(4_010, 5_000), more_is_better=True)
    assert same.verdict is Verdict.SAME


def test_fewer_errors_are_better() -> None:
    """More of them are worse."""
    few, many = share_interval(5, 1_000), share_interval(60, 1_000)
    assert share_difference(many, few, more_is_better=False).verdict is Verdict.BETTER
    assert share_difference(few, many, more_is_better=False).verdict is Verdict.WORSE


def _seconds(mean: float, count: int, seed: int) -> Tally:
    random, tally = Random(seed), NOTHING  # noqa: S311 -- test data
    for _ in range(count):
        tally = tally.plus(of_run(failed=False, seconds=random.gauss(mean, 0.3), usd=0.01, output_tokens=None))
    return tally


def test_a_cheaper_and_quicker_variant_is_called_so() -> None:
    """As a share of the champion's."""
    one, other = observed_of(_seconds(2.0, 200, 1)), observed_of(_seconds(1.0, 200, 2))
    found = mean_difference(one.seconds, other.seconds)
    assert found.verdict is Verdict.BETTER
    assert found.mean == pytest.approx(-0.5, abs=0.05)
    assert mean_difference(one.usd, other.usd).verdict is Verdict.SAME


def test_one_observation_is_not_enough() -> None:
    """Its deviation is unknown."""
    one = observed_of(_seconds(2.0, 1, 1))
    assert mean_difference(one.seconds, one.seconds).verdict is Verdict.UNKNOWN
    empty = observed_of(NOTHING)
    known = observed_of(_seconds(2.0, 50, 1))
    unseen = mean_difference(known.seconds, empty.seconds)
    assert (unseen.verdict, unseen.mean) == (Verdict.UNKNOWN, None)
    assert 10 < unseen.needed < 30, "as if the other varied alike: 0.3 in 2, so 17 of each"
    assert mean_difference(known.seconds, one.seconds).needed == unseen.needed
    assert mean_difference(empty.usd, empty.usd).verdict is Verdict.UNKNOWN


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_intervals_hold_their_mean(scores: list[float]) -> None:
    """Whatever the scores."""
    tally = NOTHING
    for score in scores:
        tally = tally.plus(of_quality(score))
    found = observed_of(tally).quality
    assert found.mean is not None
    assert 0 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= 1


def test_equal_variants_are_seldom_told_apart() -> None:
    """About one comparison in twenty, which is what 95 % means."""
    random = Random(7)  # noqa: S311 -- test data
    wrong = 0
    for _ in range(400):
        arms = [share_interval(sum(random.random() < 0.7 for _ in range(150)), 150) for _ in range(2)]
        wrong += share_difference(*arms, more_is_better=True).verdict in {Verdict.BETTER, Verdict.WORSE}
    assert wrong / 400 < 0.08
