"""What one prompt says, as far as rules can tell: the facts on which two near-duplicates must agree.

A `Reading` is made once per text, from the text alone. It needs no model and costs tens of microseconds.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from tollgate.domain.near.lexicon import (
    ALIASES,
    CALENDAR_NAMES,
    DIRECTIONS,
    FUNCTION_WORDS,
    JOINERS,
    LIGHT_WORDS,
    NEGATIONS,
    NUMBER_WORDS,
    PLACES,
    POINTERS,
    UNITS,
)
from tollgate.domain.near.question import Question, read_question
from tollgate.domain.near.stem import stem


@dataclass(frozen=True, slots=True)
class Reading:
    """The facts of one text.

    Args:
        words: every word in lower case, in order, contractions opened.
        stems: content words only, stemmed, in order of appearance, numbers left out.
        names: stems of the words that are written like names, other than at the start of a sentence.
        full_names: pairs of names with nothing between them, as in "Donald Trump"; "Delhi, India" is none.
        units: what is counted or measured, with a number or without.
        quantities: numbers with their sign and unit, such as ``5 kg``, ``-40``, ``2014``, ``1st``, sorted.
        operators: arithmetic and comparison signs, in order.
        symbols: the signs that are neither letters, digits, operators nor common punctuation.
        negations: how many negating words there are.
        question: what sort of answer is asked for.
        points_elsewhere: whether the text speaks of something that is not in it ("the picture below").
        sides: pairs of numbers or variables that have different roles, as in "10 - 3", "2/3" or "from 5 to 8".
        directed: pairs of content stems with a directional word between them, as in "from X to Y", "X than
            Y".
        joined: whether things are listed or compared ("and", "or", "versus"), so that their order says
            nothing.
        content: the set of `stems`.
        all_stems: the stems of all words, grammar included.
    """

    words: tuple[str, ...]
    stems: tuple[str, ...]
    names: frozenset[str]
    full_names: frozenset[tuple[str, str]]
    units: frozenset[str]
    quantities: tuple[str, ...]
    operators: str
    symbols: frozenset[str]
    negations: int
    question: Question
    points_elsewhere: bool
    sides: frozenset[tuple[str, str]]
    directed: frozenset[tuple[str, str]]
    joined: bool
    content: frozenset[str]
    all_stems: frozenset[str]


_CONTRACTIONS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"[\u2019`\u00b4]", "'"),
        (r"\bcan'?t\b|\bcannot\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"\b(do|does|did|is|are|was|were|has|have|had|could|would|should|must|need)n'?t\b", r"\1 not"),
        (r"\b(what|who|where|when|how|why|that|there|it|he|she)'?s\b(?!')", r"\1 is"),
        (r"'re\b", " are"),
        (r"'ve\b", " have"),
        (r"'ll\b", " will"),
        (r"'d\b", " would"),
        (r"'m\b", " am"),
        (r"'s\b|(?<=s)'(?=\s|$)", ""),
        (r"(?<=\d),(?=(?:\d\d,){0,4}\d{3}(?!\d))", ""),  # 1,000 and 1,00,000; not 3,50
        (r"(?<![\w.])\.(?=\d)", "0."),  # .5
        (r"\u2212|\u2013(?=\s*\d)", "-"),  # a minus, or a dash in its place
        (r"(?<![\d)] )\bminus (?=\d)", "-"),  # minus 40, but not 5 minus 3
        (r",?\s*\b(why )?or (why )?not(?=\s*([?.!]|$))", ""),  # "is it good or not" asks whether it is
        (r"\bwhether or not\b", "whether"),
        (r"\bU\.\s?S\.(\s?A\.?)?|\bUnited States( of America)?\b", "USA"),
        (r"\bU\.\s?K\.|\bUnited Kingdom\b", "UK"),
    )
)
_TOKEN = re.compile(
    r"(?:(?<![\w)])-)?\d+(?:\.\d+)*[^\W_]*|[^\W\d_][^\W_]*(?:\+\+|#)?|[$€£₹%]|°[cf]\b|[.?!:,]", re.IGNORECASE
)
# A number, a bracket or a variable, such as the x of "2x"; other words with a hyphen or a stroke are compounds.
_BEFORE = r"(?:(?<=[\d)])|(?<=[^\W\d_])(?<![^\W\d_][^\W\d_]))"
_AFTER = r"(?=[-+]?(?:[\d(]|[^\W\d_](?![^\W\d_])))"
_OPERATORS = re.compile(
    rf"""
    (?<![+\w])[+](?!\+) | (?<=[\d)])[+](?!\+)      # a plus, but not the ones of C++
    | {_BEFORE}[+]{_AFTER}                          # x+5
    | [*=<>^|\u00d7\u00f7\u2264\u2265\u2260]       # times, division, at most, at least, not equal
    | !(?==) | (?<=\d)!                            # not equal; factorial
    | {_BEFORE}\s*[-/]\s*{_AFTER}                   # minus and slash: 3-2, x/5, not self-study
    | (?<=\s)[-/]\s+(?=[-+]?[\d(]) | (?<=\w)/(?=\d)  # 5 kg - 3 kg, 5 kg/3
    | (?<![-\w)\]}}'"])-(?=[(\[$€£₹]|[^\W\d_](?:\b|[^\W\d_]{{0,8}}\())  # f(-x), -sin(x), -$5; not a 15 year -old
    """,
    re.VERBOSE,
)
_SIDE = r"(-?\d++(?:\.\d++)*+|[^\W\d_](?![^\W\d_]))"
_SIDES = re.compile(
    rf"""
    (?:(?<![\w.]) | (?<=\d)(?=[^\W\d_])) {_SIDE}    # a number, or a variable, such as the x of "2x"
    (?:[ ]?[^\W\d_]++)??                            # its unit
    [ ]?(?:[-/^:\u00f7] | [ ](?:to|from|minus|over|into|(?:divided[ ])?by)[ ])[ ]?
    (?={_SIDE})                                     # which may be the first of the next pair
    """,
    re.VERBOSE | re.IGNORECASE,
)
_COMMON_SIGNS = "\u201c\u201d\u2018\u2019\u00ab\u00bb\u2026\u00b7\u2022\u2013\u2014\u2212"  # quotes, dots, dashes
_SYMBOLS = re.compile(rf"[^\w\s.,;:!?'\"`\u00b4()\[\]{{}}<>=*+\u00d7\u00f7^/\\|&$€£₹%°{_COMMON_SIGNS}-]")
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)*)([^\W_]*)")
_CURRENCY = frozenset({"usd", "eur", "gbp", "inr"})
_SENTENCE_ENDS = ".?!:"


def read(text: str) -> Reading:
    """Read the facts of `text`; any text is accepted, in whatever language, though the rules know English."""
    text = " ".join(text.split())  # patterns that look beyond a long gap would try from every blank of it
    for pattern, replacement in _CONTRACTIONS:
        text = pattern.sub(replacement, text)
    marked: list[str] = []  # words with sentence ends among them
    words: list[str] = []
    word_stems: list[str] = []
    stems: list[str] = []
    names: set[str] = set()
    full_names: set[tuple[str, str]] = set()
    name_before = ""
    directed: set[tuple[str, str]] = set()
    direction_at = 0
    at_start = True
    capitals = 0
    for written in _TOKEN.findall(text):
        if written in _SENTENCE_ENDS:
            at_start, name_before = True, ""
            marked.append(written)
            continue
        if written == ",":
            name_before = ""
            continue
        word = "usa" if written == "US" else written.lower()
        word = ALIASES.get(word, word)
        stemmed = stem(word)
        marked.append(word)
        words.append(word)
        word_stems.append(stemmed)
        if word in DIRECTIONS:
            direction_at = len(stems)
        if _is_content(word):
            if direction_at and direction_at == len(stems):
                directed.update((before, stemmed) for before in stems[-2:])
            stems.append(stemmed)
            capitals += written[0].isupper()
            if word in CALENDAR_NAMES or (stemmed not in LIGHT_WORDS and _is_name(written, at_start=at_start)):
                names.add(stemmed)
        name = stemmed if stemmed in names else ""
        full_names.add((name_before, name))
        name_before = name
        at_start = False
    if len(stems) > 3 and capitals == len(stems):
        names.clear()  # Title Case Says Nothing About Names
    return Reading(
        words=tuple(words),
        stems=tuple(stems),
        names=frozenset(names),
        full_names=frozenset(pair for pair in full_names if all(pair)),
        units=frozenset(UNITS[word] for word in words if word in UNITS),
        quantities=_quantities(words),
        operators="".join(sign.strip() for sign in _OPERATORS.findall(text)),
        symbols=frozenset(_SYMBOLS.findall(text)),
        negations=sum(word in NEGATIONS for word in words),
        question=read_question(marked),
        points_elsewhere=_points_elsewhere(words),
        sides=frozenset((one.lower(), other.lower()) for one, other in _SIDES.findall(text)),
        directed=frozenset(directed),
        joined=not JOINERS.isdisjoint(words),
        content=frozenset(stems),
        all_stems=frozenset(word_stems),
    )


def sides_turned(a: Reading, b: Reading) -> bool:
    """Whether two texts exchange the sides of something, as in "10 - 3" and "3 - 10"."""
    only_b = b.sides - a.sides
    return any((second, first) in only_b for first, second in a.sides - b.sides)


def _points_elsewhere(words: list[str]) -> bool:
    """Whether the text refers to something outside it. "This year" and "below 40" do not."""
    return any(
        word in POINTERS
        or (word in PLACES and not (after and _is_quantity(after)))
        or (word in {"this", "these"} and after not in UNITS)
        for word, after in pairwise([*words, ""])
    )


def _is_content(word: str) -> bool:
    return not _is_quantity(word) and word not in FUNCTION_WORDS and word not in NEGATIONS


def _is_name(written: str, *, at_start: bool) -> bool:
    """Whether a word is written like a name: capital inside a sentence, acronym, letter, other script."""
    if written[0].isupper() and (not at_start or written[1:].isupper()):
        return True
    return len(written) == 1 or not (written.isalpha() and written.isascii())


def _is_quantity(word: str) -> bool:
    return word.removeprefix("-")[0].isdigit() or word in NUMBER_WORDS or word in UNITS


def _quantities(words: list[str]) -> tuple[str, ...]:
    """The numbers of a text with their units; a currency may stand before its number."""
    found: list[str] = []
    for position, word in enumerate(words):
        match = _NUMBER.fullmatch(word)
        if match is None and word not in NUMBER_WORDS:
            continue
        number, suffix = match.groups() if match else (NUMBER_WORDS[word], "")
        before = UNITS.get(words[position - 1], "") if position else ""
        after = UNITS.get(words[position + 1], "") if position + 1 < len(words) else ""
        if suffix in UNITS:
            found.append(f"{number} {UNITS[suffix]}")
        elif suffix:
            found.append(f"{number}{suffix}")
        elif after:
            found.append(f"{number} {after}")
        elif before in _CURRENCY:
            found.append(f"{number} {before}")
        else:
            found.append(number)
    return tuple(sorted(found))
