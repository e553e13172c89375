"""Body of ``PUT /v1/cache/{namespace}/{key}``."""

from typing import Any

from pydantic_core import SchemaValidator, ValidationError
from pydantic_core import core_schema as rules

from tollgate.api.faults import refuse_crowds, words_of
from tollgate.domain.cache.retrieval import LONGEST_TTL_SECONDS
from tollgate.domain.errors import InvalidRequestError

KEEP_SCHEMA = rules.typed_dict_schema(
    {
        "value": rules.typed_dict_field(rules.any_schema()),
        "ttl": rules.typed_dict_field(
            rules.nullable_schema(rules.int_schema(ge=1, le=LONGEST_TTL_SECONDS)), required=False
        ),
    },
    extra_behavior="forbid",
    config=rules.CoreConfig(strict=True),
)
"""The rules as such, for the OpenAPI document."""

_KEEP = SchemaValidator(KEEP_SCHEMA)


def read_kept(document: Any) -> tuple[Any, int | None]:
    """The value to keep, and for how many seconds; None for the usual time.

    Raises:
        InvalidRequestError: naming the first field at fault.
    """
    if isinstance(document, dict):
        refuse_crowds(document)
    try:
        fields = _KEEP.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        raise InvalidRequestError(f"Field '{param or 'body'}': {words_of([first])}.", param=param) from None
    return fields["value"], fields.get("ttl")
