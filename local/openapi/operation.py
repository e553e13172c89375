"""One route, and what the OpenAPI document says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

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
    words = operation.path.removeprefix("/v1/").replace("{", "").replace("}", "").replace(".", "/").split("/")
    found: dict[str, Any] = {
        "operationId": "_".join([operation.method, *words]),
        "summary": operation.summary,
        "responses": _responses(operation),
    }
    parameters = [
        _parameter(name, "path") for name in ("id", "model", "namespace", "key") if f"{{{name}}}" in operation.path
    ]
    parameters += [_parameter(name, "query") for name in operation.query]
    if operation.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference(operation.body)}},
        }
    if operation.form is not None:
        found["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": operation.form}}}
    if operation.accepted or operation.once:
        parameters.append(_parameter("Idempotency-Key", "header"))
    if operation.path == "/v1/inferences" and operation.accepted:
        parameters.append(_parameter("Prefer", "header"))
    if parameters:
        found["parameters"] = parameters
    return found


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def _responses(operation: Operation) -> dict[str, Any]:
    good = {} if operation.answer is None else reference(operation.answer.__name__)
    content: dict[str, Any] = {"application/json": {"schema": good}}
    if operation.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    if operation.raw:
        content = {"application/octet-stream": {"schema": {"type": "string"}}}
    found: dict[str, Any] = {"200": {"description": "The answer.", "content": content}}
    if operation.raw:
        found["302"] = {"description": "A large file, or one that is no text, is at Location for 15 minutes."}
    if operation.accepted:
        accepted = {"application/json": {"schema": reference("Inference")}}
        found["202"] = {"description": "Accepted as a job; look at Location.", "content": accepted}
    error = {"application/json": {"schema": reference("Error")}}
    for status in sorted({*_KEY_ERRORS, *operation.errors}):
        found[str(status)] = {"description": _WHAT[status], "content": error}
    return found
