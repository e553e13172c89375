"""What all request bodies of OpenAI's API have in common, and errors that name a field as OpenAI does."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tollgate.domain.catalogue import Priority
from tollgate.domain.errors import InvalidRequestError


class ServiceTier(StrEnum):
    """OpenAI's service tiers, as roads: `flex` is asynchronous, `priority` real-time, the others as the model says."""

    AUTO = "auto"
    DEFAULT = "default"
    FLEX = "flex"
    PRIORITY = "priority"


PRIORITY_OF_TIER: dict[ServiceTier | None, Priority | None] = {
    None: None,
    ServiceTier.AUTO: None,
    ServiceTier.DEFAULT: None,
    ServiceTier.FLEX: Priority.MEDIUM,
    ServiceTier.PRIORITY: Priority.HIGH,
}

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class OpenAIBody(BaseModel):
    """A request body. Fields that are not listed need a deployment that supports them, by their own name."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    service_tier: Annotated[ServiceTier | None, Field(strict=False)] = None
    user: Annotated[str | None, Field(max_length=512)] = None
    safety_identifier: Annotated[str | None, Field(max_length=512)] = None
    prompt_cache_key: Annotated[str | None, Field(max_length=512)] = None
    metadata: Metadata | None = None

    @property
    def additional(self) -> dict[str, Any]:
        """Fields that are not listed, without those that are null."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


class StreamOptions(BaseModel):
    """Options of an event stream."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    include_usage: bool | None = None


def read_openai[Body: OpenAIBody](kind: type[Body], document: Any) -> Body:
    """Check a document.

    Raises:
        InvalidRequestError: naming the first field at fault, as in ``messages[0].role``.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        # Every member of a union reports; the one that got furthest is what the caller meant.
        found = error.errors(include_url=False, include_context=False)
        param, fault = max(
            ((_path(document, entry["loc"]), entry) for entry in found), key=lambda pair: _depth(pair[0])
        )
        if fault["type"] == "missing":
            raise InvalidRequestError(f"Missing required parameter: '{param}'.", param=param) from None
        raise InvalidRequestError(f"Invalid '{param}': {fault['msg']}.", param=param) from None


def _path(document: Any, location: tuple[str | int, ...]) -> str:
    """The place in the document. Members of unions, which pydantic also names on the way, are left out."""
    path = ""
    node = document
    for part in location:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            path += f"[{part}]"
            node = node[part]
        elif isinstance(node, dict) and isinstance(part, str) and (part in node or part == location[-1]):
            path += f".{part}" if path else part
            node = node.get(part)
    return path


def _depth(path: str) -> int:
    return path.count(".") + path.count("[")
