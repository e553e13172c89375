"""The front door over real sockets, in front of a server that says what it was sent."""

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from local.launch.control import free_port
from local.launch.forwarding import Target
from local.launch.front_door import MAX_BODY_BYTES, front_door
from local.launch.layout import HOST
from local.launch.ports import PORTS_PER_STACK
from tests.local_stack import BLOCKS

pytestmark = pytest.mark.integration

# Sessions that start at the same moment begin their search at different ports.
FIRST_PORT = 17_500 + os.getpid() % BLOCKS * PORTS_PER_STACK
AT_ONCE = 400
PART = b"x" * 1000


async def describe(request: web.Request) -> web.StreamResponse:
    """Answers with what arrived."""
    body = await request.read()
    if request.path.endswith("/status"):
        return web.json_response({}, status=429, headers={"Retry-After": "7", "x-tollgate-cost-usd": "0"})
    return web.json_response(
        {"target": request.raw_path, "length": len(body), "headers": {k.lower(): v for k, v in request.headers.items()}}
    )


@asynccontextmanager
async def opened(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[ClientSession]:
    """A client of a front door whose API is the handler."""
    port = free_port(FIRST_PORT)
    application = web.Application(client_max_size=2 * MAX_BODY_BYTES)
    application.router.add_route("*", "/{path:(?s:.*)}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port + 1, backlog=1024).start()
        async with (
            front_door(Target(f"http://{HOST}:{port + 1}", "api", "local"), port),
            ClientSession(f"http://{HOST}:{port}") as client,
        ):
            yield client
    finally:
        await runner.cleanup()


def test_hundreds_of_requests_at_once_each_get_their_own_answer() -> None:
    """Every answer carries its own request's query and body length."""

    async def scenario() -> None:
        async with opened(describe) as client:

            async def one(number: int) -> None:
                async with client.post(f"/v1/inferences?n={number}", data=b"x" * number) as answer:
                    said = await answer.json()
                    assert said["target"] == f"/_aws/execute-api/api/local/v1/inferences?n={number}"
                    assert said["length"] == number

            await asyncio.gather(*(one(number) for number in range(AT_ONCE)))

    asyncio.run(scenario())


def test_any_path_is_passed_on() -> None:
    """Also one with line breaks in it, which is for the API to refuse."""

    async def scenario() -> None:
        async with opened(describe) as client, client.get(URL("/v1/files/a%0Ab%2Fc", encoded=True)) as answer:
            assert answer.status == 200
            assert (await answer.json())["target"].endswith("/v1/files/a%0Ab%2Fc")

    asyncio.run(scenario())


def test_status_and_headers_come_back_as_they_were() -> None:
    """429 stays 429, with its Retry-After and Tollgate's own headers."""

    async def scenario() -> None:
        async with opened(describe) as client, client.get("/v1/status") as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] == "7"
            assert answer.headers["x-tollgate-cost-usd"] == "0"

    asyncio.run(scenario())


def test_an_answer_streams_through() -> None:
    """The first part is there before the last one has been made, which the API makes when the client says so."""
    had_first = asyncio.Event()

    async def parts(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(PART)
        await had_first.wait()
        await response.write(PART)
        return response

    async def scenario() -> None:
        async with asyncio.timeout(60), opened(parts) as client, client.get("/v1/parts") as answer:
            assert await answer.content.readexactly(len(PART)) == PART
            had_first.set()
            assert await answer.read() == PART

    asyncio.run(scenario())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_in_tollgates_error_shape(chunked: bool) -> None:
    """With a length at once, without one when the limit is crossed; the API never sees it."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(13):
            yield b"x" * 1024 * 1024

    async def scenario() -> None:
        body = parts() if chunked else io.BytesIO(b"x" * (MAX_BODY_BYTES + 1))
        async with opened(describe) as client, client.post("/v1/inferences", data=body) as answer:
            assert answer.status == 413
            error = (await answer.json())["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert error["code"] == "request_too_large"

    asyncio.run(scenario())


def test_a_body_below_the_limit_arrives_whole() -> None:
    """10 MB, API Gateway's own limit, is the API's to refuse."""

    async def scenario() -> None:
        async with opened(describe) as client, client.post("/v1/x", data=io.BytesIO(b"x" * 10_485_760)) as answer:
            assert (await answer.json())["length"] == 10_485_760

    asyncio.run(scenario())


def test_an_api_that_hangs_up_gives_a_502_in_tollgates_error_shape() -> None:
    """The front door stays up and answers the next request."""

    async def hang_up(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/gone"):
            assert request.transport is not None
            request.transport.close()
        return await describe(request)

    async def scenario() -> None:
        async with opened(hang_up) as client:
            async with client.post("/v1/gone", data=b"{}") as answer:
                assert answer.status == 502
                assert json.loads(await answer.read())["error"]["code"] == "bad_gateway"
            async with client.get("/v1/models") as answer:
                assert answer.status == 200

    asyncio.run(scenario())


def test_a_client_that_hangs_up_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is printed on the terminal of `make run`, as after Ctrl-C in the middle of a request."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await gone.wait()
        await asyncio.sleep(0.2)  # until the front door has seen the end of the connection
        return await describe(request)

    async def scenario() -> None:
        async with opened(wait) as client:
            call = asyncio.create_task(client.post("/v1/inferences", data=b"{}"))
            await arrived.wait()
            call.cancel()
            await asyncio.wait({call})
            gone.set()
            await asyncio.sleep(0.5)

    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records if record.name == "aiohttp.server"] == []


@pytest.mark.parametrize("header", [b"Authorization: Bearer \xff\xfe", b"x-api-key: \xe9"])
def test_a_key_that_is_not_utf_8_is_refused_in_tollgates_error_shape(header: bytes) -> None:
    """It is the caller's mistake and not the front door's."""

    async def scenario() -> bytes:
        async with opened(describe) as client:
            base = client._base_url
            assert base is not None
            reader, writer = await asyncio.open_connection(HOST, base.port)
            writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

    head, _, body = asyncio.run(scenario()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "invalid_request"
