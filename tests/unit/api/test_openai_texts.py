"""OpenAI's completions and embeddings over fakes."""

import base64
import json
import struct
from typing import Any

import pytest

from tests.fakes.gateway import document
from tests.fakes.openai_calls import (
    events_of,
    openai_gateway,
    sent_by,
)
from tollgate.domain.catalogue import ModelKind


def test_a_completion_continues_one_text() -> None:
    """In Hugging Face's words to the container, in OpenAI's to the client."""
    gateway = openai_gateway()
    details = {"finish_reason": "eos_token", "generated_tokens": 2, "input_length": 3}
    gateway.realtime.answer = json.dumps([{"generated_text": "there hello", "details": details}]).encode()
    body = {"model": "echo", "prompt": ["hello there"], "max_tokens": 5, "service_tier": "priority"}
    answer = gateway.call("POST /v1/completions", body)
    assert sent_by(gateway) == {
        "inputs": "hello there",
        "parameters": {"details": True, "return_full_text": False, "max_new_tokens": 5},
    }
    given = document(answer)
    assert given["object"] == "text_completion"
    assert given["choices"] == [{"index": 0, "text": "there hello", "logprobs": None, "finish_reason": "stop"}]
    assert given["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events = events_of(gateway.call("POST /v1/completions", body | {"stream": True}))
    assert [event["choices"][0]["text"] for event in events] == ["there hello", ""]


@pytest.mark.parametrize(
    ("prompt", "param", "reason"),
    [
        ([1, 2], "prompt[0]", "it should be a text, since what a token means depends on the model"),
        ([[1, 2], [3]], "prompt[0]", "it should be a text, since what a token means depends on the model"),
        ([], "prompt", "1 or more entries"),
        (["a"] * 33, "prompt", "32 or fewer entries"),
    ],
)
def test_prompts_are_texts_and_not_too_many(prompt: list[Any], param: str, reason: str) -> None:
    """Tokens are refused in so many words; nothing is run."""
    gateway = openai_gateway()
    answer = gateway.call("POST /v1/completions", {"model": "echo", "prompt": prompt, "service_tier": "priority"})
    assert answer.status == 400
    error = document(answer)["error"]
    assert error["param"] == param
    assert reason in error["message"]
    assert gateway.realtime.calls == []


def test_embeddings_come_as_numbers_or_packed() -> None:
    """The packed ones are little-endian 32-bit floats; usage that nobody counted says that it is an estimate."""
    gateway = openai_gateway(kind=ModelKind.EMBEDDING)
    gateway.realtime.answer = b"[[1, 0.5], [0, -2]]"
    body = {"model": "echo", "input": ["one", "two"], "service_tier": "priority"}
    plain = document(gateway.call("POST /v1/embeddings", body))
    packed = document(gateway.call("POST /v1/embeddings", body | {"encoding_format": "base64"}))
    assert sent_by(gateway) == {"inputs": ["one", "two"]}
    assert [entry["embedding"] for entry in plain["data"]] == [[1, 0.5], [0, -2]]
    assert [struct.unpack("<2f", base64.b64decode(entry["embedding"])) for entry in packed["data"]] == [
        (1.0, 0.5),
        (0.0, -2.0),
    ]
    assert plain["usage"]["estimated"] is True
    assert plain["usage"]["prompt_tokens"] >= 2


@pytest.mark.parametrize("answer", [b"[[1, 2]]", b'{"echo": 1}', b"[]", b"[[]]", b"[[1e300], [1]]"])
def test_embeddings_that_do_not_fit_their_texts_are_the_models_fault(answer: bytes) -> None:
    """A count that differs must not put vectors beside the wrong texts."""
    gateway = openai_gateway()
    gateway.realtime.answer = answer
    body = {"model": "echo", "input": ["one", "two"], "service_tier": "priority", "encoding_format": "base64"}
    assert gateway.call("POST /v1/embeddings", body).status == 502


@pytest.mark.parametrize(("changes", "param"), [({"input": [1, 2]}, "input[0]"), ({"input": ""}, "input")])
def test_embeddings_of_tokens_or_nothing_are_refused(changes: dict[str, Any], param: str) -> None:
    """The input is at fault."""
    answer = openai_gateway().call("POST /v1/embeddings", {"model": "echo"} | changes)
    assert answer.status == 400
    assert document(answer)["error"]["param"] == param


def test_dimensions_are_for_models_that_have_them() -> None:
    """Refused by name elsewhere, handed on where supported."""
    body = {"model": "echo", "input": "one", "dimensions": 2, "service_tier": "priority"}
    assert document(openai_gateway().call("POST /v1/embeddings", body))["error"]["param"] == "dimensions"
    gateway = openai_gateway(supports=frozenset({"dimensions"}))
    gateway.realtime.answer = b"[[1, 2]]"
    assert gateway.call("POST /v1/embeddings", body).status == 200
    assert sent_by(gateway) == {"inputs": ["one"], "parameters": {"dimensions": 2}}
