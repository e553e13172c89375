"""A client's own results kept by the gateway: values of any JSON, for a while, for that tenant alone."""

import re
from dataclasses import dataclass
from typing import Any

from tollgate.domain.errors import InvalidRequestError

VALUE_BYTES = 300_000
"""Of a value as JSON, before compression: what fits into one item of the table in any case."""

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
    """Refuse names that are empty, too long or not plain.

    Raises:
        InvalidRequestError
    """
    check_namespace(namespace)
    if not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidRequestError(f"A key is 1 to {_LONGEST_KEY} characters; hash longer queries.", param="key")


def check_namespace(namespace: str) -> None:
    """Refuse what cannot be a namespace, of clients' own results or of answers.

    Raises:
        InvalidRequestError
    """
    if _NAMESPACE.fullmatch(namespace) is None:
        raise InvalidRequestError("A namespace is 1 to 63 of A-Z a-z 0-9 . _ -", param="namespace")
