"""Bedrock's answers, read as botocore reads them, and each of its errors in the words of the domain."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from time import monotonic
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, EventStreamError

from local.sagemaker.eventstream import CONTENT_TYPE, frame
from tests.contract.aws.token_backend_cases import ANSWER, CONVERSE, MODEL, rendered, token_road
from tests.fakes.streams import DONE
from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.aws.transport import TransportConfig
from tollgate.adapters.dialects.converse import ConverseDialect
from tollgate.adapters.providers.bedrock_realtime import BedrockRealtime
from tollgate.adapters.providers.bedrock_stream import BedrockStream, ConverseStreams
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
)
from tollgate.ports.dialects import ParsedAnswer

_MODEL = botocore.session.get_session().get_service_model("bedrock-runtime")
_CALL = _MODEL.operation_model("Converse")
_STREAM: Any = _MODEL.operation_model("ConverseStream")
_EXCEPTIONS = {
    name: shape.name
    for name, shape in _STREAM.get_event_stream_output().members.items()
    if shape.metadata.get("exception")
}

# The class, the status that the caller's answer is made from where there is one, and how many times it was tried.
MEANT: dict[str, tuple[type[BackendError], int | None, int]] = {
    "AccessDeniedException": (BackendError, None, 1),
    "ThrottlingException": (BackendThrottledError, None, 3),
    "ResourceNotFoundException": (BackendError, None, 1),
    "ModelTimeoutException": (BackendTimeoutError, None, 1),
    "InternalServerException": (ModelFailedError, 500, 1),
    "ServiceUnavailableException": (CapacityError, None, 1),
    "ValidationException": (ModelFailedError, 400, 1),
    "ModelNotReadyException": (CapacityError, None, 1),
    "ModelErrorException": (ModelFailedError, 422, 1),
    "ModelStreamErrorException": (ModelFailedError, 422, 1),
}
MEMBERS = {"message": "because", "originalStatusCode": 422, "originalMessage": "because"}


def _invoke(ours: Any, timeout: float = 5.0) -> ParsedAnswer:
    answer = BedrockRealtime(ours.transport).invoke(
        token_road(MODEL), rendered(), "application/json", timeout_seconds=timeout, trace=""
    )
    return ConverseDialect().parse(answer.body)


def _stream(url: str, timeout: float = 5.0) -> Any:
    transport = StreamingTransport(TransportConfig("eu-central-1", bedrock_runtime_endpoint=url))
    body = ConverseStreams().ask(rendered())
    return BedrockStream(transport).open(token_road(MODEL), body, "application/json", timeout_seconds=timeout, trace="")


def _event(kind: str, document: Mapping[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(document).encode())


def _exception(kind: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps(MEMBERS).encode())


def test_every_error_that_bedrock_declares_is_known() -> None:
    """Of the operation, and of its stream; a new one in botocore's model is to be thought about."""
    declared = {shape.name for operation in (_CALL, _STREAM) for shape in operation.error_shapes}
    assert declared | set(_EXCEPTIONS.values()) == set(MEANT)


@pytest.mark.parametrize("code", sorted(shape.name for shape in _CALL.error_shapes))
def test_errors(code: str, recorder: Any, answer: Any, ours: Any, make_boto: Any) -> None:
    """The class says whether the model can have run; only what certainly did not is tried again."""
    (shape,) = (shape for shape in _CALL.error_shapes if shape.name == code)
    status = shape.metadata["error"]["httpStatusCode"]
    failing = answer(status, json.dumps(MEMBERS).encode(), {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/"})
    recorder.otherwise = lambda _request: failing
    expected, original, attempts = MEANT[code]
    with pytest.raises(expected) as caught:
        _invoke(ours)
    assert type(caught.value) is expected
    assert getattr(caught.value, "original_status", None) == original
    assert len(recorder.requests) == attempts
    with pytest.raises(ClientError) as theirs:
        make_boto("bedrock-runtime", retries={"total_max_attempts": 1}).converse(modelId=MODEL, **CONVERSE)
    assert theirs.value.response["Error"]["Code"] == code


@pytest.mark.parametrize("failure", [{"status": 504, "body": b"<html>"}, {"reset": True}, {"cut": 3}])
def test_what_may_have_run_is_a_time_out(failure: dict[str, Any], recorder: Any, answer: Any, ours: Any) -> None:
    """And is not tried again: Bedrock charges for what ran, whoever hears of it."""
    recorder.otherwise = lambda _request: answer(**{"body": json.dumps(ANSWER).encode(), **failure})
    with pytest.raises(BackendTimeoutError):
        _invoke(ours)
    assert len(recorder.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_ends_with_the_time_that_it_was_given(recorder: Any, answer: Any, ours: Any, *, streamed: bool) -> None:
    """The caller's, which is shorter than what a connection may take."""
    recorder.otherwise = lambda _request: answer(body=json.dumps(ANSWER).encode(), hang=20.0)
    began = monotonic()
    with pytest.raises(BackendTimeoutError):
        list(_stream(recorder.url, 0.5)) if streamed else _invoke(ours, 0.5)
    assert monotonic() - began < 10
    assert len(recorder.requests) == 1


ANSWERS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "text": ({}, {"text": "hello", "finish_reason": "stop"}),
    "cut": ({"stopReason": "max_tokens"}, {"text": "hello", "finish_reason": "length"}),
    "filtered": ({"stopReason": "guardrail_intervened"}, {"text": "hello", "finish_reason": "content_filter"}),
    "unheard of": ({"stopReason": "malformed_tool_use"}, {"text": "hello", "finish_reason": "stop"}),
    "call": (
        {
            "stopReason": "tool_use",
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                        {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Köln"}}},
                    ],
                }
            },
        },
        {
            "text": None,
            "finish_reason": "tool_calls",
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}}
            ],
        },
    ),
    "quoted": (
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"text": "As "},
                        {"citationsContent": {"content": [{"text": "said"}], "citations": []}},
                    ],
                }
            }
        },
        {"text": "As said", "finish_reason": "stop"},
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str, recorder: Any, answer: Any, ours: Any, make_boto: Any) -> None:
    """What botocore's client is given, in OpenAI's words."""
    changed, expected = ANSWERS[name]
    document = {**ANSWER, **changed}
    recorder.otherwise = lambda _request: answer(body=json.dumps(document).encode())
    assert _invoke(ours).output == expected
    theirs = make_boto("bedrock-runtime").converse(modelId=MODEL, **CONVERSE)
    assert {theirs[name] == document[name] for name in document} == {True}


def test_tokens_of_the_prompt_cache_are_part_of_the_input(recorder: Any, answer: Any, ours: Any) -> None:
    """Bedrock counts them beside the others; https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html."""
    usage = {
        "inputTokens": 3,
        "outputTokens": 1,
        "totalTokens": 114,
        "cacheReadInputTokens": 100,
        "cacheWriteInputTokens": 10,
    }
    recorder.script = [answer(body=json.dumps({**ANSWER, "usage": usage}).encode())]
    parsed = _invoke(ours)
    assert parsed[1:] == (113, 1, 100, None)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"no JSON", b'{"output": 1, "stopReason": 1}'])
def test_what_is_no_answer_of_converse_is_a_failure(body: bytes) -> None:
    """With the status that says that it may be charged."""
    with pytest.raises(ModelFailedError) as caught:
        ConverseDialect().parse(body)
    assert caught.value.original_status == 502


USAGE = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8, "cacheReadInputTokens": 2}
EVENTS: Sequence[tuple[str, dict[str, Any]]] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s"}}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Grüß"}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": " Gott"}}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "c1", "name": "weather"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"city":'}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '"Köln"}'}}}),
    ("contentBlockStop", {"contentBlockIndex": 2}),
    ("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "c2", "name": "clock"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": ""}}}),
    ("contentBlockStop", {"contentBlockIndex": 3}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 7}}),
]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_is_what_the_whole_answer_would_have_been(
    recorder: Any, answer: Any, make_boto: Any, *, chunked: bool
) -> None:
    """From the same events as botocore's client reads, asked for with the same request."""
    whole = b"".join(_event(kind, document) for kind, document in EVENTS)
    recorder.otherwise = lambda _request: answer(body=whole, headers={"content-type": CONTENT_TYPE}, chunked=chunked)
    theirs = make_boto("bedrock-runtime").converse_stream(modelId=MODEL, **CONVERSE)["stream"]
    assert list(theirs) == [{kind: document} for kind, document in EVENTS]
    reader, pieces = ConverseStreams().reader(), list(_stream(recorder.url))
    assert pieces[-1] == DONE
    assert b'"reasoning_content":null' not in b"".join(pieces)
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    assert "".join(delta.fields.get("content", "") for delta in deltas) == "Grüß Gott"
    reader.end()
    parsed = ConverseDialect().parse(reader.whole(reader.usage()))
    functions = [call["function"] for call in parsed.output.pop("tool_calls")]
    assert functions == [
        {"name": "weather", "arguments": '{"city":"Köln"}'},
        {"name": "clock", "arguments": "{}"},
    ]
    assert parsed.output == {"text": "Grüß Gott", "reasoning_content": "hm", "finish_reason": "tool_calls"}
    assert parsed[1:] == (5, 5, 2, None)
    botos, own = recorder.requests
    assert (own.method, own.target, json.loads(own.body)) == (botos.method, botos.target, json.loads(botos.body))
    assert own.headers["content-type"] == botos.headers["content-type"]


@pytest.mark.parametrize("member", sorted(_EXCEPTIONS))
def test_exceptions_in_a_stream(member: str, recorder: Any, answer: Any, make_boto: Any) -> None:
    """Before the answer each means what it means without a stream; once the model speaks, it has run."""
    begin = _event(*EVENTS[0])
    headers = {"content-type": CONTENT_TYPE}
    recorder.script = [answer(body=_exception(member), headers=headers)]
    expected, original, _ = MEANT[_EXCEPTIONS[member]]
    with pytest.raises(expected) as caught:
        list(_stream(recorder.url))
    assert type(caught.value) is expected
    assert getattr(caught.value, "original_status", None) == original
    recorder.script = [answer(body=begin + _exception(member), headers=headers)] * 2
    with closing(_stream(recorder.url)) as pieces:
        assert b"assistant" in next(pieces)
        with pytest.raises(BackendTimeoutError):
            next(pieces)
    theirs = make_boto("bedrock-runtime").converse_stream(modelId=MODEL, **CONVERSE)["stream"]
    with closing(theirs), pytest.raises(EventStreamError) as said:
        list(theirs)
    assert said.value.response["Error"]["Code"] == member


@pytest.mark.parametrize("rest", [b"", b"\x00\x00\x00\x20nonsense that is no frame", _event("messageStop", {})[:-3]])
def test_a_stream_that_breaks_off_has_run(rest: bytes, recorder: Any, answer: Any) -> None:
    """Whether it ends too soon or turns into something else."""
    body = b"".join(_event(*event) for event in EVENTS[:5]) + rest
    recorder.script = [answer(body=body, headers={"content-type": CONTENT_TYPE})]
    with pytest.raises(BackendTimeoutError):
        list(_stream(recorder.url))


@pytest.mark.parametrize(
    "payload", [b"no JSON", b"[]", b'{"delta": null}', b'{"contentBlockIndex": 2, "delta": {"toolUse": 1}}']
)
def test_events_that_are_none_of_converses(payload: bytes, recorder: Any, answer: Any) -> None:
    """The answer cannot be used, and may be charged."""
    headers = {":event-type": "contentBlockDelta", ":message-type": "event"}
    body = b"".join(_event(*event) for event in EVENTS[:8]) + frame(headers, payload)
    recorder.script = [answer(body=body, headers={"content-type": CONTENT_TYPE})]
    with pytest.raises(ModelFailedError) as caught:
        list(_stream(recorder.url))
    assert caught.value.original_status == 502


def test_an_error_that_the_stream_does_not_declare_goes_by_its_code(recorder: Any, answer: Any) -> None:
    """AWS sends it as an error instead of an exception."""
    headers = {":message-type": "error", ":error-code": "throttlingException", ":error-message": "because"}
    recorder.script = [answer(body=frame(headers, b""), headers={"content-type": CONTENT_TYPE})]
    with pytest.raises(BackendThrottledError):
        list(_stream(recorder.url))


def test_the_arguments_of_a_call_that_never_began_are_left_out(recorder: Any, answer: Any) -> None:
    """There is no name that they could be given to."""
    stray = ("contentBlockDelta", {"contentBlockIndex": 7, "delta": {"toolUse": {"input": "{}"}}})
    events = [EVENTS[0], stray, EVENTS[4], ("messageStop", {"stopReason": "end_turn"})]
    recorder.script = [answer(body=b"".join(_event(*e) for e in events), headers={"content-type": CONTENT_TYPE})]
    assert b"tool_calls" not in b"".join(_stream(recorder.url))


def test_an_error_before_the_stream_is_the_operations(recorder: Any, answer: Any) -> None:
    """By the same table, and nothing is tried again."""
    recorder.script = [answer(429, json.dumps(MEMBERS).encode(), {"x-amzn-ErrorType": "ThrottlingException"})]
    with pytest.raises(BackendThrottledError):
        list(_stream(recorder.url))
    assert len(recorder.requests) == 1
