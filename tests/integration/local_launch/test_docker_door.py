"""The relay that leads containers to the stack, against an engine and a server of the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from local.launch.docker_door import bridge_address, docker_door
from local.launch.errors import LaunchError

pytestmark = pytest.mark.integration
BRIDGE = "127.9.9.9"


@contextlib.asynccontextmanager
async def engine(socket: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, str]) -> AsyncIterator[None]:
    """A Docker engine that knows one network."""

    async def bridge(_: web.Request) -> web.Response:
        return web.json_response({"Name": "bridge", "IPAM": {"Config": [config]}})

    application = web.Application()
    application.router.add_get("/networks/bridge", bridge)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server on 127.0.0.1 that answers with the path; gives its port."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def test_a_container_reaches_the_stack_while_the_door_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the bridge's address, and no longer than the context lasts."""

    async def run() -> str:
        async with engine(tmp_path / "s", monkeypatch, {"Gateway": BRIDGE}), echo() as port, ClientSession() as session:
            async with docker_door([port]), session.get(f"http://{BRIDGE}:{port}/hello") as answer:
                text = await answer.text()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(BRIDGE, port)
            return text

    assert asyncio.run(run()) == "/hello"


def test_a_second_door_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is in the way."""

    async def run() -> None:
        async with (
            engine(tmp_path / "s", monkeypatch, {"Gateway": BRIDGE}),
            echo() as port,
            docker_door([port]),
            docker_door([port]),
        ):
            pytest.fail("two doors at once")

    with pytest.raises(LaunchError, match="other `make invoke`"):
        asyncio.run(run())


def test_a_gateway_that_the_engine_chose_is_the_networks_first_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine then names the network only; nothing may ever listen on all addresses instead."""

    async def run() -> str:
        async with engine(tmp_path / "s", monkeypatch, {"Subnet": "172.17.0.0/16"}):
            return await bridge_address()

    assert asyncio.run(run()) == "172.17.0.1"


def test_no_engine_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    with pytest.raises(LaunchError, match="start Docker"):
        asyncio.run(bridge_address())
