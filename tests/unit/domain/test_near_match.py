"""Near matching: what the verifier refuses, what it accepts, and that it is fair to both sides."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.near.match import LOOSEST_THRESHOLD, Disagreement
from tollgate.domain.near.match import verify_match as verify_at
from tollgate.domain.near.question import QuestionKind
from tollgate.domain.near.reading import read
from tollgate.domain.near.stem import stem

verify_match = partial(verify_at, threshold=0.97)

texts = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [
            "how",
            "do",
            "I",
            "why",
            "is",
            "not",
            "5",
            "kg",
            "Paris",
            "London",
            "to",
            "from",
            "buy",
            "sell",
            "?",
            "and",
            "C++",
            "increase",
            "the",
            "price",
        ]
    ),
    max_size=12,
).map(" ".join)


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("What is 15% of 80?", "What is 15% of 90?", Disagreement.NUMBERS),
        ("Who won in 2014?", "Who won?", Disagreement.NUMBERS),
        ("Convert 5 kg of flour", "Convert 5 lb of flour", Disagreement.NUMBERS),
        ("How far is $20 of fuel?", "How far is \u20ac20 of fuel?", Disagreement.NUMBERS),
        ("The first man on the moon", "The second man on the moon", Disagreement.NUMBERS),
        ("How do women in their forties live?", "How do women in their fifties live?", Disagreement.NUMBERS),
        ("Convert -40 C to F", "Convert 40 C to F", Disagreement.NUMBERS),
        ("Convert \u221240 C to F", "Convert 40 C to F", Disagreement.NUMBERS),
        ("What is 10 - -5?", "What is 10 - 5?", Disagreement.NUMBERS),
        ("What is .5 of 80?", "What is 5 of 80?", Disagreement.NUMBERS),
        ("Is 3,50 euros a lot?", "Is 350 euros a lot?", Disagreement.NUMBERS),
        ("What did Ada Lovelace write?", "What did Linda Lovelace write?", Disagreement.NAMES),
        ("What did Ada Lovelace write?", "What did Ada write?", Disagreement.NAMES),
        ("Which trains run in North Korea?", "Which trains run in Korea?", Disagreement.NAMES),
        ("Where are hotels in Delhi, India?", "Where are hotels in India?", Disagreement.NAMES),
        ("Would a Fiat or a Ford tow it?", "Would a Ford tow it?", Disagreement.NAMES),
        ("How many hours can one work?", "How many days can one work?", Disagreement.NUMBERS),
        ("What is 7 + 2?", "What is 7 * 2?", Disagreement.OPERATORS),
        ("What is 7-2?", "What is 7/2?", Disagreement.OPERATORS),
        ("Solve x+5=0", "Solve x-5=0", Disagreement.OPERATORS),
        ("Solve 2x-3=0", "Solve 2x+3=0", Disagreement.OPERATORS),
        ("Simplify a/b", "Simplify a-b", Disagreement.OPERATORS),
        ("What is 5 kg - 3 kg?", "What is 5 kg / 3 kg?", Disagreement.OPERATORS),
        ("What is 60 km/3?", "What is 60 km-3?", Disagreement.OPERATORS),
        ("What is 5!", "What is 5?", Disagreement.OPERATORS),
        ("When is a != b?", "When is a = b?", Disagreement.OPERATORS),
        ("What does x | y do?", "What does x & y do?", Disagreement.OPERATORS),
        ("Integrate e^-x", "Integrate e^x", Disagreement.OPERATORS),
        ("Plot f(-x)", "Plot f(x)", Disagreement.OPERATORS),
        ("Plot -sin(x)", "Plot sin(x)", Disagreement.OPERATORS),
        ("Is a balance of -$5 odd?", "Is a balance of $5 odd?", Disagreement.OPERATORS),
        ("Convert minus 40 C to F", "Convert 40 C to F", Disagreement.NUMBERS),
        ("What is five minus two?", "What is five plus two?", Disagreement.OPPOSITES),
        ("What is 10 - 3?", "What is 3 - 10?", Disagreement.ORDER),
        ("What is 10 divided by 2?", "What is 2 divided by 10?", Disagreement.ORDER),
        ("How is 3/4 written?", "How is 4/3 written?", Disagreement.ORDER),
        ("What happened on 01/02/2024?", "What happened on 02/01/2024?", Disagreement.ORDER),
        ("A rise from 50 dollars to 80", "A rise from 80 dollars to 50", Disagreement.ORDER),
        ("Solve 5-x=0", "Solve x-5=0", Disagreement.ORDER),
        ("What does \u2622 mean?", "What does \u2623 mean?", Disagreement.SYMBOLS),
        ("Which foods can I eat?", "Which foods can't I eat?", Disagreement.NEGATION),
        ("Coffee with sugar", "Coffee without sugar", Disagreement.NEGATION),
        ("What is the capital of Peru?", "What is the capital of Chile?", Disagreement.NAMES),
        ("How do I parse XML?", "How do I parse JSON?", Disagreement.NAMES),
        ("How do I learn C?", "How do I learn C++?", Disagreement.NAMES),
        ("Is it open in june?", "Is it open in july?", Disagreement.NAMES),
        ("What speaks for a tax?", "What speaks against a tax?", Disagreement.OPPOSITES),
        ("What does \u732b mean?", "What does \u72ac mean?", Disagreement.NAMES),
        (
            "How can I increase my screen brightness?",
            "How can I decrease my screen brightness?",
            Disagreement.OPPOSITES,
        ),
        ("Is it a biased source?", "Is it an unbiased source?", Disagreement.OPPOSITES),
        ("Should I buy gold?", "Should I sell gold?", Disagreement.OPPOSITES),
        ("What is between to and for?", "What is between to and into?", Disagreement.NAMES),
        ("Difference between may and shall?", "Difference between shall and will?", Disagreement.NAMES),
        ("How do I convert PDF to HTML?", "How do I convert HTML to PDF?", Disagreement.ORDER),
        ("How do I convert a PDF file to HTML?", "How do I convert HTML to PDF?", Disagreement.ORDER),
        ("Did Rome conquer Carthage?", "Did Carthage conquer Rome?", Disagreement.ORDER),
        ("Is Java faster than Rust?", "Is Rust faster than Java?", Disagreement.ORDER),
        ("How do volcanoes erupt?", "Why do volcanoes erupt?", Disagreement.QUESTION),
        ("How long is the course?", "How old is the course?", Disagreement.QUESTION),
        ("Can I take aspirin?", "Should I take aspirin?", Disagreement.QUESTION),
        ("How can I take aspirin?", "Should I take aspirin?", Disagreement.QUESTION),
        ("Is vitamin c good?", "Is vitamin d good?", Disagreement.NAMES),
        ("What did Ada write?", "What did Adam write?", Disagreement.NAMES),
        ("Which trains leave Port?", "Which trains leave Portsmouth?", Disagreement.NAMES),
        ("What does this picture show?", "What does this picture show?", Disagreement.CONTEXT),
        ("What do these mean?", "What do these mean?", Disagreement.CONTEXT),
        ("Summarise the text below", "Summarise the text below", Disagreement.CONTEXT),
    ],
)
def test_a_rule_refuses_whatever_the_embedding_says(one: str, other: str, reason: Disagreement) -> None:
    """A differing fact refuses the match even at a cosine of 1, and says which fact it was."""
    verdict = verify_match(one, other, cosine=1.0)
    assert not verdict.accepted
    assert reason in verdict.reasons
    assert verdict.score == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "how can I reset my password"),
        ("What's the best way to learn Spanish?", "What is the best way to learn Spanish?"),
        ("What is the distance between Rome and Milan?", "What is the distance between Milan and Rome?"),
        ("What is the difference between may and shall?", "What's the difference between shall and may?"),
        ("Is it worth 1,000 dollars?", "Is it worth $1000?"),
        ("Is it worth .5 dollars?", "Is it worth $0.5?"),
        ("What is 7 \u2013 2?", "What is 7-2?"),
        ("Convert minus 40 C to F", "Convert -40 C to F"),
        ("What is 7 minus 2?", "What's 7 minus 2?"),
        ("Sales of 2020-2021 and 2022-2023", "Sales of 2022-2023 and 2020-2021"),
        ("Is a 15 year -old a child?", "Is a 15 year-old a child?"),
        ("Is it 5 to 8 km?", "Is it between 5 and 8 km?"),
        ("Is self-study good?", "Is self study good?"),
        ("Is COVID-19 dangerous?", "Is COVID 19 dangerous?"),
        ("How is life in the U.S.?", "How is life in the United States?"),
        ("Why don't cats like water?", "Why do cats not like water?"),
        ("What should I do this year?", "What should I do this year?"),
        ("What are the benefits of yoga?", "What are benefits of Yoga?"),
        ("What did Churchill say of Stalin?", "What did Winston Churchill say of Stalin?"),
        ("What are the Best books about bees?", "Which are the best books about bees?"),
        ("How does one learn to swim?", "How do I learn to swim?"),
        ("Is yoga good for the back or not?", "Is yoga good for the back?"),
        ("Which phones below 200 dollars are good?", "Which are good phones below $200?"),
        ("Do you think it would be fair to vote at 16?", "Would it be fair to vote at 16?"),
        ("Is there a way to learn to swim?", "How can I learn to swim?"),
        ("How come the sky is blue?", "Why is the sky blue?"),
        ("Which foods are from Iran?", "Which are Iranian foods?"),
        ("What is the distance to Rome in km?", "What is the distance to Rome?"),
        ("Best Ways To Bake Rye Bread", "best ways to make rye bread"),
        ("What are the Best books about bees?", "Which are good books about bees?"),
        ("Restaurants in Rome", "Eateries in Rome"),
        ("Which tea, if any, helps?", "Which tea if any helps?"),
        (
            "Which trains go from Rome to Oslo, at best by night?",
            "Which trains go from Rome to Oslo by night, at best?",
        ),
    ],
)
def test_rewording_is_accepted_when_the_embedding_agrees(one: str, other: str) -> None:
    """Spelling, contractions, grammar words and listed order do not stand in the way."""
    verdict = verify_match(one, other, cosine=0.995)
    assert verdict.accepted, verdict
    assert not verdict.reasons


def test_a_low_cosine_is_refused_without_blaming_a_fact() -> None:
    """Where no rule objects the score decides, and the reason says so."""
    verdict = verify_match("How do I cook rice?", "How do I grow rice?", cosine=0.7)
    assert verdict.reasons == (Disagreement.SCORE,)
    assert 0 < verdict.score < LOOSEST_THRESHOLD


def test_a_special_case_scores_less_than_a_synonym() -> None:
    """A word that only one side adds counts against the match; a word replaced by another does less so."""
    special = verify_match("restaurants in vancouver", "downtown restaurants in vancouver", cosine=0.97)
    replaced = verify_match("restaurants in vancouver", "eateries in vancouver", cosine=0.97)
    assert special.score < 0.97 < replaced.score


@pytest.mark.parametrize(
    ("one", "turned", "kept"),
    [
        (
            "Can I put petrol in a diesel engine?",
            "Can I put diesel in a petrol engine?",
            "Can I put petrol in diesel engines?",
        ),
        ("Are most doctors smokers?", "Are most smokers doctors?", "Are doctors mostly smokers?"),
    ],
)
def test_turned_roles_score_less_than_the_same_roles(one: str, turned: str, kept: str) -> None:
    """The same things in each other's places count against the match."""
    assert verify_match(one, turned, cosine=0.97).score < verify_match(one, kept, cosine=0.97).score


def test_what_the_reader_thinks_is_not_what_is_so() -> None:
    """A text that asks for its reader's own scores less against one that does not."""
    own = verify_match("What is the best dream?", "What is your best dream?", cosine=0.97)
    assert own.score < verify_match("What is the best dream?", "What is a best dream?", cosine=0.97).score


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How does one become a pilot?", "How do I become a pilot?"),
        ("How are alloys and compounds different?", "What is the difference between alloys and compounds?"),
        ("How did yoga become popular?", "Why did yoga become popular?"),
        ("Does garlic help?", "Can garlic help?"),
    ],
)
def test_a_doubtful_kind_of_question_costs_but_does_not_refuse(one: str, other: str) -> None:
    """Kinds that mean the same often are left to the score, a little lower."""
    verdict = verify_match(one, other, cosine=0.99)
    assert verdict.accepted, verdict


def test_without_an_embedding_only_the_same_content_words_match() -> None:
    """The rules alone accept a difference in grammar words and nothing more."""
    assert verify_match("How do I cook rice?", "How can I cook the rice?").accepted
    assert not verify_match("How do I cook rice?", "How do I steam rice?").accepted
    light, other = verify_match("good rice recipes", "rice recipes"), verify_match("fried rice recipes", "rice recipes")
    assert light.score > other.score + 0.1


def test_a_threshold_below_the_floor_counts_as_the_floor() -> None:
    """A wrong setting cannot open the cache to anything that resembles the prompt."""
    assert not verify_match("How do I cook rice?", "How do I grow rice?", cosine=0.8, threshold=0.1).accepted


@given(texts, texts, st.floats(0, 1))
def test_the_verdict_is_symmetric_and_never_fails(one: str, other: str, cosine: float) -> None:
    """Any two texts get the same verdict in either order, with a score in 0..1."""
    verdict = verify_match(one, other, cosine=cosine)
    assert verdict == verify_match(other, one, cosine=cosine)
    assert 0 <= verdict.score <= 1
    assert verdict.accepted == (not verdict.reasons)


@given(texts, texts, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_cosine_never_refuses_what_a_lower_one_accepts(one: str, other: str, low: float, high: float) -> None:
    """The verdict is monotonic in the similarity."""
    low, high = sorted((low, high))
    assert verify_match(one, other, cosine=low).score <= verify_match(one, other, cosine=high).score


@given(texts, st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_changed_number_is_always_refused(text: str, one: int, other: int) -> None:
    """Whatever surrounds it, a number that differs refuses the match."""
    accepted = verify_match(f"{text} {one}", f"{text} {other}", cosine=1.0).accepted
    assert one == other or not accepted


@given(texts)
def test_a_text_never_disagrees_with_itself_unless_it_points_elsewhere(text: str) -> None:
    """The same text twice is refused only for pointing at something outside it."""
    verdict = verify_match(text, text, cosine=1.0)
    assert set(verdict.reasons) <= {Disagreement.CONTEXT}


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ("How do I swim?", QuestionKind.MANNER, ""),
        ("What is the best way to swim?", QuestionKind.MANNER, ""),
        ("I am new here. What can I do to swim?", QuestionKind.MANNER, ""),
        ("How does a pump work?", QuestionKind.WORKING, "fact"),
        ("How many pumps are there?", QuestionKind.QUANTITY, "many"),
        ("What is the price of a pump?", QuestionKind.QUANTITY, ""),
        ("What causes rain?", QuestionKind.REASON, ""),
        ("What time is it?", QuestionKind.TIME, ""),
        ("What is a pump?", QuestionKind.THING, ""),
        ("What?", QuestionKind.THING, ""),
        ("How?", QuestionKind.MANNER, ""),
        ("What should we do?", QuestionKind.MANNER, ""),
        ("What is the name of the river that floods and causes harm?", QuestionKind.THING, ""),
        ("Who was first?", QuestionKind.PERSON, ""),
        ("Can you tell me where it is?", QuestionKind.PLACE, ""),
        ("Why is it wet? How much rain fell? Be brief.", QuestionKind.QUANTITY, "much"),
        ("Did it rain?", QuestionKind.POLAR, "past"),
        ("Write a poem.", QuestionKind.OTHER, ""),
        ("", QuestionKind.OTHER, ""),
    ],
)
def test_kind_of_question(text: str, kind: QuestionKind, detail: str) -> None:
    """The sort of answer asked for is read from the question, not from what precedes it."""
    question = read(text).question
    assert (question.kind, question.detail) == (kind, detail)


@pytest.mark.parametrize(
    ("text", "quantities"),
    [
        ("1,000.5 km", ("1000.5 km",)),
        ("5kg or five kilos", ("5 kg", "5 kg")),
        ("$20 and 20 euros", ("20 eur", "20 usd")),
        ("from -5 kg to \u22120.5", ("-0.5", "-5 kg")),
        ("3,50 or 1,00,000", ("100000", "3", "50")),
        ("the 3rd of 3D", ("3d", "3rd")),
        ("20 apples in usd", ("20",)),
        ("no numbers here", ()),
    ],
)
def test_quantities_carry_their_unit(text: str, quantities: tuple[str, ...]) -> None:
    """Numbers are compared with the unit beside them, in one spelling."""
    assert read(text).quantities == quantities


@pytest.mark.parametrize(
    ("forms", "base"),
    [
        ("plan plans planned planning", "plan"),
        ("hope hopes hoped hoping", "hope"),
        ("make makes making", "make"),
        ("study studies studied studying", "study"),
        ("box boxes boxing", "box"),
        ("class classes", "class"),
        ("red", "red"),
        ("bus", "bus"),
        ("rape", "rape"),
        ("rap", "rap"),
    ],
)
def test_inflected_forms_meet(forms: str, base: str) -> None:
    """Forms of one word share a stem, and look-alikes do not."""
    assert {stem(form) for form in forms.split()} == {base}
