"""The served document with values that this stack knows, so that not only refusals are tried."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import requests

from tests.local_stack import LocalStack

Document = dict[str, Any]

# Quick models, with a cache and with two sizes; each takes all bodies of its kind.
_MODELS: Mapping[str, list[str]] = {
    "ChatCompletionRequest": ["echo-cached", "assistant"],
    "CompletionRequest": ["echo-cached"],
    "ResponseRequest": ["echo-cached", "assistant"],
    "EmbeddingRequest": ["minilm"],
    "InferenceRequest": ["echo-cached", "echo", "assistant"],
    "FeedbackRequest": ["assistant"],
}
_MESSAGES = [{"role": "user", "content": "hello"}]
_LINE = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "echo", "messages": _MESSAGES},
}
_BODIES: Mapping[str, list[Any]] = {
    "/v1/chat/completions": [
        {"model": "echo-cached", "messages": _MESSAGES},
        {"model": "echo-cached", "messages": _MESSAGES, "stream": True, "stream_options": {"include_usage": True}},
    ],
    "/v1/completions": [{"model": "echo-cached", "prompt": "hello"}],
    "/v1/embeddings": [{"model": "minilm", "input": ["hello", "there"]}],
    "/v1/responses": [
        {"model": "echo-cached", "input": "hello"},
        {"model": "echo", "input": "hello", "background": True},
    ],
    "/v1/inferences": [
        {"model": "assistant", "input": {"messages": _MESSAGES}, "priority": "high"},
        {"model": "echo", "input": "hello", "priority": "low"},
    ],
    "/v1/route": [{"model": "echo", "input": "hello", "deadline_seconds": 3600}],
    "/v1/cache/lookup": [{"model": "echo-cached", "input": "hello"}],
    "/v1/cache/{namespace}/{key}": [{"value": {"any": "thing"}, "ttl": 60}],
    "/v1/uploads": [{"filename": "a.jsonl", "purpose": "batch", "bytes": 5, "mime_type": "application/jsonl"}],
}


def known_document(stack: LocalStack) -> Document:
    """The document as served, with models, bodies, and ids of what was made here for it."""
    found: Document = requests.get(f"{stack.url}/v1/openapi.json", headers=stack.headers, timeout=30).json()
    document = copy.deepcopy(found)
    for name, models in _MODELS.items():
        document["components"]["schemas"][name]["properties"]["model"] = {"type": "string", "enum": models}
    for path, bodies in _BODIES.items():
        for operation in document["paths"][path].values():
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]["application/json"]
                content["examples"] = {str(number): {"value": body} for number, body in enumerate(bodies)}
    for path, values in _made(stack).items():
        for operation in document["paths"][path].values():
            for parameter in operation["parameters"]:
                if parameter["name"] in values:
                    parameter["examples"] = {
                        str(number): {"value": value} for number, value in enumerate(values[parameter["name"]])
                    }
    return document


def _made(stack: LocalStack) -> Mapping[str, Mapping[str, list[str]]]:
    """Examples of parameters by path: things that are there now, more than one of what can be deleted."""
    job = {"model": "echo", "input": "hello", "priority": "low"}
    headers = {"x-tollgate-workflow": "fuzzed"}
    jobs = [_post(stack, "/v1/inferences", json=job, headers=headers)["id"] for _ in range(2)]
    background = {"model": "echo", "input": "hello", "background": True}
    responses = [_post(stack, "/v1/responses", json=background)["id"] for _ in range(2)]
    line = (json.dumps(_LINE) + "\n").encode()
    files = [
        _post(stack, "/v1/files", files={"file": ("a.jsonl", line)}, data={"purpose": "batch"})["id"] for _ in range(2)
    ]
    batch = {"input_file_id": files[0], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batches = [_post(stack, "/v1/batches", json=batch)["id"] for _ in range(2)]
    uploads = [_post(stack, "/v1/uploads", json=_BODIES["/v1/uploads"][0])["id"] for _ in range(3)]
    requests.put(f"{stack.url}/v1/cache/fuzzed/kept", json={"value": 1}, headers=stack.headers, timeout=30)
    stack.aws("lambda").invoke(
        FunctionName=stack.outputs["CapacityFunctionName"], Payload=json.dumps({"task": "rightsize"}).encode()
    )
    return {
        "/v1/inferences/{id}": {"id": jobs},
        "/v1/responses/{id}": {"id": responses},
        "/v1/responses/{id}/cancel": {"id": responses},
        "/v1/files/{id}": {"id": files},
        "/v1/files/{id}/content": {"id": files},
        "/v1/batches/{id}": {"id": batches},
        "/v1/batches/{id}/cancel": {"id": batches},
        "/v1/uploads/{id}/parts": {"id": uploads[:1]},
        "/v1/uploads/{id}/cancel": {"id": uploads[1:2]},
        "/v1/models/{model}": {"model": ["echo"]},
        "/v1/workflows/{id}": {"id": ["fuzzed"]},
        "/v1/cache/{namespace}/{key}": {"namespace": ["fuzzed"], "key": ["kept"]},
        "/v1/cache": {"all": ["true"]},
    }


def _post(stack: LocalStack, path: str, *, headers: Mapping[str, str] | None = None, **request: Any) -> Any:
    answer = requests.post(stack.url + path, headers={**stack.headers, **(headers or {})}, timeout=30, **request)
    assert answer.ok, f"{path}: {answer.status_code} {answer.text[:500]}"
    return answer.json()
