"""Packed vectors of sentences: small, and compared as if they had not been packed."""

from math import sqrt, sumprod

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from tollgate.domain.near.vector import packed_vector, vector_cosine

vectors = some.lists(some.floats(-1, 1), min_size=384, max_size=384)


@given(vectors, vectors)
def test_packing_hardly_moves_a_cosine(one: list[float], other: list[float]) -> None:
    """By three hundredths at the very worst, whatever the vectors; a byte a number is all it takes."""
    lengths = sqrt(sumprod(one, one) * sumprod(other, other))
    assume(sumprod(one, one) > 0.1 and sumprod(other, other) > 0.1)
    a, b = packed_vector(one), packed_vector(other)
    assert len(a) == len(one)
    assert vector_cosine(a, b) == pytest.approx(max(0.0, sumprod(one, other) / lengths), abs=0.03)
    assert vector_cosine(a, a) == pytest.approx(1.0)


def test_only_directions_are_compared() -> None:
    """Twice the vector is the same one; the opposite has nothing in common with it."""
    one = packed_vector([0.1, -0.2, 0.3])
    assert packed_vector([0.2, -0.4, 0.6]) == one
    assert vector_cosine(one, packed_vector([-0.1, 0.2, -0.3])) == 0.0


@pytest.mark.parametrize(("one", "other"), [(b"", b""), (b"", b"\x01"), (b"\x01", b"\x01\x02"), (b"\x00", b"\x01")])
def test_what_cannot_be_compared_is_not_alike(one: bytes, other: bytes) -> None:
    """No vector, one of another model, one without a direction."""
    assert vector_cosine(one, other) == 0.0
    assert packed_vector([0.0, 0.0]) == packed_vector([]) == b""
