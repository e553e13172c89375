"""Body of ``PUT /v1/cache/{namespace}/{key}``."""

from typing import Any

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as rules

from tollgate.api.faults import checked_object
from tollgate.domain.cache.retrieval import LONGEST_TTL_SECONDS

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
    fields = checked_object(document, _KEEP)
    return fields["value"], fields.get("ttl")
