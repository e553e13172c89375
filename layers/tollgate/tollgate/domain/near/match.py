"""Whether the answer to one prompt may be given to another: the verifier behind the near-duplicate cache.

An embedding says that two texts are about the same thing, not that they ask the same. It hardly moves when a
number, a name or a `not` changes, which is where a wrong answer hurts. So rules that may only refuse come first, then
a similarity score with a threshold. A rule that does not apply has no effect; a text that the rules do not understand
is judged by the score alone, and differences that cannot be understood at all (signs, other scripts) refuse.

Thresholds are on one scale for every model: a cosine of sentence embeddings in 0..1, less penalties for
differences that are suspicious but not decisive. The weights are round numbers set by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tollgate.domain.near.lexicon import ADDRESSING, FUNCTION_WORDS, LIGHT_WORDS, NEGATING_PREFIXES, OPPOSITES
from tollgate.domain.near.question import Question, QuestionKind
from tollgate.domain.near.reading import Reading, read, sides_turned

LOOSEST_THRESHOLD = 0.92
"""Scores below this are never accepted. The guard decides the threshold in force, see `near.guard`."""


class Disagreement(StrEnum):
    """A fact on which two texts differ, and for which a near match is refused."""

    NUMBERS = "numbers"
    OPERATORS = "operators"
    SYMBOLS = "symbols"
    NEGATION = "negation"
    NAMES = "names"
    OPPOSITES = "opposites"
    ORDER = "order"
    QUESTION = "question"
    CONTEXT = "context"
    SCORE = "score"


@dataclass(frozen=True, slots=True)
class MatchVerdict:
    """What the verifier decided.

    Args:
        accepted: whether the stored answer may be served.
        score: similarity in 0..1 after penalties; 0 where a rule refused.
        reasons: why it was refused, in the order of the checks; empty where it was accepted.
    """

    accepted: bool
    score: float
    reasons: tuple[Disagreement, ...]


def verify_match(
    a: str | Reading,
    b: str | Reading,
    *,
    threshold: float,
    cosine: float | Callable[[], float] | None = None,
) -> MatchVerdict:
    """Decide whether `a` and `b` ask the same, so that the answer to one serves the other.

    The verdict is the same whichever text comes first.

    Args:
        a: one text, or its reading where it was made before.
        b: the other text or reading.
        threshold: score from which a match is accepted; values below `LOOSEST_THRESHOLD` count as that.
        cosine: cosine similarity of the two sentence embeddings, or whatever else is on its scale; or what computes
            it, which is called only where no rule refuses. Without it the share of common words stands in, which
            accepts only texts that differ in grammar words and inflection.
    """
    one = read(a) if isinstance(a, str) else a
    other = read(b) if isinstance(b, str) else b
    reasons = disagreements(one, other)
    if reasons:
        return MatchVerdict(accepted=False, score=0.0, reasons=reasons)
    similarity = cosine() if callable(cosine) else cosine
    similarity = word_similarity(one, other) if similarity is None else similarity
    score = min(1.0, max(0.0, similarity + adjustment(one, other)))
    if score < max(threshold, LOOSEST_THRESHOLD):
        return MatchVerdict(accepted=False, score=score, reasons=(Disagreement.SCORE,))
    return MatchVerdict(accepted=True, score=score, reasons=())


def disagreements(a: Reading, b: Reading) -> tuple[Disagreement, ...]:
    """Every fact on which two texts differ; empty where no rule objects."""
    checks = (
        (Disagreement.NUMBERS, a.quantities != b.quantities or _units_differ(a, b)),
        (Disagreement.OPERATORS, a.operators != b.operators),
        (Disagreement.SYMBOLS, a.symbols != b.symbols),
        (Disagreement.NEGATION, a.negations % 2 != b.negations % 2),
        (Disagreement.NAMES, _names_differ(a, b) or spoken_of(a.words) != spoken_of(b.words)),
        (Disagreement.OPPOSITES, _opposed(a, b)),
        (Disagreement.ORDER, sides_turned(a, b) or _order_differs(a, b)),
        (Disagreement.QUESTION, _questions_differ(a, b)),
        (Disagreement.CONTEXT, a.points_elsewhere or b.points_elsewhere),
    )
    return tuple(reason for reason, differs in checks if differs)


def adjustment(a: Reading, b: Reading) -> float:
    """What to add to the similarity for what an embedding does not see; negative if suspicious.

    * The same embedding from other words is a paraphrase; from nearly the same words it is only their
      overlap. So the share of words that differ counts in favour, up to half of them.
    * A content word that only one text has makes it a special case of the other ("restaurants in Vancouver",
      "restaurants in downtown Vancouver"). Where both have words of their own they are more often synonyms.
    * The same things in another order may have other roles ("petrol in a diesel engine", "diesel in a petrol
      engine"), unless they are only listed.
    * Only one text asks for the reader's own ("your best dream", "the best dream").
    * The question is of another kind that often, but not always, has the same answer.
    """
    differing = len(a.all_stems ^ b.all_stems) / max(1, len(a.all_stems | b.all_stems))
    found = 0.05 * min(differing, 0.5)
    if bool(a.content - b.content - LIGHT_WORDS) != bool(b.content - a.content - LIGHT_WORDS):
        found -= 0.02
    if _turned(a, b):
        found -= 0.04
    if ADDRESSING.isdisjoint(a.words) != ADDRESSING.isdisjoint(b.words):
        found -= 0.03
    if _doubtful(a.question, b.question):
        found -= 0.02
    return found


def _turned(a: Reading, b: Reading) -> bool:
    """Whether both texts mention the same things in another order, and not in a list or a comparison."""
    if a.joined or b.joined:
        return False
    shared = (a.content & b.content) - LIGHT_WORDS
    return [stem for stem in a.stems if stem in shared] != [stem for stem in b.stems if stem in shared]


def word_similarity(a: Reading, b: Reading) -> float:
    """Share of the content words that two texts have in common, 0..1, light words counting a quarter."""
    union = a.content | b.content
    if not union:
        return 1.0 if a.words == b.words else 0.0
    return _weight(a.content & b.content) / _weight(union)


def _weight(stems: frozenset[str]) -> float:
    return sum(0.25 if stem in LIGHT_WORDS else 1.0 for stem in stems)


def _names_differ(a: Reading, b: Reading) -> bool:
    """Whether one text names something that the other does not mention in any spelling.

    A full name may stand for its last part, as in "Donald Trump" and "Trump", where only one text says more. "North
    Korea" is not Korea, nor "New York" York.
    """
    unknown_a = {name for name in a.names if not _mentioned(name, b)}
    unknown_b = {name for name in b.names if not _mentioned(name, a)}
    if unknown_a and unknown_b:
        return True
    text, unknown = (a, unknown_a) if unknown_a else (b, unknown_b)
    first_names = {first for first, last in text.full_names if last in a.names & b.names}
    return bool(unknown - (first_names - OPPOSITES.keys()))


def _units_differ(a: Reading, b: Reading) -> bool:
    """Whether each text uses a unit that the other does not, as in "how many hours" and "how many days"."""
    return bool(a.units - b.units) and bool(b.units - a.units)


def spoken_of(words: tuple[str, ...]) -> frozenset[str]:
    """Grammar words that a text mentions rather than uses, as in "the difference between shall and will"."""
    if "between" not in words:
        return frozenset()
    found: set[str] = set()
    side: list[str] = []
    for word in (*words[words.index("between") + 1 :], "and"):
        if word not in _SEPARATORS:
            side.append(word)
            continue
        if side and FUNCTION_WORDS.issuperset(side):
            found.add(" ".join(side))
        side = []
    return frozenset(found)


_SEPARATORS = frozenset({"and", "or", "vs", "versus", "the", "a", "an"})


def _mentioned(name: str, text: Reading) -> bool:
    """Whether `text` has the name itself or a derivation of it, such as India and Indian."""
    return name in text.all_stems or any(_derived(name, stem) for stem in text.content)


def _derived(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return len(short) >= 4 and len(long) - len(short) <= 3 and long.startswith(short)


def _opposed(a: Reading, b: Reading) -> bool:
    """Whether a word that only one text has is the opposite of a word that only the other has."""
    only_a = a.all_stems - b.all_stems
    only_b = b.all_stems - a.all_stems
    return (
        any(OPPOSITES.get(stem, frozenset()) & only_b for stem in only_a)
        or any(_negated(stem, only_b) for stem in only_a)
        or any(_negated(stem, only_a) for stem in only_b)
    )


def _negated(stem: str, others: frozenset[str]) -> bool:
    """Whether `others` has the word with a prefix that negates it, such as biased and unbiased."""
    return len(stem) >= 4 and any(prefix + stem in others for prefix in NEGATING_PREFIXES)


def _order_differs(a: Reading, b: Reading) -> bool:
    """Whether two texts give the same things other roles, as in "from X to Y" and "from Y to X"."""
    turned_a = a.directed - b.directed
    turned_b = b.directed - a.directed
    if any((second, first) in turned_b for first, second in turned_a):
        return True
    if a.content != b.content or a.joined or b.joined:
        return False  # "X and Y", "X or Y": either order says the same
    named = a.names & b.names
    return [stem for stem in a.stems if stem in named] != [stem for stem in b.stems if stem in named]


def _questions_differ(a: Reading, b: Reading) -> bool:
    """Whether another kind of answer is asked for."""
    one, other = a.question, b.question
    kinds = frozenset((one.kind, other.kind))
    if one == other or _doubtful(one, other):
        return False
    return one.kind is other.kind or kinds not in _COMPATIBLE


def _doubtful(one: Question, other: Question) -> bool:
    """Whether two kinds of question often, but not always, have one answer."""
    moods = {question.detail for question in (one, other) if question.kind is QuestionKind.POLAR}
    return one != other and frozenset((one.kind, other.kind)) in _DOUBTFUL and moods <= _MILD_MOODS


_COMPATIBLE = frozenset(
    frozenset(pair)
    for pair in (
        (QuestionKind.THING, QuestionKind.OTHER),
        (QuestionKind.THING, QuestionKind.QUANTITY),  # what is the price, how much is
        (QuestionKind.THING, QuestionKind.PERSON),  # which actor, who
        (QuestionKind.THING, QuestionKind.PLACE),  # which is the best place to, where
        (QuestionKind.THING, QuestionKind.TIME),
        (QuestionKind.THING, QuestionKind.MANNER),  # what can I do to, how can I
        (QuestionKind.MANNER, QuestionKind.OTHER),
        (QuestionKind.MANNER, QuestionKind.WORKING),  # how do I become, how does one become
        (QuestionKind.POLAR, QuestionKind.OTHER),
        (QuestionKind.POLAR, QuestionKind.THING),  # is there a good, what is a good
        (QuestionKind.POLAR, QuestionKind.QUANTITY),
    )
)
"""Kinds of question that ask for the same thing in other words often enough."""

_MILD_MOODS = frozenset({"fact", "able", "future"})
"""The yes-or-no questions that are only doubtful: does it help, can it help, will it help; not should it."""

_DOUBTFUL = frozenset(
    frozenset(pair)
    for pair in (
        (QuestionKind.WORKING, QuestionKind.WORKING),  # how does it spread, how did it spread
        (QuestionKind.WORKING, QuestionKind.THING),  # how are they related, what is the relation
        (QuestionKind.WORKING, QuestionKind.REASON),  # how did it become popular, why did it
        (QuestionKind.WORKING, QuestionKind.POLAR),  # how is it useful, is it useful
        (QuestionKind.POLAR, QuestionKind.POLAR),  # does it help, can it help
        (QuestionKind.MANNER, QuestionKind.POLAR),  # how can I, can I: a yes tells how
        (QuestionKind.REASON, QuestionKind.THING),  # which do you like and why, which do you like
    )
)
"""Kinds that ask for the same thing often, but not always; any other two kinds refuse."""
