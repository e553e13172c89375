"""How many tokens a text has, estimated in microseconds.

The estimate is a weighted count of byte classes. Bytes, not characters, because the first byte of a character's UTF-8
form tells its script, and counting bytes runs at the speed of C. The weights of each tokenizer family were fitted to
the family's own tokenizer (`tollgate.domain.token_rates`), on other texts than those on which the bounds were
measured; ``benchmarks/token_estimate.py`` fits and measures anew.

The bounds hold for ordinary text of about 2,000 characters or more. Outside them: random lower-case letters have up to
three times the estimate, words in capitals three quarters of it, long runs of blank lines next to nothing. Where a
limit must hold to the token, count with the model's own tokenizer: everything that takes a
`tollgate.domain.trimming.terms.TokenCounter` takes that as well.
"""

import math
from typing import NamedTuple

from tollgate.domain.token_rates import BOUNDS, RATES, Script, TokenizerFamily

_LOWER = bytes(range(0x61, 0x7B))
_UPPER = bytes(range(0x41, 0x5B))
_DIGITS = bytes(range(0x30, 0x3A))
_NOT_LEADING = bytes(range(0xC0))

# Frequent short words of European languages and Indonesian that hardly occur in English or in code. Tokenizers know
# English best, so the same letters cost more elsewhere.
_FOREIGN_WORDS = {
    word.encode(): f" {word} ".encode()
    for word in (
        *("de", "la", "en", "der", "die", "und", "que", "di", "il"),
        *("het", "een", "yang", "dan", "na", "ve", "och", "nie", "ja"),
    )
}
_FOREIGN_SAMPLE = 1_500
_FOREIGN_WORD_SHARE = 0.04
_FOREIGN_LETTER_SHARE = 0.02

# UTF-8: which scripts a leading byte stands for (Unicode 16, blocks of the basic plane).
_SCRIPT_OF_LEAD = (
    dict.fromkeys(range(0xC2, 0xCE), Script.LATIN)
    | dict.fromkeys(range(0xCE, 0xD0), Script.GREEK)
    | dict.fromkeys(range(0xD0, 0xD4), Script.CYRILLIC)
    | dict.fromkeys(range(0xD4, 0xD6), Script.OTHER)
    | dict.fromkeys(range(0xD6, 0xD8), Script.HEBREW)
    | dict.fromkeys(range(0xD8, 0xDC), Script.ARABIC)
    | dict.fromkeys(range(0xDC, 0xE0), Script.OTHER)
    | {0xE0: Script.INDIC, 0xE1: Script.OTHER_ASIAN, 0xE2: Script.SYMBOL, 0xE3: Script.KANA}
    | dict.fromkeys(range(0xE4, 0xEA), Script.HAN)
    | dict.fromkeys(range(0xEA, 0xEE), Script.HANGUL)
    | dict.fromkeys(range(0xEE, 0xF0), Script.OTHER)
    | dict.fromkeys(range(0xF0, 0xF8), Script.ASTRAL)
)
# Pairs of bytes that take characters out of a wider group: Thai, Vietnamese letters, East Asian punctuation.
_EXCEPTIONS = (
    (0xE0, (b"\xe0\xb8", b"\xe0\xb9"), Script.THAI),
    (0xE1, (b"\xe1\xba", b"\xe1\xbb"), Script.LATIN),
    (0xE3, (b"\xe3\x80",), Script.SYMBOL),
)
_OTHER_SCRIPTS = (
    *(Script.GREEK, Script.CYRILLIC, Script.HEBREW, Script.ARABIC, Script.INDIC, Script.THAI, Script.OTHER_ASIAN),
    *(Script.KANA, Script.HAN, Script.HANGUL, Script.OTHER, Script.ASTRAL),
)
_CODE_PUNCTUATION = 0.09
_LONGEST_MEAN_WORD = 12


class TokenEstimate(NamedTuple):
    """An estimate with what is known about its error.

    Args:
        tokens: the estimate.
        bound: largest relative error seen on texts of this kind, for example 0.2.
        script: the kind of text that the bound is for.
    """

    tokens: int
    bound: float
    script: Script

    @property
    def upper(self) -> int:
        """Tokens that the text should not exceed."""
        return math.ceil(self.tokens / (1.0 - self.bound)) if self.bound < 1.0 else 4 * self.tokens


def byte_classes(text: str) -> dict[Script, float]:
    """Characters per class; ``FOREIGN`` counts lower-case Latin letters once more as far as they are not English."""
    data = text.encode("utf-8", "surrogatepass")
    size = len(data)
    # Most of a text is lower-case letters, so whatever comes after them looks at a quarter of it.
    others = data.translate(None, _LOWER)
    less_upper = others.translate(None, _UPPER)
    signs = less_upper.translate(None, _DIGITS)
    lower, upper, digits = size - len(others), len(others) - len(less_upper), len(less_upper) - len(signs)
    newlines = signs.count(b"\n")
    indents = data.count(b"  ")
    spaces = signs.count(b" ")
    classes: dict[Script, float] = {
        Script.LOWER: lower,
        Script.UPPER: upper,
        Script.DIGIT: digits,
        Script.SPACE: spaces - 2 * indents,
        Script.INDENT: indents,
        Script.NEWLINE: newlines,
    }
    ascii_size = size
    if not text.isascii():
        leads = data.translate(None, _NOT_LEADING)
        ascii_size = size - len(data.translate(None, bytes(range(0x80))))
        for lead in set(leads):
            script = _SCRIPT_OF_LEAD.get(lead, Script.OTHER)
            classes[script] = classes.get(script, 0) + leads.count(lead)
        for lead, pairs, script in _EXCEPTIONS:
            if lead in leads:
                count = sum(map(data.count, pairs))
                classes[_SCRIPT_OF_LEAD[lead]] -= count
                classes[script] = classes.get(script, 0) + count
    classes[Script.PUNCTUATION] = ascii_size - lower - upper - digits - spaces - newlines
    classes[Script.FOREIGN] = lower * _foreign_share(data, lower + upper, classes.get(Script.LATIN, 0))
    # Capitals are dear in encoded data and as initials; a word all in capitals costs little more than another.
    words = spaces + newlines + 1
    if upper > words and words * _LONGEST_MEAN_WORD > lower + upper:
        classes[Script.UPPER] = words
        classes[Script.LOWER] += upper - words
    return classes


def _foreign_share(data: bytes, letters: int, accented: float) -> float:
    """How far Latin text is in another language than English, 0..1, by its short words and its accents."""
    if not letters:
        return 0.0
    sample = data[:_FOREIGN_SAMPLE]
    words = sample.split(b" ")
    # English has next to none of them, so each is looked for only where it is one of the words.
    cues = sum([sample.count(_FOREIGN_WORDS[word]) for word in _FOREIGN_WORDS.keys() & words])
    return min(1.0, max(cues / len(words) / _FOREIGN_WORD_SHARE, accented / letters / _FOREIGN_LETTER_SHARE))


def estimate_tokens(text: str, family: TokenizerFamily = TokenizerFamily.CL100K) -> int:
    """Estimated tokens of a text without chat-template overhead; at least 1 for any text that is not empty.

    Args:
        text: anything, unpaired surrogates included.
        family: whose tokenizer; unknown models are best served by the default.
    """
    return _total(byte_classes(text), family) if text else 0


def estimate_with_bound(text: str, family: TokenizerFamily = TokenizerFamily.CL100K) -> TokenEstimate:
    """As :func:`estimate_tokens`, with the error bound of the text's main script."""
    classes = byte_classes(text)
    script = _main_script(classes)
    return TokenEstimate(_total(classes, family) if text else 0, BOUNDS[family][script], script)


def upper_bound(text: str, family: TokenizerFamily = TokenizerFamily.CL100K) -> int:
    """Tokens that a text should not exceed, by the estimate and its bound."""
    return estimate_with_bound(text, family).upper


def _total(classes: dict[Script, float], family: TokenizerFamily) -> int:
    rates = RATES[family]
    weighted = sum(rates[script] * count for script, count in classes.items())
    # No tokenizer here joins words, so a text of short words has at least as many tokens as words.
    words = classes[Script.SPACE] + 0.5 * (classes[Script.NEWLINE] + classes[Script.PUNCTUATION])
    return max(1, round(max(weighted, words)))


def _main_script(classes: dict[Script, float]) -> Script:
    """The class whose bound applies; see `tollgate.domain.token_rates.BOUNDS` for what Latin text counts as."""
    lower = classes[Script.LOWER]
    if classes[Script.UPPER] + classes[Script.DIGIT] > lower / 2:
        latin = Script.UPPER
    elif classes[Script.PUNCTUATION] > lower * _CODE_PUNCTUATION:
        latin = Script.PUNCTUATION
    else:
        latin = Script.FOREIGN if classes[Script.FOREIGN] > lower / 2 else Script.LOWER
    letters = {latin: lower + classes[Script.UPPER] + classes[Script.DIGIT] + 1.0}
    letters |= {script: classes.get(script, 0.0) for script in _OTHER_SCRIPTS}
    return max(letters, key=lambda script: letters[script])
