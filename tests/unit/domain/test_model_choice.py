"""Choosing among several models by predicted quality and price."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.sizes import HARD
from tollgate.domain.catalogue import Tier
from tollgate.domain.choice.complexity_features import measure
from tollgate.domain.choice.complexity_model import shipped_model
from tollgate.domain.choice.model_choice import (
    ENOUGH_RECORDS,
    MOST_LEANING,
    Candidate,
    ModelProfile,
    QualityRecord,
    choose_model,
    known_models,
    predict,
)

STRANGE = "{}[]();" * 40
PROMPT = "A baker sells 12 rolls an hour and twice as many on Sunday. How many in a week of 8-hour days?"
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from("abcdef"),
        quality=st.floats(0.0, 1.0),
        estimated_cost=st.decimals(Decimal(0), Decimal(1), places=4),
        record=st.none() | st.builds(QualityRecord, mean=st.floats(0.0, 1.0), count=st.integers(0, 100)),
    ),
    min_size=1,
    max_size=6,
)


def candidate(name: str, quality: float, cost: str, record: QualityRecord | None = None) -> Candidate:
    return Candidate(name, quality, Decimal(cost), record)


@given(CANDIDATES, st.floats(0.0, 1.0))
def test_a_dearer_model_must_promise_more(candidates: list[Candidate], dial: float) -> None:
    """The choice is never dearer than another standing candidate that is predicted to be at least as good."""
    choice = choose_model(candidates, dial)
    for other in candidates:
        if other.estimated_cost < choice.candidate.estimated_cost and other.name not in choice.ruled_out:
            assert other.quality < choice.candidate.quality


@given(CANDIDATES, st.floats(0.0, 1.0))
def test_a_dearer_model_must_have_the_better_record(candidates: list[Candidate], dial: float) -> None:
    """A model is never chosen over a cheaper one whose record, long enough, is at least as good."""
    chosen = choose_model(candidates, dial).candidate
    for other in candidates:
        if chosen.record and other.record and min(chosen.record.count, other.record.count) >= ENOUGH_RECORDS:
            assert other.estimated_cost >= chosen.estimated_cost or other.record.mean < chosen.record.mean


@given(CANDIDATES, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_dial_only_ever_adds_quality_and_cost(candidates: list[Candidate], one: float, other: float) -> None:
    """Turning the dial up never lowers the predicted quality or the cost."""
    low, high = (choose_model(candidates, dial).candidate for dial in sorted((one, other)))
    assert high.estimated_cost >= low.estimated_cost
    assert high.quality >= low.quality or high.estimated_cost == low.estimated_cost


def test_the_dial_s_ends() -> None:
    """0 takes the cheapest, 1 the best predicted, and the reason says so."""
    models = [
        candidate("large", 0.9, "0.9"),
        candidate("small", 0.5, "0.1"),
        candidate("medium", 0.86, "0.3"),
    ]
    assert choose_model(models, 0.0).candidate.name == "small"
    assert choose_model(models, 0.95).candidate.name == "medium"
    assert choose_model(models, 0.95).reason == "cheapest-enough"
    assert choose_model(models, 1.0).candidate.name == "large"
    assert choose_model(models, 1.0).reason == "best-quality"
    assert choose_model(models[:1], 0.0).reason == "only-candidate"


def test_records_overrule_a_prediction() -> None:
    """A dear model with a worse record is ruled out by name, however well it is predicted to do."""
    record = QualityRecord(0.7, ENOUGH_RECORDS)
    models = [candidate("cheap", 0.4, "0.1", record), candidate("dear", 0.9, "0.9", record)]
    choice = choose_model(models, 1.0)
    assert choice.candidate.name == "cheap"
    assert choice.ruled_out == ("dear",)


def test_a_short_record_decides_nothing() -> None:
    """One outcome too few, of either, and the prediction stands; as it does where the dearer one's record is better."""
    enough, short = QualityRecord(0.7, ENOUGH_RECORDS), QualityRecord(0.7, ENOUGH_RECORDS - 1)
    better = QualityRecord(0.71, ENOUGH_RECORDS)
    for cheap, dear in ((short, short), (short, enough), (enough, short), (enough, better), (enough, None)):
        models = [candidate("cheap", 0.4, "0.1", cheap), candidate("dear", 0.9, "0.9", dear)]
        choice = choose_model(models, 1.0)
        assert (choice.candidate.name, choice.ruled_out) == ("dear", ())


@pytest.mark.parametrize("price", ["0.1", "0"])
@pytest.mark.parametrize("familiarity", [None, 1.0])
def test_equal_prices_are_decided_by_quality(price: str, familiarity: float | None) -> None:
    """Nothing is saved by the lesser one, and no record rules out another at its own price, free or not."""
    record = QualityRecord(0.7, ENOUGH_RECORDS)
    models = [candidate("lesser", 0.5, price, record), candidate("best", 0.6, price, record)]
    models = [each._replace(mean=each.quality) for each in models]
    choice = choose_model(models, 0.5, familiarity)
    assert (choice.candidate.name, choice.reason, choice.ruled_out) == ("best", "best-quality", ())


def test_where_a_mean_is_unknown_the_predictions_alone_decide() -> None:
    """A rate of exchange needs what is known beforehand of every one of them."""
    models = [candidate("cheap", 0.58, "0.1")._replace(mean=0.3), candidate("dear", 0.6, "0.9")]
    assert choose_model(models, 0.95, 0.0) == choose_model(models, 0.95)


def test_where_all_is_to_be_kept_a_hair_does_not_beat_the_best_on_average() -> None:
    """Another model is chosen for a clear lead on the prompt, and not for one that predictions cannot tell."""
    cheap = Candidate("cheap", 0.0, Decimal("0.1"), mean=0.5)
    best = Candidate("best", 0.6, Decimal("0.9"), mean=0.6)
    for lead, name, reason in ((0.01, "best", "best-on-average"), (0.1, "cheap", "best-quality")):
        choice = choose_model([cheap._replace(quality=0.6 + lead), best], 1.0, 0.9)
        assert (choice.candidate.name, choice.reason) == (name, reason)


MEASURED = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from("abcdef"),
        quality=st.floats(0.0, 1.0),
        estimated_cost=st.decimals(Decimal("0.0001"), Decimal(1), places=4),
        mean=st.floats(0.01, 1.0),
        general=st.sampled_from([0.0, 0.0375]),
        record=st.none(),
    ),
    min_size=1,
    max_size=5,
)
SHARES = st.floats(0.0, 1.0)


@settings(deadline=None)
@given(MEASURED, SHARES, SHARES)
def test_nothing_is_paid_for_a_model_that_is_better_in_no_way(
    candidates: list[Candidate], dial: float, familiarity: float
) -> None:
    """Wherever the dial stands, a dearer model than another has the better prediction or the better mean."""
    chosen = choose_model(candidates, dial, familiarity).candidate
    for other in candidates:
        if other.estimated_cost < chosen.estimated_cost:
            assert chosen.quality > other.quality or (chosen.mean or 0) > (other.mean or 0)


@settings(deadline=None)
@given(MEASURED, SHARES, SHARES, SHARES)
def test_on_the_means_alone_the_dial_only_ever_adds_quality_and_cost(
    candidates: list[Candidate], one: float, other: float, familiarity: float
) -> None:
    """Where nothing speaks for a model but its mean, turning the dial up lowers neither that nor the price."""
    plain = [each._replace(quality=each.mean or 0.0) for each in candidates]
    low, high = (choose_model(plain, dial, familiarity).candidate for dial in sorted((one, other)))
    assert high.quality >= low.quality
    assert high.estimated_cost >= low.estimated_cost
    assert choose_model(plain, 1.0, familiarity).candidate.quality == max(each.quality for each in plain)


def test_a_strange_prompt_goes_by_the_means_and_strictly() -> None:
    """The same dial that lets the cheap model answer a familiar prompt sends a strange one up."""
    models = [
        Candidate("cheap", 0.56, Decimal("0.2"), mean=0.56),
        Candidate("best", 0.62, Decimal("0.9"), mean=0.62),
    ]
    assert choose_model(models, 0.9, 1.0).candidate.name == "cheap"
    assert choose_model(models, 0.9, 0.0).candidate.name == "best"


@pytest.mark.parametrize("dial", [-0.1, 1.1, float("nan")])
def test_a_dial_out_of_range_is_refused(dial: float) -> None:
    """The dial is a share."""
    with pytest.raises(ValueError, match="quality"):
        choose_model([candidate("only", 0.5, "0.1")], dial)


def test_nothing_to_choose_from_is_refused() -> None:
    """An empty list has no cheapest model."""
    with pytest.raises(ValueError, match="no model"):
        choose_model([], 0.5)


@given(st.text(), st.floats(0.0, 1.0))
def test_predicted_quality_is_a_share(text: str, mean: float) -> None:
    """Any prompt and any mean give a quality between 0 and 1, for every known model."""
    profiles = [ModelProfile(name, mean, name) for name in known_models()]
    assert all(0.0 <= quality <= 1.0 for quality in predict(measure(text), profiles).qualities)


def _quality(profile: ModelProfile) -> float:
    return predict(measure(PROMPT), [profile]).qualities[0]


def test_a_model_s_own_mean_moves_the_prediction() -> None:
    """The prompt's part comes from the model that it resembles, the level from its own record."""
    known = known_models()[2]
    own = _quality(ModelProfile("mine", None, known))
    better = _quality(ModelProfile("mine", 0.6, known))
    worse = _quality(ModelProfile("mine", 0.5, known))
    assert better - worse == pytest.approx(0.1)
    assert own == pytest.approx(_quality(ModelProfile(known, None, known)))


def test_a_model_like_no_other_keeps_its_mean() -> None:
    """Nothing learned is applied to a model that it was not learned from."""
    for resembles in (None, "no-model-of-ours"):
        found = predict(measure(PROMPT), [ModelProfile("mine", 0.42, resembles)])
        assert (found.qualities, found.means, found.general) == ((0.42,), (0.42,), (0.0,))


def _by_tier(text: str, *models: tuple[Tier, float]) -> tuple[float, ...]:
    """Predicted quality of models of these sizes and means that resemble the same one."""
    same = known_models()[0]
    return predict(measure(text), [ModelProfile(tier.value, mean, same, tier) for tier, mean in models]).qualities


def test_a_larger_model_gains_on_demanding_prompts_only() -> None:
    """An easy prompt is where its price is not spent, but it is not put below a smaller one with the lower mean."""
    easy, small, large = "hi", (Tier.SMALL, 0.5), (Tier.LARGE, 0.51)
    below, above = _by_tier(easy, small, large)
    assert below < above < below + 0.01
    below, above = _by_tier(HARD, small, large)
    assert above > below + 0.01


def test_a_larger_model_is_not_put_above_what_its_mean_says() -> None:
    """On an easy prompt it is held above smaller models with a lower mean, not above equals or better ones."""
    easy, large = "hi", (Tier.LARGE, 0.51)
    alone = _by_tier(easy, large)[0]
    for other in ((Tier.SMALL, 0.6), (Tier.LARGE, 0.505)):
        assert _by_tier(easy, other, large)[1] == alone


def test_an_unknown_model_without_a_mean_is_refused() -> None:
    """Unknown quality is an error, never a guess."""
    with pytest.raises(ValueError, match="nothing is known"):
        _quality(ModelProfile("mine"))


def test_a_strange_prompt_moves_a_model_by_little() -> None:
    """Where nothing is familiar a small model stays within the most that a leaning may move it, and goes there."""
    measured, model = measure(STRANGE), shipped_model()
    found = predict(measured, [ModelProfile(name, 0.5, name) for name in known_models()])
    assert found.familiarity < 0.01
    standard = model.standardise(measured)
    leanings = [model.leaning(standard, place) for place in range(len(model.known_models))]
    assert max(map(abs, leanings)) > MOST_LEANING
    for quality, leaning in zip(found.qualities, leanings, strict=True):
        assert quality - 0.5 == pytest.approx(max(-MOST_LEANING, min(MOST_LEANING, leaning)), abs=2e-3)
