"""A fair and repeatable draw from a name, so that the domain needs no random numbers."""

import zlib


def selector_of(name: str) -> float:
    """A number in [0, 1) that is the same for the same name and spread evenly over many names."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass")) / 2**32
