"""Where to look for near-duplicates of a prompt, and which of those found to look at first.

An entry is written under at most `MAX_KEYS` bucket keys, and a lookup reads those of its own prompt: the
unordered pairs of the four most telling content words, and single words where there are only one or two. Two
prompts that the verifier would accept nearly always share a pair. Telling words are names first, then long
words: in English the frequency of a word falls with its length (Zipf 1935), so no frequency table is needed.

Keys are digests and include the context key, so neither a table dump nor a guess shows whose prompt holds
which word.
"""

import hashlib
import struct
from dataclasses import dataclass
from itertools import combinations
from typing import Self
from zlib import crc32

from tollgate.domain.near.lexicon import LIGHT_WORDS
from tollgate.domain.near.reading import Reading

MAX_KEYS = 6
"""Bucket items that one lookup reads, and one write touches, at most."""

MAX_WORDS = 64
"""Longer prompts have no near match: one word among many hardly moves an embedding, but may change the
answer."""

_TELLING = 4
_MAX_STEMS = 12


@dataclass(frozen=True, slots=True)
class NearSignature:
    """A compact form of an entry, to choose among many without reading them: 28 bytes at most.

    Args:
        facts: checksum of what must be equal (numbers, operators, symbols, negation).
        stems: 16-bit hashes of up to twelve content words.
    """

    facts: int
    stems: frozenset[int]

    @classmethod
    def of(cls, reading: Reading) -> Self:
        """The signature of a text."""
        facts = "\0".join(
            (*reading.quantities, reading.operators, *sorted(reading.symbols), str(reading.negations % 2))
        )
        hashed = sorted({crc32(stem.encode("utf-8", "surrogatepass")) & 0xFFFF for stem in reading.content})
        return cls(crc32(facts.encode("utf-8", "surrogatepass")), frozenset(hashed[:_MAX_STEMS]))

    def pack(self) -> bytes:
        """The signature as 4 bytes for the facts and 2 for each stem."""
        return struct.pack(f">I{len(self.stems)}H", self.facts, *sorted(self.stems))

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Undo `pack`.

        Raises:
            ValueError: `packed` was not made by `pack`.
        """
        count, odd = divmod(len(packed) - 4, 2)
        if odd or not 0 <= count <= _MAX_STEMS:
            raise ValueError("a near signature has 4 bytes and 2 for each of up to 12 stems")
        facts, *stems = struct.unpack(f">I{count}H", packed)
        return cls(facts, frozenset(stems))

    def likeness(self, other: Self) -> float:
        """Share of common stems, 0..1; 0 where the facts differ, as the verifier would refuse."""
        if self.facts != other.facts:
            return 0.0
        union = len(self.stems | other.stems)
        return len(self.stems & other.stems) / union if union else 1.0


def bucket_keys(context_key: str, reading: Reading) -> tuple[str, ...]:
    """The buckets in which to file a prompt and to look for its near-duplicates.

    Args:
        context_key: digest of everything that must match exactly, see `cache.key.near_context`.
        reading: the prompt's reading.

    Returns:
        At most `MAX_KEYS` different keys of 32 hexadecimal characters. None for a prompt without words or
        with more than `MAX_WORDS`: it takes no part in near matching.
    """
    if not reading.words or len(reading.words) > MAX_WORDS:
        return ()
    stems = dict.fromkeys(reading.stems)
    candidates = [stem for stem in stems if stem not in LIGHT_WORDS] or list(stems)
    telling = sorted(candidates, key=lambda stem: (stem not in reading.names, -len(stem), stem))[:_TELLING]
    groups = [tuple(sorted(pair)) for pair in combinations(telling, 2)]
    if len(telling) <= 2:
        groups += [(stem,) for stem in telling]
    if not groups:
        groups = [reading.words]
    return tuple(_digest(context_key, group) for group in groups)


def _digest(context_key: str, group: tuple[str, ...]) -> str:
    text = "\0".join((context_key, *group))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
