"""Providers that speak OpenAI's language: what is sent, and what their refusals mean."""

import json
import re
import socket
from contextlib import closing
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import Any

import pytest

from tests.contract.aws.conftest import until_noticed
from tests.contract.aws.provider_world import CHAT, COMPLETION, KEY, PARAMETER, ProviderWorld
from tests.contract.aws.token_backend_cases import token_road
from tests.fakes.streams import DONE, chunk, usage_chunk
from tollgate.adapters.aws.errors import AwsConnectionError
from tollgate.adapters.aws.retry import FailureKind
from tollgate.adapters.aws.streaming import LiveConnections
from tollgate.adapters.dialects.openai import OpenAIDialect
from tollgate.adapters.providers import openai_http_calls
from tollgate.adapters.providers.openai_http_request import provider_request
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
)
from tollgate.domain.providers.backend import Provider


def test_a_chat(world: ProviderWorld) -> None:
    """With the gateway's key, the provider's model and a limit, and nothing of the caller's."""
    parsed = OpenAIDialect().parse(world.invoke())
    assert parsed.output == {"text": "there", "finish_reason": "stop"}
    assert parsed[1:] == (3, 9, 2, 8)
    (call,) = world.calls()
    assert (call.method, call.target) == ("POST", "/v1/chat/completions")
    assert json.loads(call.body) == {**CHAT, "model": "gpt-x", "max_tokens": 500}
    assert set(call.headers) == {"host", "content-type", "content-length", "accept", "user-agent", "authorization"}
    assert call.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 900, "max_completion_tokens": 800}, 500),
        ({"max_tokens": None}, 500),
        ({"max_tokens": "many"}, 500),
    ],
)
def test_the_limit_of_output(given: dict[str, Any], sent: int, world: ProviderWorld) -> None:
    """Is always sent, once, and never more than the deployment's."""
    world.invoke(CHAT | given)
    (call,) = world.calls()
    assert json.loads(call.body) == {**CHAT, "model": "gpt-x", "max_tokens": sent}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.openai.com", "max_completion_tokens"),
        ("eu.api.openai.com", "max_completion_tokens"),
        ("mine.openai.azure.com", "max_completion_tokens"),
        ("api.example.com", "max_tokens"),
    ],
)
def test_the_limit_has_the_name_that_the_provider_knows(host: str, name: str, world: ProviderWorld) -> None:
    """OpenAI's newer models refuse what others' know alone."""
    assert world.road.tokens is not None
    request = provider_request(world.road.tokens, "m", host, json.dumps(CHAT | {"max_tokens": 5}).encode())
    assert json.loads(request.body) == {**CHAT, "model": "m", name: 5}


@pytest.mark.parametrize(
    ("body", "path", "sent"),
    [
        ({"prompt": "once"}, "/v1/completions", {"prompt": "once", "max_tokens": 500}),
        ({"input": ["a", "b"]}, "/v1/embeddings", {"input": ["a", "b"]}),
    ],
)
def test_the_path_follows_from_the_body(body: Any, path: str, sent: Any, world: ProviderWorld) -> None:
    """As the dialect tells OpenAI's bodies apart."""
    world.invoke(body)
    (call,) = world.calls()
    assert (call.target, json.loads(call.body)) == (path, {**sent, "model": "gpt-x"})


def test_a_stream(world: ProviderWorld, answer: Any) -> None:
    """Passed on as it comes, and asked to end with what it used."""
    events = b"".join([chunk("Grüß"), chunk(" Gott"), chunk(None, "stop"), usage_chunk(5, 2), DONE])
    world.script = [answer(body=events, chunked=True)]
    assert b"".join(world.stream()) == events
    (call,) = world.calls()
    sent = json.loads(call.body)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})
    assert call.headers["accept"] == "text/event-stream"


REFUSALS: dict[int, type[BackendError]] = {
    302: BackendError,
    400: ModelFailedError,
    402: BackendError,
    403: BackendError,
    404: BackendError,
    408: BackendTimeoutError,
    413: ModelFailedError,
    422: ModelFailedError,
    429: BackendThrottledError,
    500: ModelFailedError,
    502: BackendTimeoutError,
    503: CapacityError,
    504: BackendTimeoutError,
    524: BackendTimeoutError,
    529: CapacityError,
}


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("streamed", [False, True])
def test_refusals(status: int, world: ProviderWorld, answer: Any, *, streamed: bool) -> None:
    """What they mean for the caller and the bill; none is followed or tried again, and none shows the key."""
    said = json.dumps({"error": {"message": f"because of {KEY}", "code": "x"}}).encode()
    world.script = [answer(status, said, {"location": "https://example.com/"})]
    with pytest.raises(REFUSALS[status]) as caught:
        list(world.stream()) if streamed else world.invoke()
    assert type(caught.value) is REFUSALS[status]
    assert KEY not in caught.value.message
    if isinstance(caught.value, ModelFailedError):
        assert caught.value.original_status == status
        assert "because of ***" in caught.value.message
    assert len(world.calls()) == 1


@pytest.mark.parametrize("key", [KEY, "swordfish"])
def test_an_error_inside_a_stream_shows_no_key(key: str, world: ProviderWorld, answer: Any) -> None:
    """Nor the parameter's name, whatever the key looks like, and wherever the bytes are cut."""
    world.keys = [key]
    said = {"error": {"message": f"key {key} of {PARAMETER} has no credit", "code": 402}}
    world.script = [answer(body=chunk("Grüß") + b"data: " + json.dumps(said).encode() + b"\n\n", chunked=True)]
    reader = world.backends.forms(world.road).reader()
    with closing(world.stream()) as pieces:
        *begun, end = (bytes([byte]) for byte in b"".join(pieces).removesuffix(b"\n"))
    for byte in begun:
        reader.feed(byte)
    with pytest.raises(ModelFailedError) as caught:
        reader.feed(end)
    assert caught.value.message == "The model container reports an error: key *** of *** has no credit"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": 7}', b'{"detail": [{"loc": []}]}'])
def test_refusals_that_say_nothing(body: bytes, world: ProviderWorld, answer: Any) -> None:
    """Pages of proxies and the like are not passed on."""
    world.script = [answer(400, body)]
    with pytest.raises(ModelFailedError, match=re.escape("answered with an error (400).")) as caught:
        world.invoke()
    assert caught.value.message.endswith("(400).")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("17", 17),
        ("0.2", 1),
        ("99999", 3600),
        ("9" * 400, 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 2),
        ("1.2.3", 2),
        ("soon", 2),
        ("-5", 2),
    ],
)
def test_the_provider_says_how_long_to_wait(given: str, seconds: int, world: ProviderWorld, answer: Any) -> None:
    """As a number or a date to come; what is neither says nothing."""
    world.script = [answer(429, b"{}", {"Retry-After": given})]
    with pytest.raises(BackendThrottledError) as caught:
        world.invoke()
    assert caught.value.retry_after == seconds


def test_the_provider_says_when_to_come_back(world: ProviderWorld, answer: Any) -> None:
    """By the calendar."""
    world.script = [answer(503, b"{}", {"Retry-After": formatdate(time() + 1800, usegmt=True)})]
    with pytest.raises(CapacityError) as caught:
        world.invoke()
    assert 1700 < (caught.value.retry_after or 0) <= 1800


@pytest.mark.parametrize("failure", [{"reset": True}, {"cut": 3}, {"hang": 20.0}])
def test_what_may_have_run_is_a_time_out(failure: dict[str, Any], world: ProviderWorld, answer: Any) -> None:
    """And is not tried again."""
    world.invoke()
    world.script = [answer(**{"body": json.dumps(COMPLETION).encode(), **failure})]
    with pytest.raises(BackendTimeoutError):
        world.invoke(timeout=1.0)
    assert len(world.calls()) == 2


def test_a_provider_that_cannot_be_reached_has_no_capacity(world: ProviderWorld) -> None:
    """Nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CapacityError):
        world.invoke(road=token_road("m", Provider.OPENAI_HTTP, url=f"http://127.0.0.1:{port}"))


def test_connections_are_used_again(world: ProviderWorld, recorder: Any) -> None:
    """Also after the provider has closed them while they rested."""
    world.invoke()
    world.invoke()
    assert len({call.connection for call in world.calls()}) == 1
    recorder.drop_connections()
    until_noticed(world.backends._calls)
    world.invoke()
    assert len(world.calls()) == 3


def test_what_was_never_sent_is_sent_again_once(world: ProviderWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a resting connection ends just before it is used; a second failure is the caller's to hear of."""
    send, fails = LiveConnections.send, [1, 2]

    def flaky(*call: Any, **settings: Any) -> Any:
        if fails and fails.pop():
            raise AwsConnectionError("ConnectionClosed", "gone", kind=FailureKind.UNSENT)
        return send(*call, **settings)

    monkeypatch.setattr(LiveConnections, "send", flaky)
    with pytest.raises(CapacityError):
        world.invoke()
    fails = [1]
    assert world.invoke()
    assert len(world.calls()) == 1


def test_an_answer_without_end_is_not_read(world: ProviderWorld, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be charged for, so it has the status of an answer that is no good."""
    monkeypatch.setattr(openai_http_calls, "LARGEST_ANSWER", 100)
    world.script = [answer(body=b"x" * 1000)]
    with pytest.raises(ModelFailedError) as caught:
        world.invoke()
    assert caught.value.original_status == HTTPStatus.BAD_GATEWAY


def test_who_hangs_up_ends_the_call(world: ProviderWorld, answer: Any) -> None:
    """The connection with half an answer on it is not used again."""
    events = b"".join([chunk("one")] * 50 + [DONE])
    world.script = [answer(body=events, chunked=True)]
    with closing(world.stream()) as pieces:
        assert next(pieces)
    world.invoke()
    first, second = world.calls()
    assert first.connection != second.connection


def test_nobody_is_called_without_tls(world: ProviderWorld) -> None:
    """But on this machine; with TLS anybody is."""
    assert world.backends._calls._pool("https://api.example.com/v1").endpoint.host == "api.example.com"
    with pytest.raises(BackendError, match="TLS"):
        world.invoke(road=token_road("m", Provider.OPENAI_HTTP, url="http://10.0.0.1/v1"))
