"""What is wrong with a body, in JSON's words: pydantic's own are about Python's types."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails, SchemaValidator, ValidationError

from tollgate.domain.errors import InvalidRequestError

MOST_FIELDS = 1_000
"""Fields of an object that has rules. Of each unknown one, pydantic makes an error before it tells of the first."""

_KINDS: Mapping[str, str] = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
}
_WORDS: Mapping[str, str] = {
    "missing": "it is missing",
    "extra_forbidden": "no such field is known",
    "string_pattern_mismatch": "it should match {pattern}",
    "literal_error": "it should be {expected}",
    "enum": "it should be {expected}",
    "greater_than": "it should be above {gt}",
    "greater_than_equal": "it should be {ge} or more",
    "less_than": "it should be below {lt}",
    "less_than_equal": "it should be {le} or less",
    "string_too_short": "it should have {min_length} or more characters",
    "string_too_long": "it should have {max_length} or fewer characters",
    "too_short": "it should have {min_length} or more entries",
    "too_long": "it should have {max_length} or fewer entries",
}
"""By pydantic's type of the fault; the others are told in its own words."""


def refuse_crowds(document: Mapping[str, Any], names: Iterable[str] = ()) -> None:
    """See that a body, and the objects in the fields named, have no more than `MOST_FIELDS` fields each.

    Raises:
        InvalidRequestError: naming the object that has more.
    """
    for name, fields in (("", document), *((name, document.get(name)) for name in names)):
        if isinstance(fields, Mapping) and len(fields) > MOST_FIELDS:
            where = f"Field '{name}'" if name else "The body"
            raise InvalidRequestError(
                f"{where} has {len(fields)} fields; at most {MOST_FIELDS} are read.", param=name or None
            )


def checked_object(document: Any, rules: SchemaValidator) -> dict[str, Any]:
    """A body of a native route, by rules that know no other fields.

    Raises:
        InvalidRequestError: naming the first field at fault and what is expected of it.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    refuse_crowds(document)
    try:
        checked: dict[str, Any] = rules.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        raise InvalidRequestError(f"Field '{param}': {words_of([first])}.", param=param) from None
    return checked


def words_of(faults: Sequence[ErrorDetails]) -> str:
    """What one field should be, without the full stop.

    Args:
        faults: of this field, with their context. Several where it may be of several kinds and is of none: then all
            are named. Otherwise the first one counts.
    """
    fault = faults[0]
    if fault["type"] in _KINDS:
        kinds = dict.fromkeys(_KINDS[other["type"]] for other in faults if other["type"] in _KINDS)
        return f"it should be {' or '.join(kinds)}"
    if fault["type"] in _WORDS:
        limits = {name: _plain(limit) for name, limit in fault.get("ctx", {}).items()}
        return _WORDS[fault["type"]].format_map(limits)
    return fault["msg"]


def _plain(limit: object) -> object:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit
