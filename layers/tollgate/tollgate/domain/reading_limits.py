"""How large JSON may be to be read by a function with little memory, whose caller waits.

A value of a few bytes takes dozens when it is read: 6 MB of `{"a":{}}` become 180 MB. A function that ends for want of
memory leaves its hold unsettled, so whoever reads looks at the size first.
"""

import re

from tollgate.domain.errors import OversizedAnswerError

MOST_BYTES = 16_000_000
"""About 750,000 numbers of embeddings, which are written with 20 digits."""

MOST_WIDE_BYTES = 8_000_000
"""Of text that is not all ASCII: with one emoji in it, it takes four times its bytes, and is there twice while it is
written anew."""

MOST_CONTAINERS = 400_000
"""Objects and lists, of 64 to 184 bytes."""

MOST_VALUES = 1_500_000
"""Numbers of 32 bytes, and texts of 60."""


def require_readable(body: bytes) -> None:
    """See that an answer can be read.

    Raises:
        OversizedAnswerError: it is too large, or of too many values.
    """
    most = MOST_BYTES if body.isascii() and b"\\u" not in body else MOST_WIDE_BYTES
    if len(body) > most:
        raise OversizedAnswerError(f"The model's answer has more than {most} bytes. Ask for less at once.")
    if is_crowded(body):
        raise OversizedAnswerError(
            f"The model's answer has more than {MOST_CONTAINERS} objects and lists, or {MOST_VALUES} values. "
            "Ask for less at once."
        )


# A text that does not end is taken to end with the body, or each quote in it would be tried as the beginning of one.
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)


def is_crowded(body: bytes) -> bool:
    """Whether JSON has over `MOST_CONTAINERS` objects and lists, or `MOST_VALUES` values; texts may hold anything."""
    return _has_many(body) and _has_many(_TEXT.sub(b"", body))


def _has_many(body: bytes) -> bool:
    return body.count(b"[") + body.count(b"{") > MOST_CONTAINERS or body.count(b",") > MOST_VALUES
