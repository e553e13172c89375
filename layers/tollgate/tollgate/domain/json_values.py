"""JSON values as text that every store takes."""

import json
import re
from math import isinf
from typing import Any

from tollgate.domain.errors import InvalidRequestError

# `json.dumps` makes a new encoder for every call that wants other separators. Values here came out of JSON or are our
# own documents, so there is no circle to look for.
_PLAIN = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_ESCAPED = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def finite_float(digits: str) -> float:
    """For `parse_float`: a number too large for a float would be read as an infinity, which JSON does not have.

    Raises:
        ValueError: it is too large.
    """
    value = float(digits)
    if isinf(value):
        raise ValueError("a number is too large")
    return value


DEEPEST = 100
"""Levels of nesting that are read. Whatever is done with a value afterwards takes a step for each level, here and in
containers; Python alone gives up a little below ten thousand, sooner where more is wrapped around the value."""

_CONTAINERS = frozenset({dict, list})


def within_depth(value: Any, text: bytes | str) -> bool:
    """Whether a value has at most `DEEPEST` levels.

    Args:
        value: as it was read.
        text: that it was read from; one with few brackets need not be looked at further.
    """
    opened = text.count(b"{") + text.count(b"[") if isinstance(text, bytes) else text.count("{") + text.count("[")
    if opened <= DEEPEST:
        return True
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _CONTAINERS
        ]
        if not level:
            return True
    return False


_HALF_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")


def refuse_half_pairs(value: Any, text: str) -> None:
    """See that every text of a value can be written: JSON can spell half of a surrogate pair, which is no character.

    Args:
        value: as it was read.
        text: that it was read from, which has no such half itself; few need to be looked at further than for an escape.

    Raises:
        InvalidRequestError: naming the text at fault, as in ``messages[0].content``, or the object with such a name.
    """
    if "\\" not in text or _HALF_ESCAPED.search(text) is None or _is_writable(_PLAIN(value)):
        return
    path = ""
    for name in _way_to_half(value) or ():
        path += f"[{name}]" if isinstance(name, int) else f".{name}" if path else name
        value = value[name]
    what = "a text" if isinstance(value, str) else "the name of a field"
    where = f"Field '{path}'" if path else "The JSON value"
    raise InvalidRequestError(
        f"{where}: {what} has half of a surrogate pair (\\ud800 to \\udfff), which is no character. "
        "Escape both halves, or write the character itself.",
        param=path or None,
    )


def _way_to_half(value: Any) -> list[str | int] | None:
    """Names and positions that lead to the first text at fault, or to the object with such a name; None without one."""
    if isinstance(value, str):
        return None if _is_writable(value) else []
    if not isinstance(value, (dict, list)):
        return None
    if isinstance(value, dict) and not all(map(_is_writable, value)):
        return []
    for name, part in value.items() if isinstance(value, dict) else enumerate(value):
        way = _way_to_half(part)
        if way is not None:
            return [name, *way]
    return None


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def strict_json(text: bytes | str) -> Any:
    """The JSON value in a text, without the NaN and infinities that Python's own reader lets pass.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=finite_float)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not within_depth(value, text):
        raise ValueError("nested too deeply")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def compact_json(value: Any) -> str:
    """JSON without spaces, with every character as it is; half of a surrogate pair fails when the text is encoded."""
    return _PLAIN(value)


def escaped_json(value: Any) -> bytes:
    """JSON without spaces in ASCII, so that half of a surrogate pair passes as the escape it came as."""
    return _ESCAPED(value).encode("ascii")


def json_text(value: Any) -> str:
    """Compact JSON that can be written as UTF-8.

    Half of a surrogate pair, which JSON can spell and UTF-8 cannot, stays spelled as an escape.

    Raises:
        ValueError: the value contains NaN or an infinity, which JSON does not have.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text
