"""Tokens per character, and how far estimates made with them were off: data, from ``benchmarks/token_estimate.py``.

The families stand for the tokenizers on which they were fitted and measured. Bounds are the largest relative error on
blocks of text that the fit did not see, rounded up to the next 5 %; 1.0 means that nothing is promised.
"""

from collections.abc import Mapping
from enum import StrEnum


class Script(StrEnum):
    """Classes of characters that cost about the same number of tokens each."""

    LOWER = "lower"
    UPPER = "upper"
    DIGIT = "digit"
    SPACE = "space"
    INDENT = "indent"
    NEWLINE = "newline"
    PUNCTUATION = "punctuation"
    FOREIGN = "foreign"
    LATIN = "latin"
    GREEK = "greek"
    CYRILLIC = "cyrillic"
    HEBREW = "hebrew"
    ARABIC = "arabic"
    INDIC = "indic"
    THAI = "thai"
    OTHER_ASIAN = "other_asian"
    SYMBOL = "symbol"
    KANA = "kana"
    HAN = "han"
    HANGUL = "hangul"
    OTHER = "other"
    ASTRAL = "astral"


class TokenizerFamily(StrEnum):
    """Whose tokenizer.

    cl100k: OpenAI's 100k vocabulary; Llama 3 and Qwen 2 to 3 were built on it and come close.
    o200k: OpenAI's 200k vocabulary; good in most scripts.
    llama2: SentencePiece with 32k entries: Llama 2, early Mistral.
    smollm2: byte-level BPE of 49k entries, trained mostly on English.
    wordpiece: BERT's uncased 30k entries: MiniLM and most small embedding models.
    """

    CL100K = "cl100k"
    O200K = "o200k"
    LLAMA2 = "llama2"
    SMOLLM2 = "smollm2"
    WORDPIECE = "wordpiece"


RATES: Mapping[TokenizerFamily, Mapping[Script, float]] = {
    TokenizerFamily.CL100K: {
        Script.LOWER: 0.178,
        Script.UPPER: 0.99,
        Script.DIGIT: 0.421,
        Script.SPACE: 0.11,
        Script.INDENT: 0.084,
        Script.NEWLINE: 0.0,
        Script.PUNCTUATION: 0.717,
        Script.FOREIGN: 0.067,
        Script.LATIN: 1.406,
        Script.GREEK: 1.043,
        Script.CYRILLIC: 0.5,
        Script.HEBREW: 1.17,
        Script.ARABIC: 0.844,
        Script.INDIC: 1.374,
        Script.THAI: 0.991,
        Script.OTHER_ASIAN: 1.893,
        Script.SYMBOL: 0.343,
        Script.KANA: 1.014,
        Script.HAN: 1.199,
        Script.HANGUL: 1.066,
        Script.OTHER: 2.359,
        Script.ASTRAL: 3.087,
    },
    TokenizerFamily.O200K: {
        Script.LOWER: 0.201,
        Script.UPPER: 0.89,
        Script.DIGIT: 0.434,
        Script.SPACE: 0.0,
        Script.INDENT: 0.07,
        Script.NEWLINE: 0.0,
        Script.PUNCTUATION: 0.711,
        Script.FOREIGN: 0.034,
        Script.LATIN: 0.799,
        Script.GREEK: 0.417,
        Script.CYRILLIC: 0.318,
        Script.HEBREW: 0.457,
        Script.ARABIC: 0.36,
        Script.INDIC: 0.415,
        Script.THAI: 0.437,
        Script.OTHER_ASIAN: 0.442,
        Script.SYMBOL: 0.712,
        Script.KANA: 0.654,
        Script.HAN: 0.899,
        Script.HANGUL: 0.707,
        Script.OTHER: 0.405,
        Script.ASTRAL: 2.929,
    },
    TokenizerFamily.LLAMA2: {
        Script.LOWER: 0.222,
        Script.UPPER: 1.015,
        Script.DIGIT: 1.073,
        Script.SPACE: 0.05,
        Script.INDENT: 0.125,
        Script.NEWLINE: 1.227,
        Script.PUNCTUATION: 0.752,
        Script.FOREIGN: 0.056,
        Script.LATIN: 1.829,
        Script.GREEK: 1.136,
        Script.CYRILLIC: 0.411,
        Script.HEBREW: 1.212,
        Script.ARABIC: 1.141,
        Script.INDIC: 1.409,
        Script.THAI: 1.172,
        Script.OTHER_ASIAN: 1.395,
        Script.SYMBOL: 0.82,
        Script.KANA: 1.087,
        Script.HAN: 1.597,
        Script.HANGUL: 2.077,
        Script.OTHER: 1.289,
        Script.ASTRAL: 5.266,
    },
    TokenizerFamily.SMOLLM2: {
        Script.LOWER: 0.18,
        Script.UPPER: 1.008,
        Script.DIGIT: 1.069,
        Script.SPACE: 0.098,
        Script.INDENT: 0.082,
        Script.NEWLINE: 0.616,
        Script.PUNCTUATION: 0.789,
        Script.FOREIGN: 0.142,
        Script.LATIN: 2.225,
        Script.GREEK: 0.975,
        Script.CYRILLIC: 0.892,
        Script.HEBREW: 1.306,
        Script.ARABIC: 1.188,
        Script.INDIC: 1.689,
        Script.THAI: 1.988,
        Script.OTHER_ASIAN: 2.181,
        Script.SYMBOL: 0.747,
        Script.KANA: 1.801,
        Script.HAN: 1.979,
        Script.HANGUL: 2.771,
        Script.OTHER: 2.33,
        Script.ASTRAL: 3.353,
    },
    TokenizerFamily.WORDPIECE: {
        Script.LOWER: 0.0,
        Script.UPPER: 0.942,
        Script.DIGIT: 0.511,
        Script.SPACE: 0.764,
        Script.INDENT: 0.119,
        Script.NEWLINE: 1.901,
        Script.PUNCTUATION: 1.069,
        Script.FOREIGN: 0.231,
        Script.LATIN: 0.307,
        Script.GREEK: 0.833,
        Script.CYRILLIC: 0.831,
        Script.HEBREW: 0.825,
        Script.ARABIC: 0.801,
        Script.INDIC: 0.423,
        Script.THAI: 0.062,
        Script.OTHER_ASIAN: 0.034,
        Script.SYMBOL: 0.0,
        Script.KANA: 0.919,
        Script.HAN: 0.957,
        Script.HANGUL: 1.658,
        Script.OTHER: 0.296,
        Script.ASTRAL: 0.592,
    },
}
"""Tokens per character of a class; INDENT counts pairs of spaces, FOREIGN comes on top of LOWER."""

BOUNDS: Mapping[TokenizerFamily, Mapping[Script, float]] = {
    TokenizerFamily.CL100K: {
        Script.LOWER: 0.2,
        Script.PUNCTUATION: 0.45,
        Script.FOREIGN: 0.2,
        Script.UPPER: 0.25,
        Script.GREEK: 0.1,
        Script.CYRILLIC: 0.25,
        Script.HEBREW: 0.1,
        Script.ARABIC: 0.1,
        Script.INDIC: 0.15,
        Script.THAI: 0.1,
        Script.OTHER_ASIAN: 0.15,
        Script.KANA: 0.1,
        Script.HAN: 0.25,
        Script.HANGUL: 0.1,
        Script.OTHER: 0.1,
        Script.ASTRAL: 1.0,
    },
    TokenizerFamily.O200K: {
        Script.LOWER: 0.2,
        Script.PUNCTUATION: 0.4,
        Script.FOREIGN: 0.25,
        Script.UPPER: 0.25,
        Script.GREEK: 0.1,
        Script.CYRILLIC: 0.2,
        Script.HEBREW: 0.1,
        Script.ARABIC: 0.1,
        Script.INDIC: 0.1,
        Script.THAI: 0.15,
        Script.OTHER_ASIAN: 0.35,
        Script.KANA: 0.1,
        Script.HAN: 0.2,
        Script.HANGUL: 0.1,
        Script.OTHER: 0.1,
        Script.ASTRAL: 1.0,
    },
    TokenizerFamily.LLAMA2: {
        Script.LOWER: 0.25,
        Script.PUNCTUATION: 0.4,
        Script.FOREIGN: 0.3,
        Script.UPPER: 0.2,
        Script.GREEK: 0.1,
        Script.CYRILLIC: 0.1,
        Script.HEBREW: 0.1,
        Script.ARABIC: 0.1,
        Script.INDIC: 0.15,
        Script.THAI: 0.1,
        Script.OTHER_ASIAN: 0.4,
        Script.KANA: 0.1,
        Script.HAN: 0.2,
        Script.HANGUL: 0.1,
        Script.OTHER: 0.1,
        Script.ASTRAL: 1.0,
    },
    TokenizerFamily.SMOLLM2: {
        Script.LOWER: 0.3,
        Script.PUNCTUATION: 0.4,
        Script.FOREIGN: 0.25,
        Script.UPPER: 0.2,
        Script.GREEK: 0.1,
        Script.CYRILLIC: 0.1,
        Script.HEBREW: 0.1,
        Script.ARABIC: 0.1,
        Script.INDIC: 0.25,
        Script.THAI: 0.1,
        Script.OTHER_ASIAN: 0.1,
        Script.KANA: 0.1,
        Script.HAN: 0.1,
        Script.HANGUL: 0.1,
        Script.OTHER: 0.1,
        Script.ASTRAL: 1.0,
    },
    TokenizerFamily.WORDPIECE: {
        Script.LOWER: 0.5,
        Script.PUNCTUATION: 0.35,
        Script.FOREIGN: 0.25,
        Script.UPPER: 0.35,
        Script.GREEK: 0.1,
        Script.CYRILLIC: 0.1,
        Script.HEBREW: 0.1,
        Script.ARABIC: 0.1,
        Script.INDIC: 0.35,
        Script.THAI: 0.15,
        Script.OTHER_ASIAN: 0.6,
        Script.KANA: 0.1,
        Script.HAN: 0.1,
        Script.HANGUL: 0.15,
        Script.OTHER: 0.1,
        Script.ASTRAL: 1.0,
    },
}
"""Largest relative error by the main script of a text: LOWER is English, PUNCTUATION code and JSON, FOREIGN other
languages in Latin letters, UPPER capitals, numbers and encoded data, ASTRAL emoji, which were not measured alone."""
