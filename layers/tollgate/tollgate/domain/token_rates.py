"""Tokens per character, and how far estimates made with them were off: data, from ``benchmarks/token_estimate.py``.

The families stand for the tokenizers on which they were fitted and measured. Bounds are the largest relative error on
blocks of text that the fit did not see, rounded up to the next 5 % and at least 15 %; 1.0 means that nothing is
promised.
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
        Script.LOWER: 0.179,
        Script.UPPER: 0.984,
        Script.DIGIT: 0.422,
        Script.SPACE: 0.106,
        Script.INDENT: 0.083,
        Script.NEWLINE: 0.0,
        Script.PUNCTUATION: 0.716,
        Script.FOREIGN: 0.069,
        Script.LATIN: 1.399,
        Script.GREEK: 1.044,
        Script.CYRILLIC: 0.501,
        Script.HEBREW: 1.169,
        Script.ARABIC: 0.845,
        Script.INDIC: 1.374,
        Script.THAI: 0.991,
        Script.OTHER_ASIAN: 1.896,
        Script.SYMBOL: 0.341,
        Script.KANA: 1.012,
        Script.HAN: 1.197,
        Script.HANGUL: 1.078,
        Script.OTHER: 2.36,
        Script.ASTRAL: 3.09,
    },
    TokenizerFamily.O200K: {
        Script.LOWER: 0.201,
        Script.UPPER: 0.888,
        Script.DIGIT: 0.434,
        Script.SPACE: 0.0,
        Script.INDENT: 0.07,
        Script.NEWLINE: 0.0,
        Script.PUNCTUATION: 0.711,
        Script.FOREIGN: 0.034,
        Script.LATIN: 0.802,
        Script.GREEK: 0.418,
        Script.CYRILLIC: 0.318,
        Script.HEBREW: 0.456,
        Script.ARABIC: 0.36,
        Script.INDIC: 0.415,
        Script.THAI: 0.436,
        Script.OTHER_ASIAN: 0.44,
        Script.SYMBOL: 0.766,
        Script.KANA: 0.65,
        Script.HAN: 0.896,
        Script.HANGUL: 0.713,
        Script.OTHER: 0.406,
        Script.ASTRAL: 2.929,
    },
    TokenizerFamily.LLAMA2: {
        Script.LOWER: 0.227,
        Script.UPPER: 1.005,
        Script.DIGIT: 1.074,
        Script.SPACE: 0.033,
        Script.INDENT: 0.121,
        Script.NEWLINE: 1.192,
        Script.PUNCTUATION: 0.757,
        Script.FOREIGN: 0.055,
        Script.LATIN: 1.845,
        Script.GREEK: 1.139,
        Script.CYRILLIC: 0.413,
        Script.HEBREW: 1.214,
        Script.ARABIC: 1.145,
        Script.INDIC: 1.412,
        Script.THAI: 1.17,
        Script.OTHER_ASIAN: 1.396,
        Script.SYMBOL: 0.925,
        Script.KANA: 1.086,
        Script.HAN: 1.592,
        Script.HANGUL: 2.086,
        Script.OTHER: 1.292,
        Script.ASTRAL: 5.287,
    },
    TokenizerFamily.SMOLLM2: {
        Script.LOWER: 0.181,
        Script.UPPER: 1.002,
        Script.DIGIT: 1.069,
        Script.SPACE: 0.097,
        Script.INDENT: 0.081,
        Script.NEWLINE: 0.613,
        Script.PUNCTUATION: 0.789,
        Script.FOREIGN: 0.144,
        Script.LATIN: 2.221,
        Script.GREEK: 0.975,
        Script.CYRILLIC: 0.892,
        Script.HEBREW: 1.306,
        Script.ARABIC: 1.189,
        Script.INDIC: 1.689,
        Script.THAI: 1.991,
        Script.OTHER_ASIAN: 2.184,
        Script.SYMBOL: 0.772,
        Script.KANA: 1.797,
        Script.HAN: 1.97,
        Script.HANGUL: 2.776,
        Script.OTHER: 2.331,
        Script.ASTRAL: 3.353,
    },
    TokenizerFamily.WORDPIECE: {
        Script.LOWER: 0.0,
        Script.UPPER: 0.923,
        Script.DIGIT: 0.513,
        Script.SPACE: 0.773,
        Script.INDENT: 0.104,
        Script.NEWLINE: 2.086,
        Script.PUNCTUATION: 1.036,
        Script.FOREIGN: 0.238,
        Script.LATIN: 0.286,
        Script.GREEK: 0.835,
        Script.CYRILLIC: 0.832,
        Script.HEBREW: 0.824,
        Script.ARABIC: 0.802,
        Script.INDIC: 0.423,
        Script.THAI: 0.066,
        Script.OTHER_ASIAN: 0.039,
        Script.SYMBOL: 0.0,
        Script.KANA: 0.923,
        Script.HAN: 0.96,
        Script.HANGUL: 1.678,
        Script.OTHER: 0.299,
        Script.ASTRAL: 0.571,
    },
}
"""Tokens per character of a class; INDENT counts pairs of spaces, FOREIGN comes on top of LOWER."""

BOUNDS: Mapping[TokenizerFamily, Mapping[Script, float]] = {
    TokenizerFamily.CL100K: {
        Script.LOWER: 0.25,
        Script.PUNCTUATION: 0.45,
        Script.FOREIGN: 0.25,
        Script.UPPER: 0.25,
        Script.GREEK: 0.15,
        Script.CYRILLIC: 0.25,
        Script.HEBREW: 0.15,
        Script.ARABIC: 0.15,
        Script.INDIC: 0.2,
        Script.THAI: 0.15,
        Script.OTHER_ASIAN: 0.15,
        Script.KANA: 0.15,
        Script.HAN: 0.3,
        Script.HANGUL: 0.15,
        Script.OTHER: 0.15,
        Script.ASTRAL: 1.0,
    },
    TokenizerFamily.O200K: {
        Script.LOWER: 0.2,
        Script.PUNCTUATION: 0.4,
        Script.FOREIGN: 0.25,
        Script.UPPER: 0.25,
        Script.GREEK: 0.15,
        Script.CYRILLIC: 0.25,
        Script.HEBREW: 0.15,
        Script.ARABIC: 0.15,
        Script.INDIC: 0.2,
        Script.THAI: 0.2,
        Script.OTHER_ASIAN: 0.35,
        Script.KANA: 0.15,
        Script.HAN: 0.3,
        Script.HANGUL: 0.2,
        Script.OTHER: 0.15,
        Script.ASTRAL: 1.0,
    },
    TokenizerFamily.LLAMA2: {
        Script.LOWER: 0.3,
        Script.PUNCTUATION: 0.4,
        Script.FOREIGN: 0.35,
        Script.UPPER: 0.2,
        Script.GREEK: 0.15,
        Script.CYRILLIC: 0.15,
        Script.HEBREW: 0.15,
        Script.ARABIC: 0.15,
        Script.INDIC: 0.15,
        Script.THAI: 0.15,
        Script.OTHER_ASIAN: 0.4,
        Script.KANA: 0.15,
        Script.HAN: 0.2,
        Script.HANGUL: 0.15,
        Script.OTHER: 0.15,
        Script.ASTRAL: 1.0,
    },
    TokenizerFamily.SMOLLM2: {
        Script.LOWER: 0.35,
        Script.PUNCTUATION: 0.4,
        Script.FOREIGN: 0.3,
        Script.UPPER: 0.2,
        Script.GREEK: 0.15,
        Script.CYRILLIC: 0.15,
        Script.HEBREW: 0.15,
        Script.ARABIC: 0.15,
        Script.INDIC: 0.3,
        Script.THAI: 0.15,
        Script.OTHER_ASIAN: 0.15,
        Script.KANA: 0.15,
        Script.HAN: 0.2,
        Script.HANGUL: 0.15,
        Script.OTHER: 0.15,
        Script.ASTRAL: 1.0,
    },
    TokenizerFamily.WORDPIECE: {
        Script.LOWER: 0.5,
        Script.PUNCTUATION: 0.35,
        Script.FOREIGN: 0.4,
        Script.UPPER: 0.35,
        Script.GREEK: 0.15,
        Script.CYRILLIC: 0.2,
        Script.HEBREW: 0.15,
        Script.ARABIC: 0.15,
        Script.INDIC: 0.45,
        Script.THAI: 0.75,
        Script.OTHER_ASIAN: 0.6,
        Script.KANA: 0.25,
        Script.HAN: 0.25,
        Script.HANGUL: 0.2,
        Script.OTHER: 0.15,
        Script.ASTRAL: 1.0,
    },
}
"""Largest relative error by the main script of a text: LOWER is English, PUNCTUATION code and JSON, FOREIGN other
languages in Latin letters, UPPER capitals, numbers and encoded data, ASTRAL emoji, which were not measured alone."""
