"""What kind of answer a text asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class QuestionKind(StrEnum):
    """The kind of answer that is asked for."""

    MANNER = "manner"  # how to; the best way to
    WORKING = "working"  # how something works or came about
    QUANTITY = "quantity"  # how much, how long
    REASON = "reason"
    PERSON = "person"
    TIME = "time"
    PLACE = "place"
    THING = "thing"  # what, which
    POLAR = "polar"  # yes or no
    OTHER = "other"  # a statement or an order


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for.

    Args:
        kind: the sort of answer.
        detail: what narrows the kind: ``long`` of how long, the mood of a yes-or-no question.
    """

    kind: QuestionKind
    detail: str = ""


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


QUESTION_WORDS = frozenset({"what", "which", "who", "whom", "whose", "when", "where", "why", "how"})
_MOODS = {
    word: mood
    for mood, words in {
        "fact": "is are am does do has have isnt arent",
        "past": "did was were had",
        "future": "will shall",
        "able": "can could may might",
        "advice": "should must ought",
        "would": "would",
    }.items()
    for word in words.split()
}
_ASKING = _words("tell know explain suggest recommend help describe show advise give understand")
_DEGREES = _words(
    """
    much many long old far often tall big fast high large deep heavy hard soon close common likely good bad
    important difficult accurate effective safe strong rich expensive powerful easy smart popular different
    """
)
_MANNERS = _words("way ways method methods tip tips trick tricks step steps procedure process remedy remedies")
_REASONS = _words("reason reasons cause causes caused makes")
_TIMES = _words("time date year month day")
_AMOUNTS = _words("price cost salary fee fees number amount")
_ENDS = frozenset(".?!:")


def read_question(words: Sequence[str]) -> Question:
    """What sort of answer `words` ask for.

    Args:
        words: lower-case words with contractions opened, sentence ends among them as ``.``, ``?``, ``!`` or
            ``:``.
    """
    return _read_sentence(_asking_sentence(words))


def _asking_sentence(words: Sequence[str]) -> list[str]:
    """The last sentence that ends in a question mark, or everything where none does."""
    sentence: list[str] = []
    found: list[str] = []
    for word in words:
        if word not in _ENDS:
            sentence.append(word)
            continue
        if word == "?" and sentence:
            found = sentence
        sentence = []
    return found or [word for word in words if word not in _ENDS]


def _read_sentence(words: list[str]) -> Question:
    if tuple(words[:3]) in _OPINIONS:
        return Question(QuestionKind.POLAR, next((_MOODS[word] for word in words[3:] if word in _MOODS), "fact"))
    if tuple(words[:4]) in _WAYS:
        return Question(QuestionKind.MANNER)
    position = next((index for index, word in enumerate(words) if word in QUESTION_WORDS), None)
    opening = words[0] if words else ""
    if opening in _MOODS and (position is None or not _ASKING.intersection(words[1:position])):
        return Question(QuestionKind.POLAR, _MOODS[opening])
    if position is None:
        return Question(QuestionKind.OTHER)
    word, rest = words[position], words[position + 1 :]
    if word in _PLAIN:
        return Question(_PLAIN[word])
    return _read_how(rest) if word == "how" else _read_what(rest)


_OPINIONS = frozenset(("do", who, verb) for who in ("you", "people") for verb in ("think", "believe", "feel"))
"""What may stand before a yes-or-no question: "do you think that it would be", "would it be"."""

_WAYS = frozenset((verb, "there", article, "way") for verb in ("is", "are") for article in ("a", "any"))
"""Asking whether there is a way means asking for the way."""

_PLAIN = {
    "why": QuestionKind.REASON,
    "who": QuestionKind.PERSON,
    "whom": QuestionKind.PERSON,
    "whose": QuestionKind.PERSON,
    "when": QuestionKind.TIME,
    "where": QuestionKind.PLACE,
}
"""Question words that need no second look."""


def _read_how(rest: list[str]) -> Question:
    following = rest[0] if rest else ""
    if following == "come":
        return Question(QuestionKind.REASON)
    if following in _DEGREES:
        return Question(QuestionKind.QUANTITY, following)
    if following in {"does", "is", "are", "did", "was", "were", "has", "have", "will"}:
        return Question(QuestionKind.WORKING, _MOODS[following])
    return Question(QuestionKind.MANNER)


def _read_what(rest: list[str]) -> Question:
    head = rest[:6]
    if _MANNERS.intersection(head):
        return Question(QuestionKind.MANNER)
    if head[:1] and head[0] in {"should", "can", "do"} and head[2:3] == ["do"]:
        return Question(QuestionKind.MANNER)
    if _REASONS.intersection(head[:4]):
        return Question(QuestionKind.REASON)
    if head[:1] and head[0] in _TIMES:
        return Question(QuestionKind.TIME)
    if _AMOUNTS.intersection(head[:4]):
        return Question(QuestionKind.QUANTITY)
    return Question(QuestionKind.THING)
