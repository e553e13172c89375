"""SageMaker's response stream, held to botocore: the same request, the same payloads, the same errors."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from local.sagemaker.eventstream import CONTENT_TYPE, frame, payload_part, stream_exception
from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.aws.transport import TransportConfig
from tollgate.adapters.sagemaker.stream import SageMakerStream
from tollgate.domain.catalogue import InferenceType, Road
from tollgate.domain.errors import BackendError, BackendTimeoutError, CapacityError, ModelFailedError

ROAD = Road(
    inference_type=InferenceType.REALTIME,
    target="chat",
    instance_type="ml.m5.large",
    usd_per_hour=None,
    target_variant="champion",
    inference_component="ic-1",
)
BODY = b'{"messages": [], "stream": true}'
PARTS = (b"data: {}\n", b"", "zwölf".encode(), b"x" * 5_000)
# The signature is held to botocore's in test_wire_format; here other tests may have left boto3 other credentials.
SIGNATURE = {"x-amz-date", "authorization", "x-amz-security-token"}
FRAME = {"user-agent", "content-length", "connection", "accept-encoding"}
BOTO_ALONE = {"amz-sdk-invocation-id", "amz-sdk-request", "x-amzn-trace-id"}
HEADERS = {"content-type": CONTENT_TYPE}


def _stream(url: str, **settings: Any) -> SageMakerStream:
    config = TransportConfig(**{"region": "eu-central-1", "sagemaker_runtime_endpoint": url, **settings})
    return SageMakerStream(StreamingTransport(config))


def _pieces(url: str, timeout: float = 5.0) -> list[bytes]:
    return list(_stream(url).open(ROAD, BODY, "application/json", timeout_seconds=timeout, trace="1"))


def _boto_pieces(boto: Any) -> list[bytes]:
    answer = boto.invoke_endpoint_with_response_stream(
        EndpointName="chat",
        Body=BODY,
        ContentType="application/json",
        TargetVariant="champion",
        InferenceComponentName="ic-1",
        CustomAttributes="traceparent=1",
    )
    return [event["PayloadPart"]["Bytes"] for event in answer["Body"]]


def _headers(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in SIGNATURE | FRAME | BOTO_ALONE}


@pytest.mark.parametrize("chunked", [True, False])
def test_the_same_request_and_the_same_payloads(recorder: Any, answer: Any, make_boto: Any, *, chunked: bool) -> None:
    """However the frames are cut on the wire."""
    whole = b"".join(payload_part(part) for part in PARTS)
    recorder.script = [answer(body=whole, headers=HEADERS, chunked=chunked)] * 2
    assert _pieces(recorder.url) == _boto_pieces(make_boto("sagemaker-runtime")) == list(PARTS)
    ours, botos = recorder.requests
    assert (ours.method, ours.target, ours.body) == (botos.method, botos.target, botos.body)
    assert _headers(ours.headers) == _headers(botos.headers)


ERRORS = [
    (stream_exception("ModelStreamError", "died", "StreamBroken"), ModelFailedError),
    (stream_exception("ModelStreamError", "slow", "ModelInvocationTimeExceeded"), BackendTimeoutError),
    (stream_exception("InternalStreamFailure", "oops"), ModelFailedError),
    (frame({":message-type": "error", ":error-code": "Weird", ":error-message": "x"}, b""), BackendError),
    (b"\x00\x00\x00\x20nonsense that is no frame", BackendError),
]


@pytest.mark.parametrize(("data", "error"), ERRORS, ids=["broken", "too long", "internal", "error", "no frame"])
def test_an_error_in_the_stream_comes_after_what_was_sent(
    recorder: Any, answer: Any, data: bytes, error: type[Exception]
) -> None:
    """The pieces before it are delivered."""
    recorder.script = [answer(body=payload_part(b"half") + data, headers=HEADERS)]
    pieces = _stream(recorder.url).open(ROAD, BODY, "application/json", timeout_seconds=5, trace="")
    assert next(pieces) == b"half"
    with pytest.raises(error):
        next(pieces)


@pytest.mark.parametrize(
    ("status", "code", "message", "error"),
    [
        (424, "ModelError", "Received client error (400) from primary", ModelFailedError),
        (400, "ValidationError", "Inference component has no capacity to process this request", CapacityError),
        (503, "ServiceUnavailable", "busy", CapacityError),
    ],
)
def test_an_error_before_the_stream_is_the_same_as_unstreamed(
    recorder: Any, answer: Any, *, status: int, code: str, message: str, error: type[Exception]
) -> None:
    """By the same table, and nothing is tried again."""
    body = f'{{"Message": "{message}", "OriginalStatusCode": 400}}'.encode()
    recorder.script = [answer(status=status, body=body, headers={"x-amzn-ErrorType": code})]
    with pytest.raises(error):
        _pieces(recorder.url)
    assert len(recorder.requests) == 1


def test_a_connection_that_breaks_is_a_time_out(recorder: Any, answer: Any) -> None:
    """Nobody knows how far the model got; it is charged."""
    first = payload_part(b"half")
    recorder.script = [answer(body=first + payload_part(b"more"), headers=HEADERS, cut=len(first))]
    with pytest.raises(BackendTimeoutError):
        _pieces(recorder.url)


def test_no_answer_in_time_is_a_time_out(recorder: Any, answer: Any) -> None:
    """Counted from sending to the last byte."""
    recorder.script = [answer(hang=20.0)]
    began = time.monotonic()
    with pytest.raises(BackendTimeoutError):
        _pieces(recorder.url, timeout=0.3)
    assert time.monotonic() - began < 10


def test_an_endpoint_that_cannot_be_reached_has_no_capacity() -> None:
    """Certainly nothing ran."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CapacityError):
        _pieces(f"http://127.0.0.1:{port}")


@pytest.fixture
def slow_server() -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """Sends a piece each time it is told to, and notices when nobody listens any more."""
    go_on, hung_up = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            piece = payload_part(b"word")
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            go_on.wait(20)
            connection.settimeout(20)
            if connection.recv(1) == b"":
                hung_up.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", go_on, hung_up
    go_on.set()
    thread.join(20)
    listener.close()


def test_a_piece_is_there_before_the_next_is_sent(
    slow_server: tuple[str, threading.Event, threading.Event],
) -> None:
    """And whoever stops reading ends the call, which makes the container stop."""
    url, go_on, hung_up = slow_server
    with closing(_stream(url).open(ROAD, BODY, "application/json", timeout_seconds=20, trace="")) as pieces:
        assert next(pieces) == b"word"
    go_on.set()
    assert hung_up.wait(20)
