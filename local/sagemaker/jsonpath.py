"""The part of JSONPath that batch transform's input and output filters accept.

`$`, `$.a.b`, `$['a']`, `$['a','b']`, `$[0]`, `$[-1]`, `$[0,2]`, `$[1:3]`, `$[0,5:]`, `$.*` and `$[*]`. A
selector that names several things gives an object (for names) or an array (for positions).
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"\.([A-Za-z_][A-Za-z0-9_\-]*|\*)")
_BRACKET = re.compile(r"\[((?:'[^']*'|\"[^\"]*\"|[^\]'\"])*)\]")
_QUOTED = re.compile(r"^\s*(?:'([^']*)'|\"([^\"]*)\")\s*$")
_SLICE = re.compile(r"^\s*(-?\d+)?\s*:\s*(-?\d+)?\s*$")
_PARTS = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^,])+")


class PathSyntaxError(ValueError):
    """The expression is outside the subset."""


class PathLookupError(LookupError):
    """The document does not have what the expression names."""


type _Step = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled expression."""

    expression: str
    steps: tuple[_Step, ...]

    @property
    def is_identity(self) -> bool:
        """Whether the expression is `$`: everything."""
        return not self.steps

    def select(self, document: Any) -> Any:
        """Return what the expression names in the document.

        Raises:
            PathLookupError: it is not there, or the document has another shape.
        """
        for step in self.steps:
            document = step(document)
        return document


def compile_path(expression: str) -> Path:
    """Compile an expression.

    Raises:
        PathSyntaxError: it is outside the subset.
    """
    if not expression.startswith("$"):
        raise PathSyntaxError(f"{expression!r} must start with $")
    steps: list[_Step] = []
    at = 1
    while at < len(expression):
        name, bracket = _NAME.match(expression, at), _BRACKET.match(expression, at)
        match = name or bracket
        if match is None:
            raise PathSyntaxError(f"{expression!r} is not understood at {expression[at:]!r}")
        steps.append(_dotted(match.group(1)) if name else _bracketed(match.group(1), expression))
        at = match.end()
    return Path(expression, tuple(steps))


def _dotted(name: str) -> _Step:
    return _every if name == "*" else lambda document: _member(document, name)


def _bracketed(inside: str, expression: str) -> _Step:
    if inside.strip() == "*":
        return _every
    parts = _PARTS.findall(inside)
    names = [_QUOTED.match(part) for part in parts]
    if parts and all(names):
        keys = [match.group(1) if match.group(1) is not None else match.group(2) for match in names if match]
        if len(keys) == 1:
            return lambda document: _member(document, keys[0])
        return lambda document: {key: _member(document, key) for key in keys}
    return _positions(parts, expression)


def _positions(parts: list[str], expression: str) -> _Step:
    picks: list[int | slice] = []
    for part in parts:
        span = _SLICE.match(part)
        if span:
            low, high = span.groups()
            picks.append(slice(int(low) if low else None, int(high) if high else None))
        elif re.fullmatch(r"\s*-?\d+\s*", part):
            picks.append(int(part))
        else:
            raise PathSyntaxError(f"{expression!r} is not understood at {part!r}")
    if not picks:
        raise PathSyntaxError(f"{expression!r} has an empty selector")
    if len(picks) == 1 and isinstance(picks[0], int):
        only = picks[0]
        return lambda document: _item(document, only)
    return lambda document: _items(document, picks)


def _member(document: Any, key: str) -> Any:
    if not isinstance(document, dict) or key not in document:
        raise PathLookupError(f"no member {key!r}")
    return document[key]


def _item(document: Any, index: int) -> Any:
    if not isinstance(document, list) or not -len(document) <= index < len(document):
        raise PathLookupError(f"no item {index}")
    return document[index]


def _items(document: Any, picks: list[int | slice]) -> list[Any]:
    if not isinstance(document, list):
        raise PathLookupError("not an array")
    chosen: list[Any] = []
    for pick in picks:
        if isinstance(pick, int):
            chosen.append(_item(document, pick))
        else:
            chosen.extend(document[pick])
    return chosen


def _every(document: Any) -> list[Any]:
    if isinstance(document, dict):
        return list(document.values())
    if isinstance(document, list):
        return document
    raise PathLookupError("neither an object nor an array")
