"""What can be done next with what an answer names: a job is looked up or cancelled, a file read, run or deleted.

https://spec.openapis.org/oas/v3.1.1.html#link-object
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ID = {"id": "$response.body#/id"}


@dataclass(frozen=True, slots=True)
class Link:
    """One next step.

    Attributes:
        to: method and path of the route.
        parameters: of its path, as runtime expressions.
        body: of the request, with runtime expressions in it; None where it has none, or it is the caller's.
    """

    to: tuple[str, str]
    parameters: Mapping[str, str] = field(default_factory=lambda: _ID)
    body: Mapping[str, Any] | None = None


_JOB = (Link(("get", "/v1/inferences/{id}")), Link(("delete", "/v1/inferences/{id}")))
_ANSWERED = Link(
    ("post", "/v1/feedback"),
    parameters={},
    body={"inference_id": "$response.body#/id", "model": "$response.body#/model", "score": 1},
)
_FILE = (
    Link(("get", "/v1/files/{id}")),
    Link(("get", "/v1/files/{id}/content")),
    Link(
        ("post", "/v1/batches"),
        parameters={},
        body={
            "input_file_id": "$response.body#/id",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
    ),
    Link(("delete", "/v1/files/{id}")),
)
_UPLOAD = (
    Link(("post", "/v1/uploads/{id}/parts")),
    Link(("post", "/v1/uploads/{id}/complete")),
    Link(("post", "/v1/uploads/{id}/cancel")),
)
_NEW_FILE = {"id": "$response.body#/file/id"}
_VALUE = {"namespace": "$request.path.namespace", "key": "$request.path.key"}

LINKS: Mapping[tuple[str, str, str], tuple[Link, ...]] = {
    ("post", "/v1/inferences", "200"): (_ANSWERED,),
    ("post", "/v1/inferences", "202"): _JOB,
    ("post", "/v1/chat/completions", "202"): _JOB,
    ("post", "/v1/completions", "202"): _JOB,
    ("post", "/v1/embeddings", "202"): _JOB,
    ("post", "/v1/responses", "202"): _JOB,
    ("post", "/v1/responses", "200"): (
        Link(("get", "/v1/responses/{id}")),
        Link(("post", "/v1/responses/{id}/cancel")),
    ),
    ("post", "/v1/files", "200"): _FILE,
    ("post", "/v1/uploads", "200"): _UPLOAD,
    ("post", "/v1/uploads/{id}/parts", "200"): (
        Link(
            ("post", "/v1/uploads/{id}/complete"),
            parameters={"id": "$response.body#/upload_id"},
            body={"part_ids": ["$response.body#/id"]},
        ),
    ),
    ("post", "/v1/uploads/{id}/complete", "200"): (
        Link(("get", "/v1/files/{id}"), parameters=_NEW_FILE),
        Link(("get", "/v1/files/{id}/content"), parameters=_NEW_FILE),
        Link(("delete", "/v1/files/{id}"), parameters=_NEW_FILE),
    ),
    ("post", "/v1/batches", "200"): (Link(("get", "/v1/batches/{id}")), Link(("post", "/v1/batches/{id}/cancel"))),
    ("put", "/v1/cache/{namespace}/{key}", "200"): (
        Link(("get", "/v1/cache/{namespace}/{key}"), parameters=_VALUE),
        Link(("delete", "/v1/cache/{namespace}/{key}"), parameters=_VALUE),
    ),
}


def operation_id(method: str, path: str) -> str:
    """The name that generators of clients give to the route's function."""
    words = path.removeprefix("/v1/").replace("{", "").replace("}", "").replace(".", "/").split("/")
    return "_".join([method, *words])


def links(method: str, path: str, status: str) -> dict[str, Any]:
    """The links of an answer by name; empty where nothing follows."""
    found: dict[str, Any] = {}
    for link in LINKS.get((method, path, status), ()):
        name = operation_id(*link.to)
        found[name] = {"operationId": name}
        if link.parameters:
            found[name]["parameters"] = dict(link.parameters)
        if link.body is not None:
            found[name]["requestBody"] = dict(link.body)
    return found
