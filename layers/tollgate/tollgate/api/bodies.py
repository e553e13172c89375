"""Native request bodies, checked strictly: an unknown field is a mistake that the caller wants to know about.

The rules are given to pydantic's core directly. They are the ones that a model of pydantic would come to, and so are
its words for what is wrong, but building a model takes a quarter of a cold start (docs/decisions/0012-cold-start.md).
"""

from typing import Any

from pydantic_core import SchemaValidator, ValidationError
from pydantic_core import core_schema as rules

from tollgate.api.wishes import WISH_FIELDS, read_wishes
from tollgate.domain.catalogue import Priority
from tollgate.domain.errors import InvalidRequestError
from tollgate.services.inference import InferenceRequest

_MAX_METADATA = 16


def _optional(schema: rules.CoreSchema) -> rules.TypedDictField:
    return rules.typed_dict_field(rules.nullable_schema(schema), required=False)


_INFERENCE_FIELDS = {
    "model": rules.typed_dict_field(rules.str_schema(min_length=1, max_length=256)),
    "input": rules.typed_dict_field(rules.any_schema()),
    "priority": _optional(rules.enum_schema(Priority, list(Priority), sub_type="str", strict=False)),
    "deadline_seconds": _optional(rules.float_schema(gt=0, le=604_800, allow_inf_nan=False)),
    "parameters": rules.typed_dict_field(rules.dict_schema(rules.str_schema()), required=False),
    "webhook_url": _optional(rules.str_schema(max_length=2048)),
    # OpenAI's limits for metadata.
    "metadata": rules.typed_dict_field(
        rules.dict_schema(rules.str_schema(max_length=64), rules.str_schema(max_length=512), max_length=_MAX_METADATA),
        required=False,
    ),
    **WISH_FIELDS,
}
INFERENCE_SCHEMA = rules.typed_dict_schema(
    _INFERENCE_FIELDS, extra_behavior="forbid", config=rules.CoreConfig(strict=True)
)
"""The rules as such, for the OpenAPI document."""

_INFERENCE = SchemaValidator(INFERENCE_SCHEMA)


def read_inference(document: Any) -> InferenceRequest:
    """Check the body of ``POST /v1/inferences`` and ``POST /v1/route``.

    Raises:
        InvalidRequestError: naming the first field at fault and what is expected of it.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    try:
        checked = _INFERENCE.validate_python(document)
    except ValidationError as error:
        raise _refusal(error, _INFERENCE_FIELDS) from None
    wishes = read_wishes(checked)
    return InferenceRequest(**{name: checked[name] for name in checked if name not in WISH_FIELDS}, wishes=wishes)


def _refusal(error: ValidationError, fields: dict[str, rules.TypedDictField]) -> InvalidRequestError:
    first = error.errors(include_url=False, include_context=False)[0]
    param = ".".join(str(part) for part in first["loc"]) or None
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(fields))
        return InvalidRequestError(f"Unknown field '{param}'. Known fields: {known}.", param=param)
    return InvalidRequestError(f"Field '{param}': {first['msg']}.", param=param)
