"""Keys of providers that speak OpenAI's language: how they are found and renewed, and that nobody sees them."""

import json
from time import monotonic
from typing import Any

import pytest

from tests.contract.aws.provider_world import KEY, PARAMETER, RENEWED, ProviderWorld
from tests.contract.aws.token_backend_cases import token_road
from tollgate.domain.errors import (
    BackendError,
    CapacityError,
)
from tollgate.domain.providers.backend import Provider


def test_the_key_is_kept_for_some_minutes(world: ProviderWorld) -> None:
    """Then read again, for it may have been replaced."""
    for _ in range(3):
        world.invoke()
    assert world.reads == 1
    world.keys = [RENEWED]
    world.clock.advance(301)
    world.invoke()
    assert world.reads == 2
    assert world.calls()[-1].headers["authorization"] == f"Bearer {RENEWED}"


def test_a_replaced_key_is_found_when_the_old_one_is_refused(world: ProviderWorld, answer: Any) -> None:
    """The call is made again, once, since it certainly did not run."""
    world.keys, world.script = [KEY, RENEWED], [answer(401, b'{"error": {"message": "no"}}')]
    world.invoke()
    assert [call.headers["authorization"] for call in world.calls()] == [f"Bearer {KEY}", f"Bearer {RENEWED}"]


def test_a_key_that_is_refused_is_not_shown(world: ProviderWorld, answer: Any) -> None:
    """Nor is the call made again with the same."""
    world.script = [answer(401, json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}}).encode())]
    with pytest.raises(BackendError, match="does not accept the gateway's key") as caught:
        world.invoke()
    assert KEY not in str(caught.value)
    assert len(world.calls()) == 1


def test_a_known_key_outlives_a_parameter_store_that_is_down(world: ProviderWorld, recorder: Any, answer: Any) -> None:
    """What cannot be read now is used on; without any key, nothing is called."""
    world.invoke()
    world.clock.advance(301)
    respond = recorder.otherwise
    recorder.otherwise = lambda request: answer(500) if "x-amz-target" in request.headers else respond(request)
    world.invoke()
    assert len(world.calls()) == 2
    other = token_road("gpt-x", Provider.OPENAI_HTTP, url=f"{recorder.url}/v1", api_key_parameter="/another")
    with pytest.raises(CapacityError):
        world.invoke(road=other)
    assert len(world.calls()) == 2


def test_a_key_that_takes_all_the_time_leaves_the_call_unmade(world: ProviderWorld, recorder: Any, answer: Any) -> None:
    """A call that would be cut at once may cost something, one that was not made costs nothing."""
    respond = recorder.otherwise
    slow = answer(body=json.dumps({"Parameter": {"Value": KEY}}).encode(), hang=20.0)
    recorder.otherwise = lambda request: slow if "x-amz-target" in request.headers else respond(request)
    began = monotonic()
    with pytest.raises(CapacityError):
        world.invoke(timeout=0.3)
    assert monotonic() - began < 10
    assert not world.calls()


def test_a_refused_key_that_cannot_be_read_again_is_refused(world: ProviderWorld, recorder: Any, answer: Any) -> None:
    """The provider's word counts, not the Parameter Store's."""
    world.invoke()
    respond = recorder.otherwise
    recorder.otherwise = lambda request: answer(500) if "x-amz-target" in request.headers else respond(request)
    world.script = [answer(401)]
    with pytest.raises(BackendError, match="does not accept"):
        world.invoke()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"__type": "ParameterNotFound"}'),
        (400, b'{"__type": "AccessDeniedException", "Message": "not you"}'),
        (200, b'{"Parameter": {"Value": ""}}'),
        (200, b'{"Parameter": {"Value": "two\\r\\nlines: x"}}'),
    ],
)
def test_a_key_that_cannot_be_had(status: int, body: bytes, world: ProviderWorld, recorder: Any, answer: Any) -> None:
    """Or sent: nobody is called. The log names the parameter, the caller hears only that something is missing."""
    recorder.otherwise = lambda _request: answer(status, body)
    with pytest.raises(BackendError, match="has no key for this provider") as caught:
        world.invoke()
    assert type(caught.value) is BackendError
    assert PARAMETER not in caught.value.message
    ((level, message, fields),) = world.telemetry.lines
    assert (level, message, fields["parameter"]) == ("ERROR", "provider key cannot be used", PARAMETER)
    assert not world.calls()


def test_without_a_parameter_no_key_is_sent(world: ProviderWorld, recorder: Any) -> None:
    """For servers of one's own that ask for none."""
    world.invoke(road=token_road("m", Provider.OPENAI_HTTP, url=recorder.url))
    (call,) = world.calls()
    assert call.target == "/chat/completions"
    assert "authorization" not in call.headers
    assert world.reads == 0
