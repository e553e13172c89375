"""What is wrong a hundred thousand times over is refused as quickly as what is wrong once.

A function has 29 seconds and a share of a processor; a body may have millions of entries.
"""

import json
import tracemalloc
from collections.abc import Iterator, Mapping
from time import process_time
from typing import Any

import pytest

from tests.fakes.files_house import FilesHouse
from tests.fakes.gateway import document, proxy_event
from tests.fakes.whole_api import WholeApi
from tollgate.api.feedback_routes import FEEDBACK_SCHEMA
from tollgate.api.http import read_call
from tollgate.api.inference_rules import INFERENCE_SCHEMA
from tollgate.api.openai.chat_body import CHAT
from tollgate.api.openai.file_bodies import COMPLETE_UPLOAD, CREATE_BATCH, CREATE_UPLOAD
from tollgate.api.openai.response_body import RESPONSE, chat_of
from tollgate.api.openai.text_bodies import COMPLETION, EMBEDDING

READERS = [CHAT, COMPLETION, EMBEDDING, RESPONSE, CREATE_BATCH, CREATE_UPLOAD, COMPLETE_UPLOAD]
SCHEMAS = {reader.name: reader.schema for reader in READERS} | {
    "InferenceRequest": INFERENCE_SCHEMA,
    "Feedback": FEEDBACK_SCHEMA,
}


def _within(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        yield node
    for part in node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ():
        yield from _within(part)


def _entries(node: Mapping[str, Any]) -> Any:
    return node.get({"list": "items_schema", "dict": "values_schema"}.get(str(node.get("type")), ""))


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_list_is_searched_for_all_its_faults(name: str) -> None:
    """Wherever entries have rules, they are few, or the first one at fault ends the reading."""
    ruled = [node for node in _within(SCHEMAS[name]) if (_entries(node) or {"type": "any"})["type"] != "any"]
    assert [node for node in ruled if not node.get("fail_fast") and node.get("max_length", 10_000) > 1_000] == []


def test_many_tool_calls_become_one_message_in_time_that_grows_with_their_number() -> None:
    """Ten times as many take ten times as long, rather than a hundred times."""
    calls = [{"type": "function_call", "call_id": str(i), "name": "f", "arguments": "{}"} for i in range(60_000)]
    began = process_time()
    (message,) = chat_of({"model": "echo", "input": calls})["messages"]
    assert process_time() - began < 2
    assert [call["id"] for call in message["tool_calls"]] == [call["call_id"] for call in calls]


@pytest.mark.parametrize("tail", ["; a=b" * 2_000, '; name="' + '\\"; ' * 3_000, "\r\n x" * 3_000])
def test_the_head_of_a_forms_field_is_short(tail: str) -> None:
    """Python reads its parameters in a time that grows with the square of their number."""
    body = f'--x\r\nContent-Disposition: form-data; name="file"{tail}\r\n\r\na\r\n--x--\r\n'
    event = proxy_event("POST /v1/files", body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    answer = FilesHouse().api.respond(read_call(event))
    assert answer.status == 400
    assert "8192 bytes" in document(answer)["error"]["message"]


MANY = {f"{number:x}": 1 for number in range(200_000)}
CROWDS: dict[str, tuple[str, dict[str, Any]]] = {
    "a native body": ("POST /v1/inferences", {"model": "echo", "input": "a", **MANY}),
    "how to trim": ("POST /v1/inferences", {"model": "echo", "input": "a", "trim": MANY}),
    "a cascade": ("POST /v1/chat/completions", {"model": "echo", "messages": [], "cascade": MANY}),
    "what the cache may do": ("POST /v1/embeddings", {"model": "echo", "input": "a", "cache": MANY}),
    "metadata": ("POST /v1/inferences", {"model": "echo", "input": "a", "metadata": MANY}),
    "metadata of a chat": ("POST /v1/chat/completions", {"model": "echo", "messages": [], "metadata": MANY}),
    "parameters of a chat": ("POST /v1/chat/completions", {"model": "echo", "messages": [], **MANY}),
    "feedback": ("POST /v1/feedback", MANY),
    "a value to keep": ("PUT /v1/cache/{namespace}/{key}", {"value": 1, **MANY}),
}


@pytest.mark.parametrize(("route", "body"), CROWDS.values(), ids=CROWDS)
def test_no_object_is_searched_for_all_its_unknown_fields(route: str, body: dict[str, Any]) -> None:
    """Errors of 600,000 of them took five times the function's memory."""
    api, text = WholeApi(), json.dumps(body)
    tracemalloc.start()
    answer = api.call(route, text, path={"namespace": "n", "key": "k"})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status == 400, answer.body[:300]
    assert len(answer.body) < 1_000
    assert most < 80_000_000
