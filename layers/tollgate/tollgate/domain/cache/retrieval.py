"""Results that a client stores with the gateway: any JSON values, for a limited time, private to its tenant."""

import re
from dataclasses import dataclass
from typing import Any

from tollgate.domain.errors import InvalidRequestError

VALUE_BYTES = 300_000
"""Largest value as JSON, before compression: this fits into one item of the table in any case."""

DEFAULT_TTL_SECONDS = 3_600
LONGEST_TTL_SECONDS = 7 * 86_400

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LONGEST_KEY = 512


@dataclass(frozen=True, slots=True)
class KeptValue:
    """A value and its times, in milliseconds since 1970."""

    value: Any
    made_ms: int
    expires_ms: int


def check_name(namespace: str, key: str) -> None:
    """Reject names that are empty, too long or contain unusual characters.

    Raises:
        InvalidRequestError
    """
    check_namespace(namespace)
    if not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidRequestError(f"A key is 1 to {_LONGEST_KEY} characters; hash longer queries.", param="key")


def check_namespace(namespace: str) -> None:
    """Reject an invalid namespace, of clients' own results or of answers.

    Raises:
        InvalidRequestError
    """
    if _NAMESPACE.fullmatch(namespace) is None:
        raise InvalidRequestError("A namespace is 1 to 63 of A-Z a-z 0-9 . _ -", param="namespace")
