"""What a request asks of the cache, in its ``Cache-Control`` header and in the field `cache` of its body.

Header directives are those of RFC 9111, section 5.2.1; unknown ones are ignored, as it asks. Where header and body
differ, the stricter one holds: an answer is read from the cache, or stored there, only if neither objects.
"""

from collections.abc import Mapping
from copy import replace
from enum import StrEnum
from typing import Any, NamedTuple


class CacheMode(StrEnum):
    """`cache.mode` of a body.

    `default`: as the model's policy says. `always`: also where the sampling temperature is above its limit.
    `refresh`: run, and store the answer. `bypass`: neither read nor store. `only`: never run.
    """

    DEFAULT = "default"
    ALWAYS = "always"
    REFRESH = "refresh"
    BYPASS = "bypass"
    ONLY = "only"


class CacheControl(NamedTuple):
    """The cache options of one request.

    Attributes:
        read: whether it may be answered from the cache.
        store: whether its answer may be stored.
        only_if_cached: never run.
        max_age_seconds: of an answer from the cache; None accepts any that is fresh.
        max_stale_seconds: since an answer was fresh; None accepts what the policy allows.
        ttl_seconds: for its answer, instead of the policy's.
        namespace: keeps entries apart, or shares them where the policy declares it as shared.
        always: use the cache whatever the sampling temperature.
    """

    read: bool = True
    store: bool = True
    only_if_cached: bool = False
    max_age_seconds: int | None = None
    max_stale_seconds: int | None = None
    ttl_seconds: int | None = None
    namespace: str = ""
    always: bool = False


NO_WISHES = CacheControl()
_LONGEST_AGE = 2**31
"""Seconds that stand for any longer time. https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2"""

_BY_MODE: Mapping[CacheMode, CacheControl] = {
    CacheMode.DEFAULT: NO_WISHES,
    CacheMode.ALWAYS: CacheControl(always=True),
    CacheMode.REFRESH: CacheControl(read=False),
    CacheMode.BYPASS: CacheControl(read=False, store=False),
    CacheMode.ONLY: CacheControl(only_if_cached=True),
}


def control_of(header: str | None, wishes: Mapping[str, Any] | None) -> CacheControl:
    """The options in a ``Cache-Control`` header and a checked `cache` object (`ttl`, `namespace`, `mode`)."""
    found = NO_WISHES
    if wishes:
        found = replace(
            _BY_MODE[CacheMode(wishes.get("mode") or CacheMode.DEFAULT)],
            ttl_seconds=wishes.get("ttl"),
            namespace=wishes.get("namespace") or "",
        )
    return _with_header(found, header) if header else found


def _with_header(found: CacheControl, header: str) -> CacheControl:
    for part in header.split(","):
        name, _, value = part.partition("=")
        match name.strip().lower():
            case "no-cache":
                found = replace(found, read=False)
            case "no-store":
                found = replace(found, read=False, store=False)
            case "only-if-cached":
                found = replace(found, only_if_cached=True)
            case "max-age":
                age = _least(found.max_age_seconds, _seconds(value))
                found = replace(found, max_age_seconds=age, read=found.read and age > 0)
            case "max-stale":
                # Without a number, an answer of any age will do.
                stale = _seconds(value) if value.strip() else _LONGEST_AGE
                found = replace(found, max_stale_seconds=_least(found.max_stale_seconds, stale))
    if found.max_age_seconds is not None and found.max_stale_seconds is None:
        # RFC 9111, 5.2.1.1: who names an age wants nothing stale, unless they say so.
        return replace(found, max_stale_seconds=0)
    return found


def _seconds(value: str) -> int:
    """A directive's number of seconds. RFC 9111, 1.2.2 and 4.2.1: none is too large, and anything else is 0."""
    digits = value.strip().strip('"').lstrip("0")
    return min(int(digits[:11]), _LONGEST_AGE) if digits.isascii() and digits.isdigit() else 0


def _least(known: int | None, other: int) -> int:
    return other if known is None else min(known, other)
