"""`/openai/v1` of an endpoint and of a component on it, as the unmodified `openai` package sees them with our token."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from tests.integration.sagemaker_standin.conftest import World
from tests.integration.sagemaker_standin.process import until
from tollgate.adapters.aws.credentials import RequestSigner
from tollgate.adapters.aws.http import ClientRuntime
from tollgate.adapters.sagemaker.openai_route import bearer_token

pytestmark = pytest.mark.integration
ENDPOINT = "t-echo-realtime"


def _said(text: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


@contextmanager
def _client(world: World, path: str, key: str | None = None) -> Iterator[OpenAI]:
    base = f"{world.standin.url}/endpoints/{path}/openai/v1"
    with OpenAI(base_url=base, api_key=key or _token(), max_retries=0) as made:
        yield made


def _token() -> str:
    return bearer_token(RequestSigner("us-east-1", ClientRuntime(None)))


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def test_an_endpoint_answers_whole_and_streamed(world: World) -> None:
    """As the container says it."""
    with _client(world, ENDPOINT) as client:
        answer = client.chat.completions.create(model="", messages=_said("one two three"))
        with client.chat.completions.create(model="", messages=_said("one two"), stream=True) as stream:
            pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert answer.choices[0].message.content == "three two one"
    assert pieces == ["two", " one"]


def test_a_component_is_named_in_the_path(world: World) -> None:
    """And reports a lack of capacity in OpenAI's shape."""
    name = f"c-{uuid.uuid4().hex[:10]}"
    world.component(name)
    with _client(world, f"{name}/inference-components/{name}") as client:
        with pytest.raises(openai.BadRequestError, match="has no capacity") as refused:
            client.chat.completions.create(model="", messages=_said("one"))
        assert refused.value.code == "validation_error"
        world.sagemaker.update_inference_component_runtime_config(
            InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": 1}
        )
        until(lambda: world.has_copies(name, 1))
        answer = client.chat.completions.create(model="", messages=_said("one two"))
    assert answer.choices[0].message.content == "two one"


def test_a_containers_error_keeps_its_status(world: World) -> None:
    """Quoted in the message; in the middle of a stream it ends the stream."""
    with _client(world, ENDPOINT) as client:
        with pytest.raises(openai.UnprocessableEntityError, match="Asked to fail"):
            client.chat.completions.create(model="", messages=_said("x _fail=422"))
        with (
            client.chat.completions.create(model="", messages=_said("a b c _break=1"), stream=True) as stream,
            pytest.raises(openai.APIError, match="Asked to break off"),
        ):
            list(stream)


def test_nothing_but_a_token_lets_in(world: World) -> None:
    """Nor does the route serve anything but chats."""
    with _client(world, ENDPOINT, "sk-nobody") as stranger, pytest.raises(openai.PermissionDeniedError):
        stranger.chat.completions.create(model="", messages=_said("x"))
    with _client(world, ENDPOINT) as client, pytest.raises(openai.NotFoundError):
        client.completions.create(model="", prompt="x")
