"""What the bucket tells through EventBridge.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tollgate.domain.errors import InvalidRequestError


class _Object(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    etag: str = ""
    version_id: str = Field(default="", alias="version-id")
    sequencer: str = ""


class _Detail(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    object: _Object


class _ObjectCreated(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    detail: _Detail


def is_object_created(event: Mapping[str, Any]) -> bool:
    """Whether the event tells of a new object."""
    return event.get("source") == "aws.s3" and event.get("detail-type") == "Object Created"


def created_object(event: Mapping[str, Any]) -> tuple[str, str]:
    """The key as the event has it, and what tells this writing of it from others; equal in a doubled event.

    Raises:
        ValidationError: the event is not what S3 sends.
        InvalidRequestError: it does not tell one writing from another.
    """
    found = _ObjectCreated.model_validate(event).detail.object
    version = found.version_id or found.sequencer or found.etag
    if not version:
        raise InvalidRequestError("The event has neither version nor sequencer nor etag.")
    return found.key, version
