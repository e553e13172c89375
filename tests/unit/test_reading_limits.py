"""What a function with 256 MB could not read: refused before it is; an answer is paid for all the same."""

import json
from time import process_time

import pytest

from tests.fakes.budgeted_gateway import HELLO, budgeted, counter_of, make_budget
from tests.fakes.gateway import document
from tollgate.domain.reading_limits import MOST_BYTES, MOST_CONTAINERS, MOST_VALUES, MOST_WIDE_BYTES, is_crowded


def _list_of(value: bytes, count: int) -> bytes:
    return b"[" + (value + b",") * (count - 1) + value + b"]"


@pytest.mark.parametrize(
    "body",
    [
        _list_of(b"0", MOST_VALUES + 2),
        _list_of(b"{}", MOST_CONTAINERS),
        _list_of(b'{"a":{}}', MOST_CONTAINERS // 2),
        b'"' + b"x" * MOST_BYTES + b'"',
        b'"' + "\N{GRINNING FACE}".encode() + b"x" * MOST_WIDE_BYTES + b'"',
        rb'"\ud83d\ude00' + b"x" * MOST_WIDE_BYTES + b'"',
    ],
    ids=["numbers", "objects", "nested", "bytes", "emoji", "escaped"],
)
def test_an_answer_that_takes_too_much_memory_is_refused_and_charged(body: bytes) -> None:
    """502 with the reason; the container has worked, so its time is spent and nothing stays held."""
    gateway = budgeted(make_budget("1"))
    gateway.realtime.answer = body
    answer = gateway.infer(HELLO)
    assert (answer.status, len(gateway.realtime.calls)) == (502, 1)
    assert "answer has more than" in document(answer)["error"]["message"]
    # OpenAI's clients would send it twice more, and pay each time.
    assert answer.headers["x-should-retry"] == "false"
    assert counter_of(gateway).committed == counter_of(gateway).spent > 0


@pytest.mark.parametrize(
    "body", [_list_of(b"0", MOST_VALUES + 1), _list_of(b"{}", MOST_CONTAINERS - 1)], ids=["numbers", "objects"]
)
def test_what_can_be_read_is_given(body: bytes) -> None:
    """Up to the limits."""
    gateway = budgeted()
    gateway.realtime.answer = body
    assert gateway.infer(HELLO).status == 200


def test_many_embeddings_are_given_packed() -> None:
    """500 of 1,536 numbers can be read, and base64 makes them small enough to be sent."""
    gateway = budgeted()
    gateway.realtime.answer = _list_of(_list_of(b"-0.0123456789012345", 1_536), 500)
    ask = {"model": "echo", "input": ["a"] * 500, "service_tier": "priority"}
    assert gateway.call("POST /v1/embeddings", ask | {"encoding_format": "base64"}).status == 200
    assert document(gateway.call("POST /v1/embeddings", ask))["error"]["code"] == "answer_too_large"


def test_an_answer_that_cannot_be_sent_is_refused_and_charged() -> None:
    """A function that returned it would fail, and nobody would learn why; sent again, it would be paid for again."""
    gateway = budgeted(make_budget("1"))
    gateway.realtime.answer = b'"' + b"x" * 6_000_000 + b'"'
    answer = gateway.infer(HELLO)
    assert (answer.status, document(answer)["error"]["code"]) == (502, "answer_too_large")
    assert "priority 'medium'" in document(answer)["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert counter_of(gateway).committed == counter_of(gateway).spent > 0


@pytest.mark.parametrize("route", ["POST /v1/inferences", "POST /v1/chat/completions", "POST /v1/route"])
@pytest.mark.parametrize("inner", [_list_of(b"[]", MOST_CONTAINERS), _list_of(b"0", MOST_VALUES + 2)])
def test_a_request_that_takes_too_much_memory_is_refused(route: str, inner: bytes) -> None:
    """Before it is read: 6 MB of empty objects take 180 MB."""
    answer = budgeted().call(route, raw=f'{{"model":"echo","input":{inner.decode()}}}')
    assert (answer.status, document(answer)["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("sign", [",", "{", '\\"[', "\\\\"])
def test_a_text_may_have_as_many_signs_as_it_likes(sign: str) -> None:
    """A table with commas, or a program, is one value."""
    text = (sign * (MOST_VALUES + 1))[:3_000_000]
    began = process_time()
    assert budgeted().infer(HELLO | {"input": text}).status in {200, 202}
    assert not is_crowded(json.dumps(["}", text, {"a": text}]).encode())
    assert process_time() - began < 3


def test_quotes_that_end_nowhere_take_no_long_time() -> None:
    """Whatever is no JSON is told so by the parser."""
    began = process_time()
    assert not is_crowded(b'{"' + b'\\"' * 2_000_000 + b"{" * MOST_CONTAINERS)
    assert is_crowded(b"{" * (MOST_CONTAINERS + 1) + b'"' + b'\\"' * 2_000_000)
    assert process_time() - began < 3
