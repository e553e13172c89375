"""The token estimate: cheap, monotone where it should be, and within its stated bound on text whose count is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.token_rates import BOUNDS, RATES, Script, TokenizerFamily
from tollgate.domain.tokens import byte_classes, estimate_tokens, estimate_with_bound

# The texts are this file's; their tokens were counted once with each family's own tokenizer.
ENGLISH = (
    "The gateway keeps a record of every request, with the model that answered it and what the answer cost. "
    "When a budget is nearly spent, an alarm goes to the team, and traffic that can wait is moved to the night. "
) * 8
GERMAN = (
    "Das Gateway führt über jede Anfrage Buch, mit dem Modell, das geantwortet hat, und den Kosten der Antwort. "
    "Wenn ein Budget fast verbraucht ist, wird das Team gewarnt, und was warten kann, läuft in der Nacht. "
) * 8
RUSSIAN = (
    "Шлюз записывает каждый запрос, модель, которая на него ответила, и стоимость ответа. "
    "Когда бюджет почти исчерпан, команда получает предупреждение. "
) * 8
JAPANESE = "ゲートウェイはすべてのリクエストと、回答したモデルと、その費用を記録します。" * 10
CODE = "def total(rows: list[int]) -> int:\n    result = 0\n    for row in rows:\n        result += row\n\n" * 12
TEXTS = {"english": ENGLISH, "german": GERMAN, "russian": RUSSIAN, "japanese": JAPANESE, "code": CODE}
COUNTED = {
    TokenizerFamily.O200K: {"english": 369, "german": 401, "russian": 257, "japanese": 270, "code": 324},
    TokenizerFamily.CL100K: {"english": 369, "german": 441, "russian": 489, "japanese": 380, "code": 324},
    TokenizerFamily.LLAMA2: {"english": 369, "german": 513, "russian": 449, "japanese": 441, "code": 384},
    TokenizerFamily.SMOLLM2: {"english": 369, "german": 586, "russian": 865, "japanese": 650, "code": 347},
    TokenizerFamily.WORDPIECE: {"english": 368, "german": 552, "russian": 1008, "japanese": 380, "code": 312},
}


@given(st.text())
def test_any_text_has_an_estimate(text: str) -> None:
    """No text breaks the estimate, and only the empty one has no tokens."""
    estimate = estimate_with_bound(text)
    assert estimate.tokens == estimate_tokens(text)
    assert (estimate.tokens == 0) == (text == "")
    assert estimate.upper >= estimate.tokens


def test_unpaired_surrogates_are_counted() -> None:
    """A body cut in the middle of an escaped pair is still text to JSON."""
    assert estimate_tokens("\ud83d") >= 1


@given(st.text(), st.text(min_size=1))
def test_classes_add_up(left: str, right: str) -> None:
    """Counts are additive but for what looks at context: pairs of spaces, foreignness, words in capitals."""
    context = {Script.FOREIGN, Script.SPACE, Script.INDENT, Script.UPPER, Script.LOWER}
    whole, first, second = byte_classes(left + right), byte_classes(left), byte_classes(right)
    for script in set(Script) - context:
        assert whole.get(script, 0) == first.get(script, 0) + second.get(script, 0)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_every_character_is_in_one_class(text: str) -> None:
    """No character is lost or counted twice, whatever its script."""
    classes = byte_classes(text)
    counted = sum(count for script, count in classes.items() if script is not Script.FOREIGN)
    # INDENT stands for two spaces.
    assert counted + classes[Script.INDENT] == len(text)


@pytest.mark.parametrize("family", list(COUNTED))
@pytest.mark.parametrize("name", list(TEXTS))
def test_near_the_real_count(family: TokenizerFamily, name: str) -> None:
    """The estimate is within one and a half times the bound: a repeated paragraph varies more than a long text."""
    estimate = estimate_with_bound(TEXTS[name], family)
    assert abs(estimate.tokens - COUNTED[family][name]) <= 1.5 * estimate.bound * COUNTED[family][name]


def test_bounds_are_worth_having() -> None:
    """For English in the default family the bound is a quarter or better."""
    assert estimate_with_bound(ENGLISH).bound <= 0.25


def test_capitals_cost_little_more_than_small_letters() -> None:
    """A prompt that shouts, or speaks SQL, is not taken for encoded data."""
    assert estimate_tokens(ENGLISH.upper()) < 2 * estimate_tokens(ENGLISH)


def test_short_words_are_tokens_each() -> None:
    """However short its words, a text has at least one token for each."""
    assert estimate_tokens("a b c d e f g h i j") >= 9


@pytest.mark.parametrize(
    ("text", "script"),
    [
        (ENGLISH, Script.LOWER),
        (GERMAN, Script.FOREIGN),
        (RUSSIAN, Script.CYRILLIC),
        (JAPANESE, Script.KANA),
        (CODE, Script.PUNCTUATION),
        ("3fA9 8812 77C0 " * 50, Script.UPPER),
    ],
)
def test_main_script(text: str, script: Script) -> None:
    """The bound that is given is that of the text's own kind."""
    assert estimate_with_bound(text).script is script


def test_upper_figure_holds_the_bound() -> None:
    """A text as far above its estimate as the bound allows still fits the upper figure."""
    estimate = estimate_with_bound(ENGLISH)
    assert estimate.upper == math.ceil(estimate.tokens / (1 - estimate.bound))


def test_nothing_promised_is_a_wide_margin() -> None:
    """Where no bound is known the upper figure is four times the estimate."""
    estimate = estimate_with_bound("\U0001f600\U0001f680" * 20)
    assert (estimate.bound, estimate.upper) == (1.0, 4 * estimate.tokens)


def test_tables_are_complete() -> None:
    """Every family has a rate for every class."""
    assert all(set(RATES[family]) == set(Script) for family in TokenizerFamily)
    assert set(BOUNDS) == set(TokenizerFamily)


@given(st.lists(st.sampled_from(["de", "la", "und", "the", "toll", "under", "de,", "\n", ""])))
def test_foreign_words_are_counted_between_blanks(words: list[str]) -> None:
    """Two in a row share the blank between them, and a word at either end of the text has none on one side."""
    text = " ".join(words)
    share = min(1.0, sum(map(text.count, (" de ", " la ", " und "))) / (text.count(" ") + 1) / 0.04)
    classes = byte_classes(text)
    assert classes[Script.FOREIGN] == classes[Script.LOWER] * share
