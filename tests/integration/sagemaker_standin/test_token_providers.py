"""The stand-in as Bedrock and as a provider with OpenAI's API: unmodified clients, and then the gateway's adapters."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import openai
import pytest
from botocore.exceptions import ClientError, EventStreamError
from openai import OpenAI

from tests.contract.aws.token_backend_cases import token_road
from tests.fakes.clock import ManualClock
from tests.fakes.telemetry import RecordingTelemetry
from tests.integration.sagemaker_standin.conftest import World
from tests.integration.sagemaker_standin.process import client
from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dialects.converse import ConverseDialect
from tollgate.adapters.dialects.openai import OpenAIDialect
from tollgate.adapters.providers.token_backends import ProviderBackends
from tollgate.domain.errors import (
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
)
from tollgate.domain.providers.backend import Provider

pytestmark = pytest.mark.integration
MODEL = "t-echo"
KEY = "/tollgate/providers/standin"
PROVIDERS = [Provider.BEDROCK, Provider.OPENAI_HTTP]


def _says(text: str) -> Any:
    return [{"role": "user", "content": [{"text": text}]}]


@pytest.fixture(autouse=True)
def _no_faults(world: World) -> Iterator[None]:
    yield
    world.standin.admin("DELETE", "faults")


@pytest.fixture
def bedrock(world: World) -> Iterator[Any]:
    made = client("bedrock-runtime", world.standin.url)
    yield made
    made.close()


def test_converse(bedrock: Any) -> None:
    """The local model's words, in Converse's shape."""
    answer = bedrock.converse(
        modelId=MODEL,
        system=[{"text": "Be brief."}],
        messages=_says("one two three"),
        inferenceConfig={"maxTokens": 2},
    )
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "three two"}]}
    assert answer["stopReason"] == "max_tokens"
    assert answer["usage"] == {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}


def test_converse_stream(bedrock: Any) -> None:
    """Piece by piece, the usage at the end."""
    events = list(bedrock.converse_stream(modelId=MODEL, messages=_says("one two"))["stream"])
    assert [next(iter(event)) for event in events] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert events[-1]["metadata"]["usage"]["totalTokens"] == 4


@pytest.mark.parametrize(
    "request_",
    [
        {"modelId": "nobody", "messages": _says("x")},
        {"modelId": MODEL, "messages": _says(" ")},
        {"modelId": MODEL, "messages": _says("a") + _says("b")},
        {"modelId": MODEL, "messages": [{"role": "assistant", "content": [{"text": "a"}]}]},
        {"modelId": MODEL, "messages": [{"role": "user", "content": []}]},
        {
            "modelId": MODEL,
            "messages": [{"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": []}}]}],
        },
    ],
)
def test_converse_refuses_what_bedrock_refuses(request_: Any, bedrock: Any) -> None:
    """So that a request which is wrong fails here, too."""
    with pytest.raises(ClientError) as refused:
        bedrock.converse(**request_)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_failures_of_bedrock_on_demand(world: World, bedrock: Any) -> None:
    """Before, after and amid the work."""
    rule = {"op": "converse*", "kind": "error", "status": 429, "code": "ThrottlingException"}
    world.standin.admin("POST", "faults", rule)
    with pytest.raises(bedrock.exceptions.ThrottlingException):
        bedrock.converse(modelId=MODEL, messages=_says("x"))
    world.standin.admin("POST", "faults", {"op": "converse", "kind": "timeout_after_work", "endpoint": MODEL})
    before = len(_runs(world))
    with pytest.raises(bedrock.exceptions.ModelTimeoutException):
        bedrock.converse(modelId=MODEL, messages=_says("x"))
    assert len(_runs(world)) == before + 1
    with pytest.raises(bedrock.exceptions.ModelErrorException):
        bedrock.converse(modelId=MODEL, messages=_says("x _fail=500"))
    broken = bedrock.converse_stream(modelId=MODEL, messages=_says("one two _break=1"))["stream"]
    with closing(broken), pytest.raises(EventStreamError, match="modelStreamErrorException"):
        list(broken)


def test_openais_client(world: World) -> None:
    """Chats whole and streamed, embeddings, and errors in OpenAI's shape."""
    with OpenAI(base_url=f"{world.standin.url}/v1", api_key="sk-any", max_retries=0) as provider:
        answer = provider.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "one two three"}], max_tokens=2
        )
        assert answer.choices[0].message.content == "three two"
        with provider.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "one two"}], stream=True
        ) as stream:
            assert [c.choices[0].delta.content for c in stream if c.choices[0].delta.content] == ["two", " one"]
        assert len(provider.embeddings.create(model=MODEL, input=["a", "b"]).data) == 2
        with pytest.raises(openai.NotFoundError):
            provider.embeddings.create(model="nobody", input="a")
        world.standin.admin(
            "POST", "faults", {"op": "provider", "kind": "error", "status": 401, "code": "invalid_api_key"}
        )
        with pytest.raises(openai.AuthenticationError):
            provider.embeddings.create(model=MODEL, input="a")


def _runs(world: World) -> list[Any]:
    return [run for run in world.standin.admin("GET", "state")["inferences"] if run["endpoint"] == MODEL]


class _Gateway:
    """The gateway's adapters, pointed at the stand-in."""

    def __init__(self, world: World, provider: Provider) -> None:
        config = TransportConfig(
            "us-east-1", bedrock_runtime_endpoint=world.standin.url, ssm_endpoint=world.s3.meta.endpoint_url
        )
        self.backends = ProviderBackends(
            AwsTransport(config, sleep=lambda _seconds: None),
            streaming=lambda: StreamingTransport(config),
            monotonic=ManualClock().monotonic,
            telemetry=RecordingTelemetry(),
        )
        if provider is Provider.BEDROCK:
            self.road, self.dialect = token_road(MODEL), ConverseDialect()
        else:
            self.road = token_road(MODEL, provider, url=f"{world.standin.url}/v1", api_key_parameter=KEY)
            self.dialect = OpenAIDialect()  # type: ignore[assignment]  # both are dialects

    def chat(self, text: str) -> Any:
        body = self.dialect.render(text, {"max_tokens": 20}).body
        answer = self.backends.realtime(self.road).invoke(
            self.road, body, "application/json", timeout_seconds=10, trace=""
        )
        return self.dialect.parse(answer.body)

    def stream(self, text: str) -> Any:
        forms = self.backends.forms(self.road)
        reader = forms.reader()
        body = forms.ask(self.dialect.render(text, {"max_tokens": 20}).body)
        for piece in self.backends.streaming(self.road).open(
            self.road, body, "application/json", timeout_seconds=10, trace=""
        ):
            reader.feed(piece)
        reader.end()
        return self.dialect.parse(reader.whole(reader.usage()))


@pytest.fixture(params=PROVIDERS)
def gateway(request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch) -> _Gateway:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    parameters = client("ssm", world.s3.meta.endpoint_url)
    parameters.put_parameter(Name=KEY, Value="sk-any", Type="SecureString", Overwrite=True)
    parameters.close()
    return _Gateway(world, request.param)


def test_the_gateways_adapters(gateway: _Gateway) -> None:
    """The same answer and the same usage from either, whole or streamed."""
    for parsed in (gateway.chat("one two three"), gateway.stream("one two three")):
        assert parsed.output == {"text": "three two one", "finish_reason": "stop"}
        assert (parsed.input_tokens, parsed.output_tokens) == (3, 3)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, "ThrottlingException", BackendThrottledError),
        (503, "ServiceUnavailableException", CapacityError),
        (400, "ValidationException", ModelFailedError),
        (408, "ModelTimeoutException", BackendTimeoutError),
    ],
)
def test_the_gateways_adapters_meet_failures(
    status: int, code: str, error: type[Exception], gateway: _Gateway, world: World
) -> None:
    """With the same meaning from either."""
    for op in ("converse*", "provider"):
        rule = {"op": op, "kind": "error", "status": status, "code": code, "count": None}
        world.standin.admin("POST", "faults", rule)
    with pytest.raises(error):
        gateway.chat("one")
    with pytest.raises(error):
        gateway.stream("one")


def test_work_whose_answer_is_lost_is_not_done_again(gateway: _Gateway, world: World) -> None:
    """It ran, and is paid for, once."""
    for op in ("converse", "provider"):
        world.standin.admin("POST", "faults", {"op": op, "kind": "abandon"})
    before = len(_runs(world))
    with pytest.raises(BackendTimeoutError):
        gateway.chat("one")
    assert len(_runs(world)) == before + 1
