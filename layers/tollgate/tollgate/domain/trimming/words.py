"""Words as trimming compares them: folded, split and stemmed, in any script, with nothing but the standard library.

The rules are deliberately light. A stem only has to bring the forms of one word together; it need not be a word.
Only the end of a word changes and never its first three characters, which is what lets :class:`QueryMatcher` find
candidates by prefix instead of stemming every word of a long conversation.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

_WORD = re.compile(r"[^\W_]+")
_ACCENTS = re.compile("[\u0300-\u036f]")
# Combining marks, and other signs that are no part of a word; the last two decompose to marks. No text has so many in a
# row, and Python sorts them in a time that grows with the square of their number.
_MARK = r"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f])"
_MANY_MARKS = re.compile(rf"(?<!{_MARK}){_MARK}{{64,}}")
# Scripts written without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han (with its extensions).
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+"
)
_PREFIX = 3
_TRUNCATED_STEM = 6
_META_WEIGHT = 0.25

QUERY_CHARACTERS = 2_048
"""Characters read of a question: of a longer one the first and the last half of this many. Who pastes a text asks
before or after it, and every word of it would be looked for in every message."""

# English words that carry grammar, not topic. In other languages the inverse document frequency has this effect.
_FUNCTION_WORDS = frozenset(
    _WORD.findall(
        """
        a about an and any are as at be been being but by can could did do does doing done for from had has
        have having he her here hers him his how i if in into is it its just ll may me might must my no nor
        not of on or our ours over shall she should so than that the their theirs them then there these they
        this those to too under us ve very was we were what when where which who whom whose why will with
        would you your yours didn doesn don isn wasn weren won wouldn couldn shouldn hasn haven hadn aren re
        """
    )
)
# Words used to ask about a conversation; they seldom name what is sought.
_META_WORDS = frozenset(
    _WORD.findall(
        """
        according answer ask asked conversation describe described discuss discussed discussing discussion
        explain explained gave give group happen happened meeting mention mentioned opinion opinions said
        say saying says summarise summarize talk talked talking team tell think thinks thought told
        """
    )
)
# Longest ending first; the second part replaces it.
_ENDINGS = (
    ("ations", "at"),
    ("ation", "at"),
    ("ities", "it"),
    ("iness", "y"),
    ("ingly", ""),
    ("ments", ""),
    ("edly", ""),
    ("ment", ""),
    ("ness", ""),
    ("ity", ""),
    ("ies", "y"),
    ("ied", "y"),
    ("ing", ""),
    ("ers", "er"),
    ("est", ""),
    ("ed", ""),
    ("es", "e"),
    ("ly", ""),
    ("s", ""),
)


def fold(text: str) -> str:
    """The text without case, compatibility forms or Latin, Greek and Cyrillic accents."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", _MANY_MARKS.sub(" ", text)).casefold())


def stem(word: str) -> str:
    """The common part of the forms of a folded word.

    ASCII words lose English endings; longer words of other alphabets are cut to six characters, which suits
    inflected languages about as well as a stemmer for each. The first three characters always stay.
    """
    if len(word) <= _PREFIX or word.isdigit():
        return word
    if not word.isascii():
        return word[:_TRUNCATED_STEM]
    if not word.endswith("ss"):
        for ending, replacement in _ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) >= _PREFIX:
                word = word[: len(word) - len(ending)] + replacement
                break
    if len(word) > _PREFIX and word[-1] == "e":
        word = word[:-1]
    if len(word) > _PREFIX and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    if len(word) > _PREFIX and word[-1] == "y":
        word = word[:-1] + "i"
    return word


def topic_words(text: str) -> frozenset[str]:
    """A text's folded words that are not grammar; for scripts without spaces, its pairs of characters.

    They are not stemmed: they tell whether two passages say the same, and copies share their endings.
    """
    folded = fold(text)
    words = frozenset(_WORD.findall(folded)) - _FUNCTION_WORDS
    if folded.isascii():
        return words
    spaced = (word for word in words if not _UNSPACED.search(word))
    return frozenset(spaced).union(*(_pairs(run) for run in _UNSPACED.findall(folded)))


def _is_topic(word: str) -> bool:
    return word not in _FUNCTION_WORDS and (len(word) > 1 or word.isdigit()) and not _UNSPACED.search(word)


def _pairs(run: str) -> set[str]:
    return {run[i : i + 2] for i in range(len(run) - 1)} or {run}


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """One search term: a stem, or a piece of unspaced script matched literally."""

    text: str
    weight: float
    is_piece: bool = False


def query_terms(query: str) -> tuple[QueryTerm, ...]:
    """The search terms of a question, each once, in order of appearance.

    Function words are left out unless the query holds nothing else. Words about the act of asking ("discuss", "say")
    count for a quarter.
    """
    half = QUERY_CHARACTERS // 2
    folded = fold(query if len(query) <= QUERY_CHARACTERS else f"{query[:half]}\n{query[-half:]}")
    words = [word for word in _WORD.findall(folded) if not _UNSPACED.search(word)]
    chosen = [word for word in words if _is_topic(word)]
    pieces = sorted(set().union(*(_pairs(run) for run in _UNSPACED.findall(folded))))
    if not chosen and not pieces:
        chosen = words
    weights: dict[str, float] = {}
    for word in chosen:
        weight = _META_WEIGHT if word in _META_WORDS else 1.0
        key = stem(word)
        weights[key] = max(weights.get(key, 0.0), weight)
    return (
        *(QueryTerm(text, weight) for text, weight in weights.items()),
        *(QueryTerm(text, 1.0, is_piece=True) for text in pieces),
    )


_FEW = 32
"""Terms for which the machine's own search is quicker than looking at each word, or character, of a passage."""

_WORDS_KNOWN = 50_000


class QueryMatcher:
    """Finds a query's terms in passages, at the cost of one pass over the text however many terms there are.

    Args:
        terms: what to look for.
    """

    def __init__(self, terms: Iterable[QueryTerm]) -> None:
        self.terms = tuple(terms)
        self._pieces = {term.text: number for number, term in enumerate(self.terms) if term.is_piece}
        self._stems = {term.text: number for number, term in enumerate(self.terms) if not term.is_piece}
        self._prefixes = {text[:_PREFIX] for text in self._stems}
        # A word starts where no letter or digit precedes it, so that snake_case names are split.
        begins = "|".join(map(re.escape, sorted(self._prefixes, key=len, reverse=True)))
        few = len(self._prefixes) <= _FEW
        self._candidates = re.compile(rf"(?<![^\W_])(?:{begins})[^\W_]*") if few else _WORD
        self._term_of_word: dict[str, int] = {}

    def postings(self, folded_passages: Iterable[str]) -> list[dict[int, int]]:
        """Per term, how often it occurs in each passage that has it.

        Args:
            folded_passages: passages that went through :func:`fold`.
        """
        found: list[dict[int, int]] = [{} for _ in self.terms]
        for position, passage in enumerate(folded_passages):
            for number in self._words_in(passage) if self._stems else ():
                counts = found[number]
                counts[position] = counts.get(position, 0) + 1
            for number, count in self._pieces_in(passage) if self._pieces else ():
                found[number][position] = count
        return found

    def _words_in(self, passage: str) -> Iterator[int]:
        """The term of every word that is one."""
        known = self._term_of_word
        for word in self._candidates.findall(passage):
            number = known.get(word)
            if number is None:
                if len(known) >= _WORDS_KNOWN:
                    known.clear()
                number = known[word] = self._stems.get(stem(word), -1) if word[:_PREFIX] in self._prefixes else -1
            if number >= 0:
                yield number

    def _pieces_in(self, passage: str) -> Iterator[tuple[int, int]]:
        """The pieces that occur, and how often."""
        if len(self._pieces) <= _FEW:
            counts = ((number, passage.count(piece)) for piece, number in self._pieces.items())
            return (each for each in counts if each[1])
        runs = _UNSPACED.findall(passage)
        pairs = (run[i : i + 2] for run in runs for i in range(len(run) - 1))
        there = Counter(piece for piece in chain(pairs, *runs) if piece in self._pieces)
        return ((self._pieces[piece], count) for piece, count in there.items())
