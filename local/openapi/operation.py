"""One route, and what the OpenAPI document says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from local.openapi.headers import headers
from local.openapi.links import links, operation_id
from local.openapi.parameters import parameter, path_names
from local.openapi.wording import tag_of

REFERENCE = "#/components/schemas/{model}"
_KEY_ERRORS = (401, 403, 429, 500, 502, 503, 504)
_WHAT: Mapping[int, str] = {
    400: "The request is malformed, or asks for what the model does not support.",
    401: "No valid API key.",
    403: "The key lacks the scope.",
    404: "There is no such thing.",
    409: "Not in this state, or the idempotency key is in use.",
    413: "The body is too large.",
    422: "The deadline cannot be met, or the idempotency key came with another body.",
    429: "Too many requests, or a quota or budget is used up.",
    500: "The gateway failed.",
    502: "The model failed.",
    503: "No capacity, no price, or no storage now.",
    504: "No answer in time; a job goes on.",
}
_RUN_PATHS = (
    "/v1/chat/",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/inferences",
    "/v1/models",
    "/v1/openapi.json",
    "/v1/route",
    "/v1/feedback",
    "/v1/cache",
)
"""Routes of whose calls the gateway keeps a record, or that speak of one."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One route.

    Attributes:
        body: name of the schema of its body, if it has one.
        answer: shape of a good answer; None for any JSON.
        accepted: whether it may answer 202 with a job.
        streams: whether it may answer with an event stream.
        errors: statuses beside those that every route may have.
        query: names of query parameters.
        form: fields of its body, if that is a form.
        raw: whether the answer is a file's content, or leads to it.
        once: whether an idempotency key is obeyed.
    """

    path: str
    method: str
    summary: str
    answer: type[BaseModel] | None
    body: str | None = None
    accepted: bool = False
    streams: bool = False
    errors: Sequence[int] = ()
    query: Sequence[str] = ()
    form: Mapping[str, Any] | None = None
    raw: bool = False
    once: bool = False


def reference(name: str) -> dict[str, str]:
    """Where the schema of this name stands."""
    return {"$ref": REFERENCE.format(model=name)}


def described(operation: Operation) -> dict[str, Any]:
    """The operation as the document has it."""
    found: dict[str, Any] = {
        "operationId": operation_id(operation.method, operation.path),
        "summary": operation.summary,
        "tags": [tag_of(operation.path)],
        "responses": _responses(operation),
    }
    parameters = [parameter(name, "path", operation.path) for name in path_names(operation.path)]
    parameters += [parameter(name, "query", operation.path) for name in operation.query]
    if operation.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference(operation.body)}},
        }
    if operation.form is not None:
        found["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": operation.form}}}
    if operation.accepted or operation.once:
        parameters.append(parameter("Idempotency-Key", "header", operation.path))
    if operation.path == "/v1/inferences" and operation.accepted:
        parameters.append(parameter("Prefer", "header", operation.path))
    if parameters:
        found["parameters"] = parameters
    return found


def error_responses() -> dict[str, Any]:
    """What every error looks like, by its status."""
    content = {"application/json": {"schema": reference("Error")}}
    return {
        str(status): {"description": said, "content": content, "headers": headers(runs=True, content=False)}
        for status, said in _WHAT.items()
    }


def _responses(operation: Operation) -> dict[str, Any]:
    good = {} if operation.answer is None else reference(operation.answer.__name__)
    content: dict[str, Any] = {"application/json": {"schema": good}}
    if operation.streams:
        content["text/event-stream"] = {"schema": {"description": "Events, each with a chunk as JSON; [DONE] is last."}}
    if operation.raw:
        content = {"application/octet-stream": {"schema": {"type": "string"}}}
    found: dict[str, Any] = {"200": {"description": "The answer.", "content": content}}
    if operation.raw:
        found["302"] = {"description": "A large file, or one that is no text, is at Location for 15 minutes."}
    if operation.accepted:
        accepted = {"application/json": {"schema": reference("Inference")}}
        found["202"] = {"description": "Accepted as a job; look at Location.", "content": accepted}
    for status, answer in found.items():
        answer["headers"] = headers(runs=operation.path.startswith(_RUN_PATHS), content=operation.raw)
        if follow := links(operation.method, operation.path, status):
            answer["links"] = follow
    for error in sorted({*_KEY_ERRORS, *operation.errors}):
        found[str(error)] = {"$ref": f"#/components/responses/{error}"}
    return found
