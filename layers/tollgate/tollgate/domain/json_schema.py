"""Whether a JSON value fits a JSON Schema, as far as requests for structured answers use it.

Types, properties, required, items, enum, const, lengths and ranges, combinations of them, and references within the
schema: what OpenAI's structured outputs allow, without patterns. An unknown keyword says nothing. A whole validator
would add three packages to every cold start, and patterns from callers can take for ever.
https://json-schema.org/draft/2020-12/json-schema-validation
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

MOST_STEPS: Final = 100_000
"""About 0.1 s of a whole core: an answer has been waited for, and paid for."""

_DEEPEST: Final = 40


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
}


class TooManyStepsError(Exception):
    """A schema and a value that would take long to compare: every part of one may meet every part of the other."""


def fits(value: Any, schema: Any) -> bool:
    """Whether a value fits.

    Args:
        value: from a JSON parser.
        schema: an object, or true or false. Below 40 levels of it everything fits.

    Raises:
        TooManyStepsError: nobody can say in `MOST_STEPS` steps.
    """
    return _Comparison(schema).fits(value, schema, 0)


class _Comparison:
    """One value against one schema, in a limited number of steps."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole
        self._left = MOST_STEPS

    def fits(self, value: Any, schema: Any, depth: int) -> bool:
        self._step(1)
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return schema is not False
        wanted, kinds = schema.get("enum", ()), schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        self._step(len(wanted) + len(kinds) + len(schema.get("required", ())))
        if kinds and not any(_TYPES.get(kind, _anything)(value) for kind in kinds):
            return False
        if "enum" in schema and not any(_same(value, entry) for entry in wanted):
            return False
        if "const" in schema and not _same(value, schema["const"]):
            return False
        deeper = depth + 1
        if "$ref" in schema and not self.fits(value, self._referred(schema["$ref"]), deeper):
            return False
        return (
            self._combined(value, schema, deeper) and _within(value, schema) and self._parts_fit(value, schema, deeper)
        )

    def _referred(self, pointer: Any) -> Any:
        """The part of the schema that a pointer (RFC 6901) names; one that leads elsewhere says nothing."""
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            return {}
        found, path = self._whole, pointer.split("/")[1:]
        self._step(len(path))
        for name in path:
            found = found.get(name.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
        return found

    def _step(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise TooManyStepsError

    def _combined(self, value: Any, schema: Mapping[str, Any], depth: int) -> bool:
        return (
            all(self.fits(value, part, depth) for part in schema.get("allOf", ()))
            and ("anyOf" not in schema or any(self.fits(value, part, depth) for part in schema["anyOf"]))
            and ("oneOf" not in schema or sum(self.fits(value, part, depth) for part in schema["oneOf"]) == 1)
            and ("not" not in schema or not self.fits(value, schema["not"], depth))
        )

    def _parts_fit(self, value: Any, schema: Mapping[str, Any], depth: int) -> bool:
        if isinstance(value, list):
            return "items" not in schema or all(self.fits(entry, schema["items"], depth) for entry in value)
        if not isinstance(value, dict):
            return True
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        return all(name in value for name in schema.get("required", ())) and all(
            self.fits(part, known.get(name, others), depth) for name, part in value.items()
        )


def _anything(_value: Any) -> bool:
    return True


def _same(value: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _within(value: Any, schema: Mapping[str, Any]) -> bool:
    if _is_number(value):
        return (
            value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
            and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
            and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        )
    for kind, least, most in ((str, "minLength", "maxLength"), (list, "minItems", "maxItems")):
        if isinstance(value, kind):
            return bool(schema.get(least, 0) <= len(value) <= schema.get(most, len(value)))
    return True
