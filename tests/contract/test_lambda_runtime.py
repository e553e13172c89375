"""The streaming function's loop against Lambda's Runtime API, over real connections."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from local.streaming.front import function_command, function_environment
from local.streaming.lambda_service import FunctionFailedError, LambdaService
from tollgate.adapters.lambda_runtime import Handle, ResponseStream, RuntimeLoop

ROOT = Path(__file__).parents[2]
SECONDS = 10.0


@pytest.fixture
def service() -> Iterator[LambdaService]:
    with LambdaService() as made:
        yield made


def _answering(service: LambdaService, handle: Handle, times: int = 1) -> threading.Thread:
    def work() -> None:
        with closing(RuntimeLoop(service.address)) as loop:
            for _ in range(times):
                loop.answer_one(handle)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_pieces_arrive_while_the_function_works(service: LambdaService) -> None:
    """The head is read before the second piece is written, and every piece before the next."""
    go_on = threading.Semaphore(0)

    def handle(event: dict[str, Any], stream: ResponseStream) -> None:
        stream.start(201, {"x-said": event["say"]})
        for word in ("one", "", "zwölf"):
            stream.write(word)
            assert go_on.acquire(timeout=SECONDS)

    thread = _answering(service, handle)
    invocation = service.invoke({"say": "hello"}, seconds=SECONDS)
    assert invocation.head() == (201, {"x-said": "hello"})
    pieces = invocation.pieces()
    assert next(pieces) == b"one"
    go_on.release(2)
    assert next(pieces) == "zwölf".encode()
    go_on.release()
    assert list(pieces) == []
    thread.join(SECONDS)
    assert invocation.mode == "streaming"
    assert invocation.content_type == "application/vnd.awslambda.http-integration-response"
    assert invocation.trailer == ("", "")


def test_an_error_before_the_head_is_an_error_of_the_invocation(service: LambdaService) -> None:
    """Without the message, which might hold what the client sent; the next event is answered."""

    def handle(event: dict[str, Any], stream: ResponseStream) -> None:
        if event["bad"]:
            raise ValueError("secret words")
        stream.start(200, {})

    thread = _answering(service, handle, times=2)
    with pytest.raises(FunctionFailedError, match="ValueError") as failed:
        service.invoke({"bad": True}, seconds=SECONDS).head()
    assert "secret" not in str(failed.value)
    assert service.invoke({"bad": False}, seconds=SECONDS).head() == (200, {})
    thread.join(SECONDS)


def test_an_error_after_the_head_is_in_the_trailers(service: LambdaService) -> None:
    """What was written before it is delivered."""

    def handle(_event: dict[str, Any], stream: ResponseStream) -> None:
        stream.start(200, {})
        stream.write("half")
        raise KeyError("x")

    thread = _answering(service, handle)
    invocation = service.invoke({}, seconds=SECONDS)
    assert invocation.head() == (200, {})
    pieces = invocation.pieces()
    assert next(pieces) == b"half"
    with pytest.raises(FunctionFailedError):
        next(pieces)
    thread.join(SECONDS)
    kind, body = invocation.trailer
    assert kind == "Function.KeyError"
    assert '"errorType": "KeyError"' in body


def test_a_client_that_hangs_up_is_noticed(service: LambdaService) -> None:
    """The function goes on, writes into nothing, and takes the next event."""
    noticed = threading.Event()

    def handle(event: dict[str, Any], stream: ResponseStream) -> None:
        stream.start(200, {})
        until = time.monotonic() + (SECONDS if event["long"] else 0)
        while not stream.gone and time.monotonic() < until:
            stream.write("word ")
            time.sleep(0.01)
        if stream.gone:
            noticed.set()

    thread = _answering(service, handle, times=2)
    invocation = service.invoke({"long": True}, seconds=SECONDS)
    invocation.head()
    invocation.hang_up()
    assert noticed.wait(SECONDS)
    assert service.invoke({"long": False}, seconds=SECONDS).head() == (200, {})
    thread.join(SECONDS)


def test_a_function_that_cannot_start_says_so(service: LambdaService) -> None:
    """Lambda is told, and the process ends with the error."""
    invocation = service.invoke({}, seconds=SECONDS)

    def make() -> Handle:
        raise RuntimeError("no settings")

    with pytest.raises(RuntimeError):
        RuntimeLoop(service.address).run(make)
    with pytest.raises(FunctionFailedError, match="RuntimeError"):
        invocation.head()


def test_the_loop_ends_with_the_runtime_api() -> None:
    """There is nothing left to do when it is gone."""
    service = LambdaService()
    address = service.address
    service.close()
    with pytest.raises((OSError, HTTPException)):
        RuntimeLoop(address).run(lambda: lambda _event, _stream: None)


@pytest.mark.parametrize("complete", [True, False])
def test_lambda_starts_the_function_by_its_wrapper(service: LambdaService, *, complete: bool) -> None:
    """The real package: it asks for an event, or says that its settings are missing."""
    task_root = ROOT / "functions" / "streaming"
    layer = str(ROOT / "layers" / "tollgate")
    tables = {f"TABLE_{name}": name for name in ("JOBS", "LEDGER", "CACHE", "REGISTRY")} if complete else {}
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_REGION": "us-east-1",
        "BUCKET": "b",
        "ASYNC_QUEUE_URL": "http://127.0.0.1/q",
        "BATCH_QUEUE_URL": "http://127.0.0.1/q",
        **tables,
        **function_environment(task_root, layer, service.address),
    }
    event = {"httpMethod": "POST", "resource": "/v1/nothing", "requestContext": {"requestId": "r1"}}
    invocation = service.invoke(event, seconds=60)
    command = function_command(task_root, Path(sys.executable))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # noqa: S603 -- our own program
        try:
            if complete:
                status, headers = invocation.head()
                assert status == 404
                assert headers["x-tollgate-request-id"] == "r1"
                assert b'"not_found"' in b"".join(invocation.pieces())
            else:
                with pytest.raises(FunctionFailedError, match="SettingsError"):
                    invocation.head()
        finally:
            process.kill()
