"""A cached answer as bytes, and the checksum by which a damaged or misplaced one is known."""

import hashlib
import json
import zlib
from decimal import Decimal

from tollgate.domain.cache.entry import CachedAnswer, Refusal
from tollgate.domain.jobs.job import Usage
from tollgate.domain.json_values import json_text

_WORTH_COMPRESSING = 1_024
"""Smaller bodies cost the same write units compressed or not, and reading them is cheaper when they are not."""

_GAIN = 0.9


def pack(answer: CachedAnswer) -> bytes:
    """What the model said, without the times.

    Raises:
        ValueError: the output has NaN or an infinity, which is no JSON.
    """
    refusal = answer.refusal
    document = {
        "output": answer.output,
        "tokens": [answer.usage.input_tokens, answer.usage.output_tokens],
        "resource": answer.resource,
        "worth": None if answer.worth is None else str(answer.worth),
        "refusal": None if refusal is None else [refusal.message, refusal.status],
    }
    plain = json_text(document).encode()
    if len(plain) < _WORTH_COMPRESSING:
        return plain
    packed = zlib.compress(plain, 6)
    return packed if len(packed) < len(plain) * _GAIN else plain


def unpack(packed: bytes, *, began_ms: int, made_ms: int, fresh_ms: int, kept_ms: int) -> CachedAnswer:
    """Undo `pack`.

    Raises:
        ValueError, KeyError, TypeError, zlib.error: it is something else.
    """
    # JSON of an object begins with a brace, a zlib stream never does.
    document = json.loads(packed if packed[:1] == b"{" else zlib.decompress(packed))
    worth, refusal, tokens = document["worth"], document["refusal"], document["tokens"]
    return CachedAnswer(
        output=document["output"],
        usage=Usage(tokens[0], tokens[1]),
        resource=document["resource"],
        worth=None if worth is None else Decimal(worth),
        began_ms=began_ms,
        made_ms=made_ms,
        fresh_ms=fresh_ms,
        kept_ms=kept_ms,
        refusal=None if refusal is None else Refusal(refusal[0], refusal[1]),
    )


def checksum(key: str, times: tuple[int, int, int, int], packed: bytes) -> str:
    """Of the body, its times and its key: an entry copied under another key is as good as a damaged one."""
    head = f"{key} {times[0]} {times[1]} {times[2]} {times[3]} "
    return hashlib.sha256(head.encode() + packed).hexdigest()
