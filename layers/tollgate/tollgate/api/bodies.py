"""Native request bodies, checked strictly: an unknown field is a mistake that the caller wants to know about."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tollgate.domain.catalogue import Priority
from tollgate.domain.errors import InvalidRequestError

_MAX_METADATA = 16


class InferenceBody(BaseModel):
    """Body of ``POST /v1/inferences`` and ``POST /v1/route``.

    `metadata` follows OpenAI's limits: 16 pairs, keys of 64 and values of 512 characters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Any
    priority: Annotated[Priority | None, Field(strict=False)] = None
    deadline_seconds: Annotated[float | None, Field(gt=0, le=604_800, allow_inf_nan=False)] = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    webhook_url: Annotated[str | None, Field(max_length=2048)] = None
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
        Field(max_length=_MAX_METADATA),
    ] = Field(default_factory=dict)


def read_body[Body: BaseModel](kind: type[Body], document: Any) -> Body:
    """Check a document.

    Raises:
        InvalidRequestError: naming the first field at fault and what is expected of it.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(kind.model_fields))
            raise InvalidRequestError(f"Unknown field '{param}'. Known fields: {known}.", param=param) from None
        raise InvalidRequestError(f"Field '{param}': {first['msg']}.", param=param) from None
