"""Whether two answers of a model say the same, as far as that can be told without asking a model or a person.

One answer was served for a differently worded question, the other was made for that very question. Answers that cannot
be compared count as different, so the rate of wrong near hits is over- rather than underestimated. Rules by kind of
answer:

* embeddings: the cosine of each pair of vectors is at least `VECTOR_COSINE`;
* texts: the same numbers, and either the same words or enough of the same content words; short answers must not differ
  in a negation, a name or a sign of arithmetic either;
* anything else (labels, scores, structured output): the same shape and strings, numbers within `NUMBER_TOLERANCE`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tollgate.domain.catalogue import ModelKind
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.generated import choices_in, vectors_in
from tollgate.domain.near.reading import read, sides_turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tollgate.domain.near.reading import Reading

VECTOR_COSINE = 0.95
NUMBER_TOLERANCE = 0.05
"""Absolute for what is at most 1, such as a score; relative for larger numbers."""

SHORT_WORDS = 25
SHORT_OVERLAP = 0.8
LONG_OVERLAP = 0.4
"""Share of content words that two texts must have in common. Two long texts that a model wrote about the same seldom
share more than half of their words."""

_LAYOUT = str.maketrans("", "", "*|=")
"""Signs that also lay a text out: bold type, tables, headings."""


def answers_agree(one: Any, other: Any, kind: ModelKind) -> bool:
    """Whether two outputs of a model of this kind say the same. The order of the two does not matter."""
    if kind is ModelKind.EMBEDDING:
        return _same_vectors(one, other)
    texts = _texts(one), _texts(other)
    if texts[0] is not None and texts[1] is not None:
        return len(texts[0]) == len(texts[1]) and all(map(texts_agree, texts[0], texts[1]))
    return _same(one, other)


def texts_agree(one: str, other: str) -> bool:
    """Whether two texts say the same."""
    a, b = read(one), read(other)
    if a.words == b.words and a.operators == b.operators and a.symbols == b.symbols:
        return True
    if set(a.quantities) != set(b.quantities) or sides_turned(a, b):
        return False
    if max(len(a.words), len(b.words)) > SHORT_WORDS:
        return _overlap(a, b) >= LONG_OVERLAP
    if a.operators.translate(_LAYOUT) != b.operators.translate(_LAYOUT):
        return False
    return a.negations % 2 == b.negations % 2 and a.names == b.names and _overlap(a, b) >= SHORT_OVERLAP


def _overlap(a: Reading, b: Reading) -> float:
    union = a.content | b.content
    return len(a.content & b.content) / len(union) if union else float(a.words == b.words)


def _texts(output: Any) -> Sequence[str] | None:
    """The texts of an output that consists only of texts."""
    if isinstance(output, str):
        return [output]
    try:
        choices = choices_in(output)
    except ModelFailedError:
        return None
    if any(choice.text is None or choice.tool_calls for choice in choices):
        return None
    return [choice.text or "" for choice in choices]


def _same_vectors(one: Any, other: Any) -> bool:
    try:
        first, second = vectors_in(one), vectors_in(other)
    except ModelFailedError:
        return False
    return len(first) == len(second) and all(map(_alike, first, second))


def _alike(one: Sequence[float], other: Sequence[float]) -> bool:
    if len(one) != len(other):
        return False
    lengths = math.sqrt(math.sumprod(one, one) * math.sumprod(other, other))
    return lengths > 0 and math.sumprod(one, other) / lengths >= VECTOR_COSINE


def _same(one: Any, other: Any) -> bool:
    """Equal except for numbers that differ a little."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=NUMBER_TOLERANCE, abs_tol=NUMBER_TOLERANCE)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other
