"""Rules of native request bodies, for those with wishes, those with a fault, and the OpenAPI document.

The rules are given to pydantic's core directly. They are the ones that a model of pydantic would come to, and so are
its words for what is wrong, but building a model takes a quarter of a cold start (docs/decisions/0012-cold-start.md).
Importing the core takes another tenth, so `tollgate.api.bodies` comes here only when it has to.
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import SchemaValidator, ValidationError
from pydantic_core import core_schema as rules

from tollgate.api.bodies import (
    LONGEST_DEADLINE_SECONDS,
    METADATA_CHARACTERS,
    METADATA_ENTRIES,
    METADATA_NAME_CHARACTERS,
    MODEL_CHARACTERS,
    URL_CHARACTERS,
)
from tollgate.api.cache_wishes import wishes_of
from tollgate.api.faults import refuse_crowds, words_of
from tollgate.api.fields import optional
from tollgate.api.wish_rules import WISH_FIELDS, cache_wishes_schema
from tollgate.api.wishes import OBJECTS, WISHES, read_wishes
from tollgate.domain.catalogue import Priority
from tollgate.domain.errors import InvalidRequestError
from tollgate.services.requests.plan import InferenceRequest

_INFERENCE_FIELDS = {
    "model": rules.typed_dict_field(rules.str_schema(min_length=1, max_length=MODEL_CHARACTERS)),
    "input": rules.typed_dict_field(rules.any_schema()),
    "priority": optional(rules.enum_schema(Priority, list(Priority), sub_type="str", strict=False)),
    "deadline_seconds": optional(rules.float_schema(gt=0, le=LONGEST_DEADLINE_SECONDS, allow_inf_nan=False)),
    "parameters": rules.typed_dict_field(rules.dict_schema(rules.str_schema()), required=False),
    "webhook_url": optional(rules.str_schema(max_length=URL_CHARACTERS)),
    "metadata": rules.typed_dict_field(
        rules.dict_schema(
            rules.str_schema(max_length=METADATA_NAME_CHARACTERS),
            rules.str_schema(max_length=METADATA_CHARACTERS),
            max_length=METADATA_ENTRIES,
            fail_fast=True,
        ),
        required=False,
    ),
    "cache": optional(cache_wishes_schema()),
    **WISH_FIELDS,
}
INFERENCE_SCHEMA = rules.typed_dict_schema(
    _INFERENCE_FIELDS, extra_behavior="forbid", config=rules.CoreConfig(strict=True)
)
"""The rules as such, for the OpenAPI document."""

_INFERENCE = SchemaValidator(INFERENCE_SCHEMA)


def read_by_rules(document: dict[str, Any], headers: Mapping[str, str]) -> InferenceRequest:
    """Check a body, whatever it holds.

    Raises:
        InvalidRequestError: naming the first field at fault and what is expected of it.
    """
    refuse_crowds(document, OBJECTS)
    try:
        checked = _INFERENCE.validate_python(document)
    except ValidationError as error:
        raise _refusal(error, _INFERENCE_FIELDS) from None
    wishes = read_wishes(checked)
    given = {name: checked[name] for name in checked if name not in WISHES and name != "cache"}
    return InferenceRequest(**given, wishes=wishes, cache=wishes_of(headers, checked.get("cache")))


_FOR_THE_MODEL = "What the model takes, such as max_tokens or temperature, goes into 'parameters'."


def _refusal(error: ValidationError, fields: dict[str, rules.TypedDictField]) -> InvalidRequestError:
    found = error.errors(include_url=False)
    first, place = found[0], found[0]["loc"]
    if not place:
        # Of the object itself, and it is one.
        return InvalidRequestError("The name of a field is no text.")
    if place[0] == "cascade":
        # True, false or an object; both say what they miss, and name themselves on the way. An object was meant as one.
        first = max(found[:2], key=lambda entry: len(entry["loc"]))
        place = ("cascade", *first["loc"][2:])
        if len(place) == 1:
            return InvalidRequestError("Field 'cascade': it should be true, false or an object.", param="cascade")
    param = ".".join(str(part) for part in place) or None
    if first["type"] == "extra_forbidden":
        known = f" Known fields: {', '.join(sorted(fields))}. {_FOR_THE_MODEL}" if len(place) == 1 else ""
        return InvalidRequestError(f"Unknown field '{param}'.{known}", param=param)
    return InvalidRequestError(f"Field '{param}': {words_of([first])}.", param=param)
