"""Cheap, named measurements of a prompt's text.

A pure function of the text, in time linear in its length up to `READ_LIMIT` and constant beyond it: of a
longer text only the two ends are read, where instructions usually are. Nothing here is learned; `complexity_model`
is.
"""

import re
from collections import Counter
from collections.abc import Sequence
from math import log1p
from typing import Final

READ_LIMIT: Final = 2_048
"""Characters read: of a longer text, the first and the last half of this many."""

_WORD: Final = re.compile(r"[a-zA-Z]+|[^\W\d_]+")
_NUMBER: Final = re.compile(r"\d[\d.,]*")
# Where all letters and digits are ASCII, byte tables take a third of the time of the patterns above, with one result.
_ASCII: Final = bytes(range(128))
_LETTERS_ALONE: Final = bytes(byte if 0x61 <= byte <= 0x7A else 0x20 for byte in bytes(range(256)).lower())
_FIGURES_ALONE: Final = bytes(byte if byte in b"0123456789.," else 0x20 for byte in range(256))
# Most signs are single characters, and quickly counted or missed once letters, digits and blanks are gone.
_NO_SIGNS: Final = bytes(byte for byte in range(256) if byte > 0x7F or byte == 0x20 or chr(byte).isalnum())
# One sign for whatever ends a sentence and one for what follows it: one pair to count instead of six.
_ENDINGS: Final = bytes.maketrans(b"?!\n", b".. ")
# Sentences with digits: a sentence's end becomes a byte that UTF-8 never has, that a gap, and all but digits goes.
_SENTENCE_MARK: Final = b"\xff"
_GAPS: Final = bytes(0x20 if byte == 0xFF else byte for byte in range(256))
_NEITHER: Final = bytes(byte for byte in range(255) if byte not in b"0123456789")
# A piece between blanks that begins with a capital; looked for by the capital, which most letters are not.
_CAPITALISED: Final = re.compile(r"[A-Z](?<!\S[A-Z])\S*")
_LONE: Final = re.compile("[\ud800-\udfff]")
_DECIMAL: Final = re.compile(r"\d\.\d")
_SENTENCE_ENDS: Final = (". ", "? ", "! ", ".\n", "?\n", "!\n")
_WIDE_SENTENCE_ENDS: Final = ("。", "！", "？")  # noqa: RUF001 - full-width stops end sentences too
# These three begin with a plain character, which is looked for at the speed of C.
_OPTION: Final = re.compile(r"\n[ \t]{0,8}\(?[A-Ha-h][).:]\s")
_BULLET: Final = re.compile(r"\n[ \t]{0,8}(?:[-*•]|\d{1,2}[.)])\s")
# A digit stands in one fraction only: in "1/2/3" the second stroke goes with the first one's.
_FRACTION: Final = re.compile(r"/(?:(?<=\d/)|(?<=\d\s/))\s?\d(?:\s?/)?")

_CODE_WORDS: Final = ("def ", "return ", "import ", "SELECT ")
_CODE_MARKS: Final = ("```", "=>", ">>>", "{\n", ";\n", "):\n", "()", "</")
_OPERATORS: Final = (("+", " + "), ("*", " * "), ("/", " / "), ("=", " = "), ("<", " < "), (">", " > "))
_WIDE_OPERATORS: Final = ("×", "÷", "√", "≤", "≥", "∑", "∫")  # noqa: RUF001 - signs of arithmetic

_GREEK: Final = "αβγδθλμπσφωΔΣΩ°→∞"
_PARTS: Final = ("half", "third", "quarter", "fifth", "tenth", "thirds", "quarters")
_COMPARISONS: Final = (
    ("than", " than "),
    ("times", " times as "),
    ("many", " as many "),
    ("much", " as much "),
    ("times", " times the "),
)
"""Each by a word of it."""
_LEXICON: Final[dict[str, str]] = {
    "ask_fact": "who whom whose when where which name called named",
    "ask_what": "what",
    "ask_amount": "many much",
    "ask_how": "how",
    "ask_why": "why explain reason because cause causes caused therefore hence",
    "command": "write create implement design compose draft generate build develop translate summarize "
    "summarise rewrite list describe compare analyze analyse evaluate classify extract convert complete "
    "edit fix refactor",
    "derive": "prove show derive compute calculate determine evaluate simplify solve find express integrate "
    "differentiate factor expand",
    "constraint": "must should only exactly least most without except unless either neither both cannot "
    "never always given such following ensure require required constraint constraints condition",
    "condition": "if then when suppose assume let given whether otherwise until unless",
    "negation": "not no none never neither nor nothing without unlikely cannot isn doesn don won didn wasn aren",
    "quantifier": "each every all any per both several",
    "ratio": "twice double triple half thrice times percent percentage ratio fraction third quarter fifth "
    "tenth average rate fewer proportion discount interest",
    "compared": "than more less fewer older younger longer shorter taller greater higher lower smaller "
    "larger bigger cheaper faster slower heavier lighter",
    "rest": "left remaining remain remains rest still another additional extra then again later after before",
    "total": "total altogether combined sum together",
    "time": "second seconds minute minutes hour hours day days week weeks month months year years daily "
    "weekly monthly yearly monday tuesday wednesday thursday friday saturday sunday",
    "measure": "mile miles foot feet inch inches meter meters km kilometers pound pounds ounce ounces "
    "gallon gallons liter liters cup cups gram grams kg acre acres square cubic speed mph",
    "money": "dollar dollars cent cents cost costs price pay pays paid spend spends spent sell sells sold "
    "buy buys bought earn earns earned profit money salary tax",
    "number_word": "one two three four five six seven eight nine ten eleven twelve dozen dozens hundred "
    "thousand million first second third",
    "maths": "equation function polynomial triangle circle angle integer integers prime divisor probability "
    "matrix vector theorem domain coordinates perpendicular parallel radius sequence digit digits modulo "
    "remainder expression graph line plane solutions roots area perimeter volume factors even odd",
    "science": "energy electron electrons mass velocity quantum protein gene genes cell cells reaction acid "
    "solution molecule temperature wavelength magnetic electric spin compound enzyme dna force pressure "
    "hydrogen carbon water species organism spectrum molecular particle field synthesis product",
    "code": "function python string list array lists tuple tuples dictionary integer return returns element "
    "elements code java javascript sql class method sort sorted regex character characters substring",
    "logic": "either statement statements clue clues true false valid invalid argument conclude implies "
    "puzzle house houses left right next between person people different",
    "person": "he she his her him they their them himself herself",
    "reader": "you your i my me we our please",
    "abstract": "theory policy economic moral philosophy analysis significance relationship concept "
    "according best likely primarily purpose author passage article paragraph",
    "glue": "the a an of to in and or for with on at by from as that this it is are was were be been has "
    "have had do does did will would can could",
}
_QUOTES: Final = "\"'.,:;!?()[]"
_LETTERS: Final = frozenset("bcdefghjklmnopqruvwxyz")
_FACT_OPENERS: Final = frozenset(["who", "what", "when", "where", "which", "how", "why", "whose"])
_TASK_OPENERS: Final = frozenset((_LEXICON["command"] + " " + _LEXICON["derive"]).split())


def _groups_of_words() -> dict[str, tuple[int, ...]]:
    """Give each listed word the positions of the groups that it belongs to."""
    groups: dict[str, tuple[int, ...]] = {}
    for place, words in enumerate(_LEXICON.values()):
        for word in words.split():
            groups[word] = (*groups.get(word, ()), place)
    return groups


_GROUPS: Final = _groups_of_words()

_SHAPE: Final = (
    "bytes",
    "words",
    "lines",
    "sentences",
    "sentence_words",
    "word_letters",
    "long_words",
    "distinct_words",
    "once_words",
    "numbers",
    "distinct_numbers",
    "largest_number",
    "digits",
    "decimals",
    "number_density",
    "fractions",
    "comparisons",
    "numbered_sentences",
    "percents",
    "money_signs",
    "operators",
    "latex",
    "code",
    "options",
    "bullets",
    "questions",
    "ends_asking",
    "greek",
    "unknowns",
    "blanks",
    "names",
    "capitals",
    "commas",
    "colons",
    "semicolons",
    "brackets",
    "quotes",
    "foreign",
    "last_sentence",
    "longest_word",
    "opens_asking",
    "opens_telling",
)

FEATURES: Final[tuple[str, ...]] = (
    *_SHAPE,
    *(f"count_{group}" for group in _LEXICON),
    *(f"share_{group}" for group in _LEXICON),
)
"""The name of each measurement, in the order in which `measure` gives them."""


def excerpt(text: str) -> str:
    """Return the part of a text that is read: all of it, or its two ends.

    Args:
        text: a prompt of any length.

    Returns:
        At most `READ_LIMIT` + 1 characters.
    """
    if len(text) <= READ_LIMIT:
        return text
    half = READ_LIMIT // 2
    return f"{text[:half]}\n{text[-half:]}"


def _encoded(read: str) -> bytes:
    """The text in UTF-8, with one byte that is no sign for each half of a surrogate pair."""
    try:
        return read.encode()
    except UnicodeEncodeError:
        return _LONE.sub("\x1a", read).encode()


def _spoken(raw: bytes) -> list[str]:
    """The words of a text whose letters are all ASCII, in lower case."""
    return raw.translate(_LETTERS_ALONE).decode("ascii").split()


def _numbers(raw: bytes) -> list[str]:
    """The numbers of a text whose digits are all ASCII, each from its first digit on, with points and commas."""
    runs = raw.translate(_FIGURES_ALONE).decode("ascii").split()
    return [number for run in runs if (number := run.lstrip(".,"))]


def _count(text: str, signs: Sequence[str]) -> int:
    """How often any of the signs occurs."""
    return sum(map(text.count, signs)) if text else 0


def _numbered_sentences(raw: bytes) -> float:
    """The share of the parts between full stops that have a digit in them."""
    marked = raw.replace(b". ", _SENTENCE_MARK)
    parts = len(raw) - len(marked) + 1
    return len(marked.translate(_GAPS, _NEITHER).split()) / parts


def _code_signs(read: str, signs: str) -> int:
    """How many signs of code a text has."""
    # What stands together in the text stands together among the signs, which are far fewer.
    marks = [mark for mark in _CODE_MARKS if mark in signs]
    return sum(map(read.count, _CODE_WORDS)) + sum(map(read.count, marks))


def _comparisons(read: str, words: Counter[str]) -> int:
    """How many turns of phrase compare one thing with another."""
    turns = [turn for word, turn in _COMPARISONS if word in words]
    return sum(map(read.lower().count, turns)) if turns else 0


def _operators(read: str, signs: str) -> int:
    """How many operators stand between blanks, and how many powers are raised."""
    return signs.count("^") + sum([read.count(operator) for sign, operator in _OPERATORS if sign in signs])


def measure(text: str) -> list[float]:
    """Measure a prompt.

    Counts are natural logarithms of one plus the count, shares are 0..1, flags are 0 or 1. Lengths are of the
    whole text, everything else of its `excerpt`. Size is in UTF-8 bytes, so that scripts with many words to a
    character are not taken for short questions.

    Args:
        text: a prompt of any length and in any script; may be empty.

    Returns:
        One finite number for each name in `FEATURES`.
    """
    read = excerpt(text).strip()
    stretch = len(text) / len(read) if read else 1.0
    raw = _encoded(read)
    encoded = len(raw)
    plain = read.isascii()
    wide = "" if plain else raw.translate(None, _ASCII).decode("utf-8")
    by_bytes = not any(map(str.isalnum, wide))
    pieces = () if plain else read.split()
    if by_bytes:
        spoken, numbers = _spoken(raw), _numbers(raw)
    else:
        # No word and no number goes over a blank, so only pieces with foreign letters need the patterns.
        odd = " ".join([piece for piece in pieces if not piece.isascii()])
        even = " ".join([piece for piece in pieces if piece.isascii()]).encode("ascii")
        spoken = _spoken(even) + _WORD.findall(odd.lower())
        numbers = _numbers(even) + _NUMBER.findall(odd)
    words = Counter(spoken)
    total = len(spoken) or 1
    groups = [0] * len(_LEXICON)
    for word in words.keys() & _GROUPS.keys():
        times = words[word]
        for place in _GROUPS[word]:
            groups[place] += times
    long = [word for word in words if len(word) > 7]
    capitals = _CAPITALISED.findall(read) if plain else [piece for piece in pieces if piece[0].isupper()]
    capitalised = {piece.strip(_QUOTES) for piece in capitals}
    figures = " ".join(numbers)
    count = read.count
    closed = raw.translate(_ENDINGS)
    sentences = 1 + closed.count(b". ") + _count(wide, _WIDE_SENTENCE_ENDS)
    # Places of bytes are those of characters in ASCII only.
    last = closed.rfind(b". ") if plain else max(map(read.rfind, _SENTENCE_ENDS + _WIDE_SENTENCE_ENDS))
    signs = raw.translate(None, _NO_SIGNS).decode("ascii")
    sign = signs.count
    opener = read.split(maxsplit=1)[0].lower().strip(_QUOTES) if read else ""
    shape = (
        log1p(encoded * stretch),
        log1p(total * stretch),
        log1p(sign("\n")),
        log1p(sentences * stretch),
        log1p(total / sentences),
        len("".join(spoken)) / total,
        sum(map(words.__getitem__, long)) / total,
        len(words) / total,
        log1p(list(words.values()).count(1)),
        log1p(len(numbers)),
        log1p(len(set(numbers))),
        log1p(max(map(len, numbers), default=0)),
        log1p(len(figures) - max(0, len(numbers) - 1)),
        log1p(len(_DECIMAL.findall(figures))),
        len(numbers) / total,
        log1p(len(_FRACTION.findall(read)) + sum(map(words.__getitem__, _PARTS))),
        log1p(_comparisons(read, words)),
        _numbered_sentences(raw) if numbers else 0.0,
        log1p(sign("%")),
        log1p(sign("$") + _count(wide, "€£")),
        log1p(_operators(read, signs) + _count(wide, _WIDE_OPERATORS)),
        log1p(sign("\\") + (count("_{") if "_{" in signs else 0)),
        log1p(_code_signs(read, signs)),
        log1p(len(_OPTION.findall(read))),
        log1p(len(_BULLET.findall(read))),
        log1p(count("?")),
        float(read.endswith("?")),
        log1p(_count(wide, _GREEK)),
        log1p(len(_LETTERS & words.keys())),
        float("_" in signs and ("__" in read or " _ " in read)),
        log1p(sum(1 for word in capitalised if word.lower() not in _GROUPS)),
        sum(1 for word in capitalised if len(word) > 1 and word.isupper()) / total,
        log1p(sign(",")),
        log1p(sign(":")),
        log1p(sign(";")),
        log1p(sign("(")),
        log1p(sign('"')),
        1.0 - len(read) / encoded if encoded else 0.0,
        log1p(len(read) - last - 1),
        log1p(max(map(len, long or words), default=0)),
        float(opener in _FACT_OPENERS),
        float(opener in _TASK_OPENERS),
    )
    return [*shape, *map(log1p, groups), *(times / total for times in groups)]
