"""Whether a JSON value fits a JSON Schema, as far as requests for structured answers use it.

Types, properties, required, items, enum, const, lengths and ranges, and combinations of them: what OpenAI's structured
outputs allow, without references and patterns. An unknown keyword says nothing. A whole validator would add three
packages to every cold start, and patterns from callers can take for ever.
https://json-schema.org/draft/2020-12/json-schema-validation
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

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


def fits(value: Any, schema: Any, depth: int = 0) -> bool:
    """Whether a value fits.

    Args:
        value: from a JSON parser.
        schema: an object, or true or false.
        depth: of nesting so far; below 40 levels everything fits.
    """
    if isinstance(schema, bool) or not isinstance(schema, dict) or depth > _DEEPEST:
        return schema is not False
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_TYPES.get(kind, _anything)(value) for kind in kinds):
        return False
    if "enum" in schema and not any(_same(value, entry) for entry in schema["enum"]):
        return False
    if "const" in schema and not _same(value, schema["const"]):
        return False
    deeper = depth + 1
    return _combined(value, schema, deeper) and _within(value, schema) and _parts_fit(value, schema, deeper)


def _anything(_value: Any) -> bool:
    return True


def _same(value: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _combined(value: Any, schema: Mapping[str, Any], depth: int) -> bool:
    return (
        all(fits(value, part, depth) for part in schema.get("allOf", ()))
        and ("anyOf" not in schema or any(fits(value, part, depth) for part in schema["anyOf"]))
        and ("oneOf" not in schema or sum(fits(value, part, depth) for part in schema["oneOf"]) == 1)
        and ("not" not in schema or not fits(value, schema["not"], depth))
    )


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


def _parts_fit(value: Any, schema: Mapping[str, Any], depth: int) -> bool:
    if isinstance(value, list):
        return all(fits(entry, schema.get("items", True), depth) for entry in value)
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    return all(name in value for name in schema.get("required", ())) and all(
        fits(part, known.get(name, others), depth) for name, part in value.items()
    )
