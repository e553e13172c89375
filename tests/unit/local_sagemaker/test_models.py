"""The bodies models speak, through the model that needs nothing."""

import asyncio
import base64
import json
import math
import struct
from typing import Any

import pytest

from local.sagemaker.models import container_for
from local.sagemaker.models.base import Call, ContainerError
from local.sagemaker.models.echo import Echo


def ask(document: Any, content_type: str = "application/json") -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return json.loads(asyncio.run(Echo().invoke(Call(body, content_type))).body)


def events(document: Any) -> list[Any]:
    async def collect() -> bytes:
        call = Call(json.dumps(document).encode())
        return b"".join([piece async for piece in Echo().stream(call)])

    lines = asyncio.run(collect()).decode().split("\n\n")
    assert lines.pop() == ""
    data = [line.removeprefix("data: ") for line in lines]
    return [event if event == "[DONE]" else json.loads(event) for event in data]


CHAT = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two three"}]}


def test_messages_are_answered_with_usage() -> None:
    """OpenAI's body gets OpenAI's shape, with tokens counted."""
    answer = ask(CHAT)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "three two one"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def test_the_token_limit_is_kept_and_said() -> None:
    """An answer cut by its limit ends with `length`."""
    answer = ask(CHAT | {"max_tokens": 2})
    assert answer["choices"][0]["message"]["content"] == "three two"
    assert answer["choices"][0]["finish_reason"] == "length"


def test_inputs_are_answered_with_details() -> None:
    """Hugging Face's body gets its list, with token counts in the details."""
    [answer] = ask({"inputs": "a b c", "parameters": {"max_new_tokens": 2}})
    assert answer["generated_text"] == "c b"
    assert answer["details"] == {"finish_reason": "length", "generated_tokens": 2, "prefill_tokens": 3}


def test_a_chat_streams_the_same_text() -> None:
    """Streamed chunks join to the whole answer; usage comes last when asked for."""
    chunks = events(CHAT | {"stream": True, "stream_options": {"include_usage": True}})
    assert chunks.pop() == "[DONE]"
    assert chunks.pop()["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    deltas = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["delta"].get("content", "") for choice in deltas) == "three two one"
    assert deltas[-1]["finish_reason"] == "stop"
    assert all("usage" not in chunk for chunk in chunks)


def test_inputs_stream_tokens_and_end_with_the_whole() -> None:
    """Each token is an event; only the last carries the text and the details."""
    tokens = events({"inputs": "a b", "stream": True})
    assert [token["token"]["text"] for token in tokens] == ["b", " a"]
    assert [token["generated_text"] for token in tokens] == [None, "b a"]
    assert tokens[-1]["details"]["generated_tokens"] == 2


def test_embeddings_have_length_one_and_both_encodings() -> None:
    """`input` gets OpenAI's list; base64 holds the same numbers; equal texts get equal vectors."""
    answer = ask({"input": ["x y", "z", "x y"]})
    first, second, third = (item["embedding"] for item in answer["data"])
    assert math.isclose(math.hypot(*first), 1)
    assert first == third != second
    assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    packed = ask({"input": "x y", "encoding_format": "base64"})["data"][0]["embedding"]
    numbers = struct.unpack(f"<{len(first)}f", base64.b64decode(packed))
    assert numbers == pytest.approx(first, rel=1e-6)
    assert ask({"inputs": ["x y"]}) == [first]


def test_classification_has_labels_and_no_usage() -> None:
    """The classifier's shape is a list of labels and scores a text."""
    assert ask({"inputs": ["a b", "a"], "_task": "classification"}) == [
        [{"label": "EVEN", "score": 1.0}],
        [{"label": "ODD", "score": 1.0}],
    ]


def test_json_lines_get_one_answer_a_line() -> None:
    """A MultiRecord payload comes back line for line."""

    async def invoke() -> list[bytes]:
        answer = await Echo().invoke(Call(b'{"a":1}\n{"b":2}\n', "application/jsonlines"))
        return answer.body.splitlines()

    assert [json.loads(line) for line in asyncio.run(invoke())] == [{"echo": {"a": 1}}, {"echo": {"b": 2}}]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"not json", "application/json", 400),
        (b"<x/>", "application/xml", 415),
        (b'{"messages": []}', "application/json", 400),
        (b'{"messages": "text"}', "application/json", 400),
        (b'{"inputs": "a", "parameters": {"max_new_tokens": 0}}', "application/json", 400),
        (b'{"inputs": [1]}', "application/json", 400),
        (b'{"_fail": 503}', "application/json", 503),
        (b'{"messages": [{"role": "user", "content": "please _fail=500"}]}', "application/json", 500),
    ],
)
def test_bad_input_has_the_right_status(body: bytes, content_type: str, status: int) -> None:
    """What a container cannot read, or is asked to fail on, has the status a client will see."""
    with pytest.raises(ContainerError) as raised:
        ask(body, content_type)
    assert raised.value.status == status


def test_the_size_knob_pads_the_answer() -> None:
    """Large answers can be asked for."""
    assert len(ask({"inputs": {"text": "a", "_size": 5000}})["padding"]) == 5000


@pytest.mark.parametrize("image", ["tollgate/echo", "tollgate/echo:1", "registry.example/tollgate/echo@sha256:00"])
def test_images_are_known_by_their_last_two_parts(image: str) -> None:
    """A tag, a digest or a registry in front makes no difference, and the container is shared."""
    assert container_for(image) is container_for("tollgate/echo") is not None


@pytest.mark.parametrize("image", ["", "echo", "tollgate/unknown", "other/echo"])
def test_other_images_are_unknown(image: str) -> None:
    """An image that is not hosted here has no container."""
    assert container_for(image) is None
