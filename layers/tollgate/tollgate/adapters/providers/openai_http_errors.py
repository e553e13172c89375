"""Answers of a provider that are none, in the words of the domain.

What may have run is a time-out, for which the caller's budget pays; see `tollgate.ports.token_backends`.
https://platform.openai.com/docs/guides/error-codes
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
)
from tollgate.domain.foreign_words import quoted
from tollgate.domain.json_values import strict_json

_LONGEST_WAIT_SECONDS = 3600
_FULL = frozenset({503, 529})
_ALWAYS = frozenset({402, 403, 404, 405, 410})


def provider_error(host: str, status: int, headers: Mapping[str, str], body: bytes, key: str) -> BackendError:
    """What an answer means for the caller, and for what is charged.

    Args:
        host: of the provider, shown to the caller.
        status: of HTTP, not one of success.
        headers: names in lower case.
        body: of the answer, or its beginning.
        key: that was sent; nobody is shown it, even where the provider repeats it.
    """
    who, said = f"Provider '{host}'", _said(body, key)
    found: BackendError
    if status < 400:
        found = BackendError(f"{who} sends callers elsewhere ({status}), which the gateway does not follow.")
    elif status == 401:
        # Some repeat a part of the key in what they say.
        found = BackendError(f"{who} does not accept the gateway's key.")
    elif status == 429:
        found = BackendThrottledError(f"{who} refuses calls for their rate.{said}", retry_after=_wait(headers, 2))
    elif status in _FULL:
        found = CapacityError(f"{who} is overloaded.", retry_after=_wait(headers, 5))
    elif status in _ALWAYS:
        found = BackendError(f"{who} refused the call ({status}).{said}")
    elif status == 408 or status > 500:
        found = BackendTimeoutError(f"{who} did not answer in time ({status}).")
    else:
        found = ModelFailedError(f"{who} answered with an error ({status}).{said}", original_status=status)
    return found


def _said(body: bytes, key: str) -> str:
    """The provider's sentence, to be put after another; empty where there is none."""
    try:
        document: Any = strict_json(body)
    except ValueError:
        return ""
    for name in ("error", "detail", "message"):
        if isinstance(document, dict) and name in document:
            document = document[name]
    if not isinstance(document, str):
        return ""
    return f" {quoted(document, (key,))}"


def _wait(headers: Mapping[str, str], otherwise: int) -> int:
    """Seconds of ``Retry-After``, which may be a number or a date (RFC 9110, 10.2.3)."""
    given = headers.get("retry-after", "").strip()
    seconds = float(given) if given.replace(".", "", 1).isdecimal() and given.isascii() else _until(given)
    return ceil(min(seconds, _LONGEST_WAIT_SECONDS)) if seconds > 0 else otherwise


def _until(date: str) -> float:
    import time  # noqa: PLC0415 -- few answers say when by the calendar
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 -- see above

    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
