"""Vectors asked of a function over the wire: what it gives is taken, and nothing that goes wrong is an error."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.adapters.texts.lambda_sentences import LambdaSentences
from tollgate.services.cache.breaker import FAILURES, REST_SECONDS, CacheBreaker

GOOD = b'{"vector": "AX8="}'


class Asked:
    """The adapter, its clock, and what it told."""

    def __init__(self, transport: Any, *, function: str = "tollgate-sentences") -> None:
        self.clock, self.telemetry = ManualClock(), RecordingTelemetry()
        breaker = CacheBreaker(self.clock)
        self.sentences = LambdaSentences(transport, function, timeout_s=1.0, breaker=breaker, telemetry=self.telemetry)


@pytest.fixture
def asked(ours: Any) -> Asked:
    return Asked(ours.transport)


def test_a_vector_comes_back(asked: Asked, recorder: Any, answer: Callable[..., Any]) -> None:
    """One call that waits for the answer, with the text in it; nothing to tell."""
    recorder.script = [answer(body=GOOD)]
    assert asked.sentences("How?") == b"\x01\x7f"
    (request,) = recorder.requests
    assert request.target == "/2015-03-31/functions/tollgate-sentences/invocations"
    assert request.headers["x-amz-invocation-type"] == "RequestResponse"
    assert asked.telemetry.lines == []


@pytest.mark.parametrize(
    "bad",
    [
        {"body": GOOD, "hang": 20.0},
        {"status": 429, "body": b'{"message": "Rate exceeded"}'},
        {"status": 500},
        {"body": b'{"errorMessage": "no model"}', "headers": {"X-Amz-Function-Error": "Unhandled"}},
        {"body": b"{}"},
        {"body": b"null"},
        {"body": b"no JSON"},
        {"body": b'{"vector": "?"}'},
        {"reset": True},
    ],
    ids=["slow", "throttled", "down", "broken", "empty", "null", "garbage", "no vector", "cut off"],
)
def test_what_goes_wrong_is_no_vector(
    asked: Asked, recorder: Any, answer: Callable[..., Any], bad: dict[str, Any]
) -> None:
    """Asked once, never again for the same lookup; the reason is in the log, the text is not."""
    recorder.script = [answer(**bad)]
    assert asked.sentences("secret words") is None
    assert len(recorder.requests) == 1
    ((level, message, fields),) = asked.telemetry.lines
    assert (level, message) == ("WARNING", "no vector of a sentence, so no near match")
    assert fields["problem"]
    assert "secret" not in str(fields)
    assert asked.telemetry.counts == {"CacheNearDown": 1}


def test_after_some_failures_it_is_left_alone(asked: Asked, recorder: Any, answer: Callable[..., Any]) -> None:
    """No call and no line while the breaker is open; one that works closes it."""
    recorder.script = [answer(status=500)] * FAILURES
    for _ in range(FAILURES + 3):
        assert asked.sentences("How?") is None
    assert len(recorder.requests) == len(asked.telemetry.lines) == FAILURES
    asked.clock.advance(REST_SECONDS + 1)
    recorder.script = [answer(body=GOOD)] * 2
    assert [asked.sentences("How?"), asked.sentences("How?")] == [b"\x01\x7f"] * 2


def test_a_stack_without_the_function_says_so(ours: Any, recorder: Any) -> None:
    """The operator asked for sentences and brought no layer: misses, and the reason in the log."""
    asked = Asked(ours.transport, function="")
    assert asked.sentences("How?") is None
    assert "no function" in asked.telemetry.lines[0][2]["problem"]
    assert recorder.requests == []
