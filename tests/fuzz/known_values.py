"""The served document with values that this stack knows, so that not only refusals are tried."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import requests

from tests.fuzz.coverage_table import Called
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
_FILE = (json.dumps(_LINE) + "\n").encode()
_BATCH = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
_UPLOAD = {"filename": "a.jsonl", "purpose": "batch", "bytes": len(_FILE), "mime_type": "application/jsonl"}
_JOB = {"model": "echo", "input": "hello", "priority": "low"}
_BACKGROUND = {"model": "echo", "input": "hello", "background": True}
_BODIES: Mapping[str, list[Any]] = {
    "/v1/chat/completions": [
        {"model": "echo-cached", "messages": _MESSAGES},
        {"model": "echo-cached", "messages": _MESSAGES, "stream": True, "stream_options": {"include_usage": True}},
    ],
    "/v1/completions": [{"model": "echo-cached", "prompt": "hello"}],
    "/v1/embeddings": [{"model": "minilm", "input": ["hello", "there"]}],
    "/v1/responses": [{"model": "echo-cached", "input": "hello"}, _BACKGROUND],
    "/v1/inferences": [{"model": "assistant", "input": {"messages": _MESSAGES}, "priority": "high"}, _JOB],
    "/v1/route": [{"model": "echo", "input": "hello", "deadline_seconds": 3600}],
    "/v1/cache/lookup": [{"model": "echo-cached", "input": "hello"}],
    "/v1/cache/{namespace}/{key}": [{"value": {"any": "thing"}, "ttl": 60}],
    "/v1/uploads": [_UPLOAD],
}
_TRIES = 5


class KnownValues:
    """Makes one of each thing on a stack by ordinary calls, which are held to the document and counted like any other.

    What has to be called off before it is under way is called off here at once; made-up calls come too late for that.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self.served: Document = requests.get(f"{stack.url}/v1/openapi.json", headers=stack.headers, timeout=30).json()
        self.calls: dict[str, Called] = {}

    def document(self) -> Document:
        """The document as served, with models, bodies, and ids of what was made here for it."""
        document = copy.deepcopy(self.served)
        for name, models in _MODELS.items():
            document["components"]["schemas"][name]["properties"]["model"] = {"type": "string", "enum": models}
        for path, bodies in _BODIES.items():
            for operation in document["paths"][path].values():
                if "requestBody" in operation:
                    content = operation["requestBody"]["content"]["application/json"]
                    content["examples"] = _examples(bodies)
        for path, values in self._made().items():
            for operation in document["paths"][path].values():
                for parameter in operation["parameters"]:
                    if parameter["name"] in values:
                        parameter["examples"] = _examples(values[parameter["name"]])
        return document

    def _made(self) -> Mapping[str, Mapping[str, list[str]]]:
        """Examples of parameters by path."""
        jobs = [self._call("POST", "/v1/inferences", json=_JOB, workflow="fuzzed")["id"] for _ in range(2)]
        responses = [self._call("POST", "/v1/responses", json=_BACKGROUND)["id"] for _ in range(2)]
        files = [self._file() for _ in range(2)]
        batches = [self._call("POST", "/v1/batches", json={**_BATCH, "input_file_id": files[0]})["id"]]
        uploads = [self._call("POST", "/v1/uploads", json=_UPLOAD)["id"] for _ in range(3)]
        answered = self._call("POST", "/v1/inferences", json=_BODIES["/v1/inferences"][0])["id"]
        self._call("POST", "/v1/feedback", json={"inference_id": answered, "model": "assistant", "score": 1})
        self._call("PUT", "/v1/cache/{namespace}/{key}", json={"value": 1}, namespace="fuzzed", key="kept")
        self._called_off("DELETE", "/v1/inferences/{id}", "/v1/inferences", _JOB)
        self._called_off("POST", "/v1/responses/{id}/cancel", "/v1/responses", _BACKGROUND)
        self._called_off("POST", "/v1/batches/{id}/cancel", "/v1/batches", {**_BATCH, "input_file_id": files[0]})
        part = self._call("POST", "/v1/uploads/{id}/parts", id=uploads[2], files={"data": ("a", _FILE)})["id"]
        self._call("POST", "/v1/uploads/{id}/complete", id=uploads[2], json={"part_ids": [part]})
        self._stack.aws("lambda").invoke(
            FunctionName=self._stack.outputs["CapacityFunctionName"], Payload=json.dumps({"task": "rightsize"}).encode()
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

    def _file(self) -> str:
        sent, purpose = {"file": ("a.jsonl", _FILE)}, {"purpose": "batch"}
        return str(self._call("POST", "/v1/files", files=sent, data=purpose)["id"])

    def _called_off(self, method: str, path: str, made_at: str, body: Mapping[str, Any]) -> None:
        """Make something and call it off, again where the queue was faster."""
        for _ in range(_TRIES):
            made = self._call("POST", made_at, json=body)["id"]
            if self._call(method, path, id=made, also=409).get("error") is None:
                return
        raise AssertionError(f"{method} {path} came too late {_TRIES} times")

    def _call(self, method: str, path: str, *, workflow: str = "", also: int = 0, **request: Any) -> Any:
        """The body of an answer, which is a good one or has the status `also`."""
        url, sent = self._stack.url + path, {}
        for name, value in request.items():
            if f"{{{name}}}" in path:
                url = url.replace(f"{{{name}}}", value)
            else:
                sent[name] = value
        headers = {**self._stack.headers, **({"x-tollgate-workflow": workflow} if workflow else {})}
        answer = requests.request(method, url, headers=headers, timeout=30, **sent)
        assert answer.ok or answer.status_code == also, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        self.calls.setdefault(f"{method} {path}", Called()).count(answer.status_code, answer.headers)
        responses = self.served["paths"][path][method.lower()]["responses"]
        if answer.ok:
            schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
            jsonschema.Draft202012Validator({**schema, "components": self.served["components"]}).validate(answer.json())
        return answer.json()


def _examples(values: list[Any]) -> dict[str, Any]:
    return {str(number): {"value": value} for number, value in enumerate(values)}
