"""Texts that are packed once they are large: an item of a table has 400 KB at most, and every KB read costs.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

import zlib

_PLAIN_CHARACTERS = 50_000
"""Smaller ones stay readable in the console."""


def packed(text: str) -> str | bytes:
    """What to store of a text."""
    return text if len(text) <= _PLAIN_CHARACTERS else zlib.compress(text.encode())


def unpacked(stored: str | bytes) -> str:
    """The text again."""
    return stored if isinstance(stored, str) else zlib.decompress(stored).decode()
