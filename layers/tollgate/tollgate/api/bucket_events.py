"""What the bucket tells through EventBridge.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as rules

from tollgate.domain.errors import InvalidRequestError

_TEXT = rules.typed_dict_field(rules.str_schema(), required=False)
_OBJECT = rules.typed_dict_schema(
    {"key": rules.typed_dict_field(rules.str_schema()), "etag": _TEXT, "version-id": _TEXT, "sequencer": _TEXT}
)
_OBJECT_CREATED = SchemaValidator(
    rules.typed_dict_schema(
        {"detail": rules.typed_dict_field(rules.typed_dict_schema({"object": rules.typed_dict_field(_OBJECT)}))}
    )
)


def created_object(event: Mapping[str, Any]) -> tuple[str, str]:
    """The key as the event has it, and what tells this writing of it from others; equal in a doubled event.

    Raises:
        ValidationError: the event is not what S3 sends.
        InvalidRequestError: it does not tell one writing from another.
    """
    found = _OBJECT_CREATED.validate_python(event)["detail"]["object"]
    version = found.get("version-id") or found.get("sequencer") or found.get("etag")
    if not version:
        raise InvalidRequestError("The event has neither version nor sequencer nor etag.")
    return found["key"], version
