"""Containers' streams, however SageMaker cuts them, and the whole answers that they amount to."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.streams import DONE, chunk, token, usage_chunk
from tollgate.adapters.dialects.inputs import InputsDialect
from tollgate.adapters.dialects.messages import MessagesDialect
from tollgate.adapters.dialects.openai import OpenAIDialect
from tollgate.adapters.dialects.streaming import ChunkReader, ContainerStreams
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.jobs.job import Usage
from tollgate.ports.streams import Delta

CHAT = b"".join([chunk(role="assistant"), chunk("Grüß"), chunk(" Gott"), chunk(None, "stop"), usage_chunk(5, 2), DONE])
TOKENS = b"".join(
    [token("one"), token(" two"), token("", special=True, ending={"finish_reason": "eos_token", "generated_tokens": 3})]
)


def _read(data: bytes, cuts: Sequence[int] = ()) -> tuple[ChunkReader, list[Delta]]:
    reader, begin = ChunkReader(), 0
    found: list[Delta] = []
    for cut in [*sorted(cuts), len(data)]:
        found += reader.feed(data[begin:cut])
        begin = cut
    found += reader.end()
    return reader, found


def _text(deltas: list[Delta]) -> str:
    return "".join(delta.fields.get("content") or "" for delta in deltas)


@given(cuts=st.lists(st.integers(0, len(CHAT)), max_size=12))
def test_a_chat_reads_the_same_however_it_is_cut(cuts: list[int]) -> None:
    """Also in the middle of a character."""
    reader, deltas = _read(CHAT, cuts)
    assert _text(deltas) == "Grüß Gott"
    assert deltas[-1].finish_reason == "stop"
    assert reader.usage() == Usage(5, 2)
    parsed = MessagesDialect().parse(reader.whole(reader.usage()))
    assert parsed.output == {"text": "Grüß Gott", "finish_reason": "stop"}
    assert (parsed.input_tokens, parsed.output_tokens) == (5, 2)


@given(cuts=st.lists(st.integers(0, len(TOKENS)), max_size=12))
def test_tokens_read_the_same_however_they_are_cut(cuts: list[int]) -> None:
    """Hugging Face's words become OpenAI's; special tokens make no text."""
    reader, deltas = _read(TOKENS, cuts)
    assert _text(deltas) == "one two"
    assert deltas[-1].finish_reason == "stop"
    assert reader.usage() == Usage(None, 3)
    parsed = InputsDialect().parse(reader.whole(Usage(9, 3)))
    assert parsed.output[0]["generated_text"] == "one two"
    assert (parsed.input_tokens, parsed.output_tokens) == (9, 3)


def test_lines_of_json_are_a_stream_as_well() -> None:
    """DJL-LMI's `jsonlines`, without the frame of events."""
    lines = [{"token": {"text": "a"}}, {"token": {"text": "b"}, "details": {"finish_reason": "length"}}]
    _, deltas = _read("".join(json.dumps(line) + "\n" for line in lines).encode())
    assert _text(deltas) == "ab"
    assert deltas[-1].finish_reason == "length"


def test_a_plain_completion_stays_one() -> None:
    """In OpenAI's older kind of chunk."""
    pieces = [{"index": 0, "text": "to"}, {"index": 0, "text": "ll", "finish_reason": "stop"}]
    data = b"".join(b"data: " + json.dumps({"choices": [piece]}).encode() + b"\n\n" for piece in pieces)
    reader, deltas = _read(data)
    assert _text(deltas) == "toll"
    assert OpenAIDialect().parse(reader.whole(reader.usage())).output == {"text": "toll", "finish_reason": "stop"}


def test_tool_calls_are_put_together() -> None:
    """Their arguments come in pieces, and two calls side by side."""
    first = [{"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a"'}}]
    more = [{"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "id": "c2", "function": {"name": "sub"}}]
    reader, _ = _read(chunk(tool_calls=first) + chunk(tool_calls=more) + chunk(None, "tool_calls"))
    output = MessagesDialect().parse(reader.whole(reader.usage())).output
    assert [call["function"]["name"] for call in output["tool_calls"]] == ["add", "sub"]
    assert output["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    assert output["tool_calls"][0]["id"] == "c1"


def test_several_choices_keep_apart() -> None:
    """Each has its text and its end."""
    reader, _ = _read(chunk("a") + chunk("x", index=1) + chunk("b", "stop") + chunk("y", "length", index=1))
    output = MessagesDialect().parse(reader.whole(reader.usage())).output
    assert [(c["text"], c["finish_reason"]) for c in output["choices"]] == [("ab", "stop"), ("xy", "length")]


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {}},
        [{"generated_text": "hi", "details": {"finish_reason": "eos_token"}}],
        {"generated_text": "hi"},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_container_that_does_not_stream_answers_in_one_piece(document: Any, indent: int | None) -> None:
    """In one line or in several; its answer is kept as it came."""
    reader, deltas = _read(json.dumps(document, indent=indent).encode())
    assert _text(deltas) == "hi"
    assert deltas[-1].finish_reason == "stop"
    assert json.loads(reader.whole(Usage())) == document


def test_pieces_are_counted_until_the_container_says_its_tokens() -> None:
    """A greeting and an end are no pieces."""
    reader = ChunkReader()
    reader.feed(chunk(role="assistant") + chunk("a") + chunk("b") + chunk(None, "stop"))
    assert (reader.usage(), reader.pieces) == (Usage(), 2)
    reader.feed(usage_chunk(7, 4))
    assert reader.usage() == Usage(7, 4)


def test_half_an_answer_is_marked_as_such() -> None:
    """So that it is never taken for a complete one."""
    reader = ChunkReader()
    reader.feed(chunk("half"))
    assert MessagesDialect().parse(reader.whole(reader.usage())).output["finish_reason"] == "cut"


@pytest.mark.parametrize(
    "data",
    [
        chunk("half"),
        b"",
        b"data: [DONE]\n\n",
        chunk("x") + b"data: {not json\n\n",
        chunk("x") + b"data: [1]\n\n",
        b"\xff\xfe\n",
        b"no json at all\n",
        chunk("x") + b"data: " + b"[" * 100_000 + b"\n\n",
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_breaks_off_or_makes_no_sense_is_an_error(data: bytes) -> None:
    """The container's fault, with the status of a bad gateway."""
    with pytest.raises(ModelFailedError) as failed:
        _read(data)
    assert failed.value.original_status == 502


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"index": 0, "delta": "x"}]},
        {"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "x"}]}}]},
        {"choices": [{"index": 0, "delta": {"content": 5}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": {}}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [None]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": 5}}]}}]},
        {"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": {"content": 5}}]},
        {"token": {"text": "a"}, "details": "x"},
        {"token": {"text": "a"}, "details": {"finish_reason": ["x"]}},
    ],
)
def test_fields_of_another_kind_are_the_models_failure(document: Any) -> None:
    """Half of the answer may be out by then, so the caller has to hear of it as of any that breaks off."""
    with pytest.raises(ModelFailedError):
        _read(chunk("x") + b"data: " + json.dumps(document).encode() + b"\n\n")


def test_places_of_tool_calls_that_are_no_numbers_do_not_mix_up_the_others() -> None:
    """Calls without a place come in their own order."""
    calls = [{"index": index, "function": {"name": name}} for index, name in ((None, "a"), ("x", "b"), (2, "c"))]
    reader, _ = _read(chunk(tool_calls=calls) + chunk(None, "tool_calls"))
    output = MessagesDialect().parse(reader.whole(reader.usage())).output
    assert [call["function"]["name"] for call in output["tool_calls"]] == ["a", "b", "c"]


def test_lines_that_never_become_a_document_are_not_gathered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one long line is not."""
    monkeypatch.setattr("tollgate.adapters.dialects.streaming._LARGEST_LINE", 1000)
    reader = ChunkReader()
    for _ in range(100):
        reader.feed(b"no json\n")
    with pytest.raises(ModelFailedError, match="without end"):
        reader.feed(b"no json\n" * 100)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"error": {"message": "too long", "code": 400}}, 400),
        ({"error": "overloaded", "error_type": "overloaded"}, 502),
        ({"object": "error", "message": "no", "code": 422}, 422),
    ],
)
def test_an_error_inside_the_stream_is_the_containers_own(document: Any, status: int) -> None:
    """As vLLM and TGI report them: an event."""
    with pytest.raises(ModelFailedError) as failed:
        ChunkReader().feed(b"data: " + json.dumps(document).encode() + b"\n\n")
    assert failed.value.original_status == status


@pytest.mark.parametrize(
    ("body", "added"),
    [
        ({"messages": []}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"prompt": "x"}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"inputs": "x", "parameters": {}}, {"stream": True}),
    ],
)
def test_a_request_asks_for_the_stream(body: dict[str, Any], added: dict[str, Any]) -> None:
    """And for the usage where OpenAI's bodies can."""
    assert json.loads(ContainerStreams().ask(json.dumps(body).encode())) == body | added
