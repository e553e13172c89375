"""SageMaker's `/openai` route: the token as AWS's own generator makes it, the path, and errors in OpenAI's shape."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from copy import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.sagemaker.openai_route import OpenAIRoute
from local.sagemaker.wire import Reply, Request, ServiceError, model_error, validation_error
from tests.contract.aws.conftest import CREDENTIALS, Ours
from tollgate.adapters.aws.credentials import RequestSigner
from tollgate.adapters.aws.errors import AwsError
from tollgate.adapters.aws.http import ClientRuntime
from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.aws.transport import TransportConfig
from tollgate.adapters.sagemaker.openai_route import TOKEN_SECONDS, bearer_token
from tollgate.adapters.sagemaker.realtime import SageMakerRealtime
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.adapters.sagemaker.stream import SageMakerStream
from tollgate.domain.catalogue import InferenceType, Road
from tollgate.domain.errors import BackendError, BackendThrottledError, CapacityError, ModelFailedError

REGION = "eu-central-1"
ROAD = Road(InferenceType.REALTIME, "chat", "ml.m5.large", None, openai_route=True)
BODY = b'{"model": "", "messages": [{"role": "user", "content": "a b"}]}'
HOST = "sagemaker.amazonaws.com"
PREFIX = "sagemaker-api-key-"


def _token() -> str:
    return bearer_token(RequestSigner(REGION, ClientRuntime(None)))


def _signed_url(token: str) -> str:
    return b64decode(token.removeprefix(PREFIX)).decode()


def _invoke(ours: Ours, road: Road = ROAD) -> bytes:
    client = SageMakerRealtime(SageMakerRuntimeClient(ours.transport))
    return client.invoke(road, BODY, "application/json", timeout_seconds=5, trace="1").body


def _stream(url: str) -> list[bytes]:
    config = TransportConfig(region=REGION, sagemaker_runtime_endpoint=url)
    stream = SageMakerStream(StreamingTransport(config))
    return list(stream.open(ROAD, BODY, "application/json", timeout_seconds=5, trace="1"))


def test_the_token_is_what_awss_generator_makes_with_botocore() -> None:
    """A presigned `CallWithBearerToken` for the region: botocore computes the same signature for it."""
    token = _token()
    signed, _, version = _signed_url(token).rpartition("&")
    assert token.startswith(PREFIX)
    assert version == "Version=1"
    unsigned, _, signature = signed.partition("&X-Amz-Signature=")
    url = urlsplit(f"https://{unsigned}")
    query = dict(parse_qsl(url.query))
    key = CREDENTIALS["AWS_ACCESS_KEY_ID"]
    assert (url.netloc, url.path) == (HOST, "/")
    assert query == {
        "Action": "CallWithBearerToken",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key}/{query['X-Amz-Date'][:8]}/{REGION}/sagemaker/aws4_request",
        "X-Amz-Date": query["X-Amz-Date"],
        "X-Amz-Expires": str(TOKEN_SECONDS),
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Security-Token": CREDENTIALS["AWS_SESSION_TOKEN"],
    }
    request = AWSRequest(method="POST", url=f"https://{unsigned}", headers={"host": HOST})
    request.context["timestamp"] = query["X-Amz-Date"]
    credentials = Credentials(key, CREDENTIALS["AWS_SECRET_ACCESS_KEY"], CREDENTIALS["AWS_SESSION_TOKEN"])
    signer = SigV4QueryAuth(credentials, "sagemaker", REGION, expires=TOKEN_SECONDS)
    assert signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request) == signature


def test_without_credentials_there_is_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Said as for a call that cannot be signed."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(AwsError) as failed:
        _token()
    assert failed.value.code == "CredentialsError"


@pytest.mark.parametrize(
    ("component", "path"),
    [
        (None, "/endpoints/chat/openai/v1/chat/completions"),
        ("ic/1", "/endpoints/chat/inference-components/ic%2F1/openai/v1/chat/completions"),
    ],
)
def test_the_component_is_in_the_path_and_the_token_in_the_header(
    recorder: Any, answer: Any, ours: Ours, component: str | None, path: str
) -> None:
    """No signature, and none of the headers of `/invocations`, which this route refuses."""
    recorder.script = [answer(body=b'{"choices": []}')]
    assert _invoke(ours, replace(ROAD, inference_component=component)) == b'{"choices": []}'
    (sent,) = recorder.requests
    assert (sent.method, sent.target, sent.body) == ("POST", path, BODY)
    assert sent.headers["authorization"].startswith(f"Bearer {PREFIX}")
    assert not [name for name in sent.headers if name.startswith("x-amz")]


def test_a_stream_comes_without_a_frame(recorder: Any, answer: Any) -> None:
    """The container's own events, as they are."""
    events = b'data: {"choices": []}\n\ndata: [DONE]\n\n'
    recorder.script = [answer(body=events, headers={"content-type": "text/event-stream"}, chunked=True)]
    assert b"".join(_stream(recorder.url)) == events
    assert recorder.requests[0].headers["authorization"].startswith(f"Bearer {PREFIX}")


def _quoting(status: int, said: str) -> dict[str, str]:
    """An error of a container, as users of the route have seen it."""
    message = (
        f'Received client error ({status}) from Kl6NPmsGI with message "{said}". See https://console.example/log '
        "in account 123456789012 for more information."
    )
    return {"message": message, "type": "server_error", "code": "model_error"}


NO_CAPACITY = "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress."
ERRORS: list[tuple[int, dict[str, str], type[Exception]]] = [
    (400, _quoting(400, '{"error": {"message": "max_tokens is too large"}}'), ModelFailedError),
    (400, {"message": NO_CAPACITY, "type": "invalid_request_error", "code": "validation_error"}, CapacityError),
    (400, {"message": "Endpoint chat of account 1 not found.", "code": "validation_error"}, CapacityError),
    (429, {"message": "Rate exceeded", "code": "rate_limit_exceeded"}, BackendThrottledError),
    (503, {"message": "busy", "code": "service_unavailable"}, CapacityError),
    (403, {"message": "not authorized", "code": "access_denied"}, BackendError),
]


@pytest.mark.parametrize(
    ("status", "error", "expected"), ERRORS, ids=["model", "capacity", "missing", "throttle", "busy", "denied"]
)
@pytest.mark.parametrize("streamed", [False, True])
def test_errors_in_openais_shape_have_their_class(
    recorder: Any,
    answer: Any,
    ours: Ours,
    *,
    streamed: bool,
    status: int,
    error: dict[str, str],
    expected: type[Exception],
) -> None:
    """The same as on the other operations, streamed or not."""
    recorder.script = [answer(status=status, body=json.dumps({"error": error}).encode())] * 3
    with pytest.raises(expected) as raised:
        _ = _stream(recorder.url) if streamed else _invoke(ours)
    assert raised.type is expected


def test_a_caller_reads_what_the_container_said_and_nothing_of_the_account(
    recorder: Any, answer: Any, ours: Ours
) -> None:
    """With the container's status, by which it is the caller's fault."""
    recorder.script = [answer(status=400, body=json.dumps({"error": _quoting(422, "too large")}).encode())]
    with pytest.raises(ModelFailedError) as raised:
        _invoke(ours)
    assert raised.value.original_status == 422
    assert raised.value.message == "The model container answered with an error: too large"


class _Runtime:
    """Answers, or fails, as told."""

    def __init__(self, error: ServiceError | None = None) -> None:
        self.asked: list[Request] = []
        self._error = error

    async def invoke(self, _endpoint: str, request: Request) -> Reply:
        self.asked.append(request)
        if self._error is not None:
            raise self._error
        return Reply(200, b"{}")


def _ask(authorization: str, runtime: _Runtime | None = None, header: str = "x-amzn-unknown") -> Reply:
    route = OpenAIRoute(runtime or _Runtime())  # type: ignore[arg-type]  # as much of it as the route uses
    request = Request("POST", "/", {"authorization": authorization, header: "ic-1"}, BODY)
    return asyncio.run(route.answer("chat", "ic-1", request))


def _changed(change: Callable[[str], str]) -> str:
    return PREFIX + b64encode(change(_signed_url(_token())).encode()).decode()


def test_the_stand_in_takes_our_token() -> None:
    """And hands the component on."""
    runtime = _Runtime()
    assert _ask(f"Bearer {_token()}", runtime).status == 200
    assert runtime.asked[0].header("x-amzn-sagemaker-inference-component") == "ic-1"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS4-HMAC-SHA256 Credential=x",
        f"Bearer {PREFIX}???",
        "Bearer sk-something-else",
    ],
)
def test_the_stand_in_takes_nothing_but_a_token(authorization: str) -> None:
    """A signed request is refused, as users of the route have found."""
    assert _ask(authorization).status == 403


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CallWithBearerToken", "InvokeEndpoint"),
        ("sagemaker.amazonaws", "bedrock.amazonaws"),
        ("%2Fsagemaker%2F", "%2Fbedrock%2F"),
        (f"X-Amz-Expires={TOKEN_SECONDS}", "X-Amz-Expires=0"),
        ("&Version=1", ""),
    ],
)
def test_the_stand_in_looks_into_the_token(old: str, new: str) -> None:
    """At all of it but the signature."""
    token = _changed(lambda url: url.replace(old, new))
    assert _signed_url(token) != _signed_url(_token())
    assert _ask(f"Bearer {token}").status == 403


def test_the_stand_in_reports_errors_in_openais_shape() -> None:
    """Which the adapter reads back: the two are held together here."""
    refused = _ask(f"Bearer {_token()}", header="x-amzn-sagemaker-inference-component")
    assert refused.status == 400
    assert isinstance(refused.body, bytes)
    assert json.loads(refused.body)["error"]["code"] == "validation_error"
    failed = _ask(f"Bearer {_token()}", _Runtime(model_error(422, "bad input", log_arn="arn:log")))
    assert failed.status == 422
    assert isinstance(failed.body, bytes)
    assert 'message "bad input"' in json.loads(failed.body)["error"]["message"]
    assert _ask(f"Bearer {_token()}", _Runtime(validation_error("no"))).status == 400
