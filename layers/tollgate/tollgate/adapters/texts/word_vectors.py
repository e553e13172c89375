"""The word vectors of near matching, read from the package when they are first needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tollgate.domain.near.words import WordVectors, WordVectorsError

if TYPE_CHECKING:
    from tollgate.ports.near import WordLikeness

FILE = Path(__file__).parents[2] / "data" / "words.bin"


@cache
def likeness(file: Path = FILE) -> WordLikeness | None:
    """Similarity of two texts by their words; None where the vectors are not there or cannot be used."""
    try:
        return WordVectors.decode(file.read_bytes()).likeness
    except (OSError, WordVectorsError):
        return None
