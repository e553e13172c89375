"""Answers that a function with 256 MB could not read: refused before they are, and paid for all the same."""

import pytest

from tests.fakes.budgeted_gateway import HELLO, budgeted, counter_of, make_budget
from tests.fakes.gateway import document
from tollgate.domain.answer_limits import MOST_BYTES, MOST_CONTAINERS, MOST_VALUES, MOST_WIDE_BYTES


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
