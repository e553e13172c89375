"""Similarity of two texts by the meaning of their words, without running a model.

Every word in a table has a vector, made once from a sentence model (`benchmarks/near_words.py`), so that synonyms lie
near each other. Words that both texts have need no vector. Each word that only one of them has is compared with the
words that only the other has: it costs its weight times its distance to the nearest of them, or its whole weight if
there is none. Content words weigh most. The result is 1 less the cost's share of all weights: the scale of
`near.guard`.

Sums of word vectors, which is what static sentence embeddings are, were measured and are worse: in a sum the words that
two texts share drown the one in which they differ, which is the one that decides.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import sumprod
from typing import TYPE_CHECKING, Self

from tollgate.domain.near.lexicon import FUNCTION_WORDS, LIGHT_WORDS
from tollgate.domain.near.reading import read
from tollgate.domain.near.stem import stem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAGIC = b"tollgate-words-1\n"
"""First bytes of a file of vectors: its name and the version of its layout. Then, big-endian, the number of words, that
of dimensions and the bytes of the list of words; the list, a word a line; and a signed byte for every number."""

_HEAD = struct.Struct(">III")
_UNIT = 127.0
"""The stored value of a component of 1."""

_FUNCTION_WEIGHT = 0.15
_LIGHT_WEIGHT = 0.3


class WordVectorsError(ValueError):
    """The file is not one that this code can read."""


class WordVectors:
    """Words with vectors of length one.

    Args:
        dimensions: of each vector.
        places: where the vector of a word begins in `numbers`, counted in vectors.
        numbers: all vectors, one after the other, a signed byte a number.
    """

    def __init__(self, dimensions: int, places: Mapping[str, int], numbers: bytes) -> None:
        self._dimensions = dimensions
        self._places = places
        self._numbers = memoryview(numbers).cast("b")
        self._words_of = lru_cache(maxsize=32)(_words_of)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The vectors of a file.

        Raises:
            WordVectorsError: it has another layout, or is cut.
        """
        start = len(MAGIC) + _HEAD.size
        if data[: len(MAGIC)] != MAGIC or len(data) < start:
            raise WordVectorsError("no file of word vectors")
        count, dimensions, size = _HEAD.unpack_from(data, len(MAGIC))
        words = data[start : start + size].decode("ascii", "replace").split("\n")
        numbers = data[start + size :]
        if len(words) != count or len(numbers) != count * dimensions:
            raise WordVectorsError("the file of word vectors is cut")
        return cls(dimensions, {word: place for place, word in enumerate(words)}, numbers)

    @staticmethod
    def encode(vectors: Mapping[str, Sequence[float]]) -> bytes:
        """A file of these words, each with a vector of length one."""
        dimensions = len(next(iter(vectors.values())))
        words = "\n".join(vectors).encode("ascii")
        numbers = (max(-127, min(127, round(number * _UNIT))) for vector in vectors.values() for number in vector)
        return (
            MAGIC
            + _HEAD.pack(len(vectors), dimensions, len(words))
            + words
            + struct.pack(f"{len(vectors) * dimensions}b", *numbers)
        )

    def likeness(self, one: str, other: str) -> float:
        """Similarity of two texts in 0..1; 1 if they have the same words."""
        a, b = self._words_of(one), self._words_of(other)
        only_a = [word for word, stemmed in a.items() if stemmed not in b.values()]
        only_b = [word for word, stemmed in b.items() if stemmed not in a.values()]
        if not only_a and not only_b:
            return 1.0
        whole = sum(map(_weight, a)) + sum(map(_weight, b))
        nearest_a, nearest_b = self._nearest(only_a, only_b)
        cost = sum(_weight(word) * (1 - near) for word, near in zip(only_a, nearest_a, strict=True))
        cost += sum(_weight(word) * (1 - near) for word, near in zip(only_b, nearest_b, strict=True))
        return max(0.0, 1 - cost / whole)

    def _nearest(self, one: Sequence[str], other: Sequence[str]) -> tuple[list[float], list[float]]:
        """For each word of either list, its similarity to the nearest word of the other list, 0..1."""
        first, second = list(map(self._vector, one)), list(map(self._vector, other))
        rows = [[_cosine(a, b) for b in second] for a in first]
        columns = zip(*rows, strict=True) if rows else ([] for _ in second)
        return [max(row, default=0.0) for row in rows], [max(column, default=0.0) for column in columns]

    def _vector(self, word: str) -> Sequence[int] | None:
        place = self._places.get(word)
        if place is None:
            return None
        start = place * self._dimensions
        return self._numbers[start : start + self._dimensions].tolist()


def _words_of(text: str) -> Mapping[str, str]:
    """The different words of a text, each with its stem."""
    return {word: stem(word) for word in read(text).words}


def _cosine(a: Sequence[int] | None, b: Sequence[int] | None) -> float:
    if a is None or b is None:
        return 0.0
    return min(1.0, max(0.0, sumprod(a, b) / (_UNIT * _UNIT)))


def _weight(word: str) -> float:
    if word in FUNCTION_WORDS:
        return _FUNCTION_WEIGHT
    return _LIGHT_WEIGHT if stem(word) in LIGHT_WORDS else 1.0
