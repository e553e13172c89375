"""What all request bodies of OpenAI's API have in common, and errors that name a field as OpenAI does.

Rules are given to pydantic's core directly, for the sake of the cold start, as in `tollgate.api.bodies`; the OpenAPI
document is generated from the same rules.
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails, SchemaValidator, ValidationError
from pydantic_core import core_schema as rules

from tollgate.api.bodies import MODEL_CHARACTERS
from tollgate.api.faults import refuse_crowds, words_of
from tollgate.api.fields import optional, required
from tollgate.api.openai.plain_chat import MOST_OUTPUT_TOKENS, NAME_CHARACTERS, PRIORITY_OF_TIER
from tollgate.api.wish_rules import WISH_FIELDS, cache_wishes_schema
from tollgate.api.wishes import OBJECTS
from tollgate.domain.errors import InvalidRequestError

Body = Mapping[str, Any]
Fields = dict[str, rules.TypedDictField]


def one_of(*values: str) -> rules.CoreSchema:
    """One of these words."""
    return rules.literal_schema(list(values))


def list_of(schema: rules.CoreSchema, *, least: int = 0, most: int | None = None) -> rules.CoreSchema:
    """A list, read up to its first fault: to tell all of a large body's would take the gateway longer than it has."""
    return rules.list_schema(schema, min_length=least or None, max_length=most, fail_fast=True)


def json_object() -> rules.CoreSchema:
    """Any JSON object."""
    return rules.dict_schema(rules.str_schema(), rules.any_schema())


def open_object(name: str, fields: Fields) -> rules.CoreSchema:
    """An object with these fields and possibly others. `name` is its name in the OpenAPI document."""
    return rules.typed_dict_schema(
        fields, extra_behavior="allow", ref=name, config=rules.CoreConfig(strict=True, title=name)
    )


_SHORT = rules.str_schema(max_length=NAME_CHARACTERS)

COMMON_FIELDS: Fields = {
    "model": required(rules.str_schema(min_length=1, max_length=MODEL_CHARACTERS)),
    "service_tier": optional(one_of(*filter(None, PRIORITY_OF_TIER))),
    "user": optional(_SHORT),
    "safety_identifier": optional(_SHORT),
    "prompt_cache_key": optional(_SHORT),
    "metadata": optional(rules.dict_schema(rules.str_schema(max_length=64), _SHORT, max_length=16, fail_fast=True)),
    "cache": optional(cache_wishes_schema()),
    **WISH_FIELDS,
}
"""Fields of every body. None of them reaches a container."""

STREAM_FIELDS: Fields = {
    "stream": optional(rules.bool_schema()),
    "stream_options": optional(open_object("StreamOptions", {"include_usage": optional(rules.bool_schema())})),
}

SAMPLING_FIELDS: Fields = {
    "max_tokens": optional(rules.int_schema(ge=1, le=MOST_OUTPUT_TOKENS)),
    "temperature": optional(rules.float_schema(ge=0, le=2, allow_inf_nan=False)),
    "top_p": optional(rules.float_schema(gt=0, le=1, allow_inf_nan=False)),
    "stop": optional(rules.union_schema([rules.str_schema(), list_of(rules.str_schema(), most=4)])),
    "seed": optional(rules.int_schema(ge=-(2**63), le=2**63 - 1)),
    "n": optional(rules.int_schema(ge=1, le=128)),
    "logit_bias": optional(rules.dict_schema(rules.str_schema(), rules.float_schema(ge=-100, le=100), fail_fast=True)),
    "frequency_penalty": optional(rules.float_schema(ge=-2, le=2)),
    "presence_penalty": optional(rules.float_schema(ge=-2, le=2)),
}

_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "stop": ([],),
    "n": (1,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
}
"""What clients like to send although it asks for nothing."""


def optional_parameters(body: Body, handled: frozenset[str], nothing: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The parameters that a container must support: all that are given, are not `handled`, and ask for something.

    Args:
        body: a checked body.
        handled: names of the fields that every container takes, or none.
        nothing: values that ask for nothing, by name, beside those of sampling.
    """
    return {
        name: value
        for name, value in body.items()
        if value is not None
        and name not in handled
        and value not in nothing.get(name, ())
        and value not in _NOTHING.get(name, ())
    }


class DocumentReader:
    """Checks JSON objects of one kind against `schema`. Fields that are not listed pass."""

    def __init__(self, name: str, fields: Fields) -> None:
        self.name = name
        self.schema = open_object(name, fields)
        self._validator = SchemaValidator(self.schema)

    def read(self, document: Any) -> Body:
        """Check a document.

        Raises:
            InvalidRequestError: naming a field at fault, as in ``messages[0].role``.
        """
        if not isinstance(document, dict):
            raise InvalidRequestError("The body must be a JSON object.")
        refuse_crowds(document, OBJECTS)
        try:
            checked: Body = self._validator.validate_python(document)
        except ValidationError as error:
            raise _refusal(document, error) from None
        return checked


class BodyReader(DocumentReader):
    """Of bodies that name a model. What is not listed, a container must support."""

    def __init__(self, name: str, fields: Fields) -> None:
        super().__init__(name, {**COMMON_FIELDS, **fields})


def _refusal(document: Any, error: ValidationError) -> InvalidRequestError:
    found = [(_path(document, entry), entry) for entry in error.errors(include_url=False)]
    # Every member of a union reports; the one that got furthest, and took the type, is what the caller meant.
    param, fault = max(found, key=lambda pair: (_depth(pair[0]), not pair[1]["type"].endswith("_type")))
    if fault["type"] == "missing":
        return missing_parameter(param)
    alike = [entry for path, entry in found if path == param and entry is not fault]
    return InvalidRequestError(f"Invalid '{param}': {words_of([fault, *alike])}.", param=param)


def missing_parameter(param: str) -> InvalidRequestError:
    """The refusal of a body without this field."""
    return InvalidRequestError(f"Missing required parameter: '{param}'.", param=param)


def _path(document: Any, fault: ErrorDetails) -> str:
    """The place in the document. Members of unions, which pydantic also names on the way, are left out."""
    path = ""
    node = document
    location = fault["loc"]
    for part in location:
        absent = fault["type"] == "missing" and part == location[-1]
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            path += f"[{part}]"
            node = node[part]
        elif isinstance(node, dict) and isinstance(part, str) and (part in node or absent):
            path += f".{part}" if path else part
            node = node.get(part)
    return path


def _depth(path: str) -> int:
    return path.count(".") + path.count("[")
