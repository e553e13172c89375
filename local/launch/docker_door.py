"""A door for containers: they cannot reach what listens on this machine's 127.0.0.1, so a relay leads them there.

The relay listens on the address that Docker's own bridge has on this machine, for as long as one command runs. Docker
Desktop needs none: it leads `host.docker.internal` to the machine's loopback by itself, and its bridge lies elsewhere.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import BaseConnector, ClientError, ClientSession, ClientTimeout, TCPConnector, UnixConnector

from local.launch.errors import LaunchError
from local.launch.layout import HOST

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
CHUNK_BYTES = 64 * 1024
# Docker Desktop's bridge is an address of its virtual machine, which nobody here can listen on.
_ELSEWHERE = {errno.EADDRNOTAVAIL}


async def bridge_address() -> str:
    """The address of Docker's bridge, from the engine that `DOCKER_HOST` names.

    Raises:
        LaunchError: no engine answers.
    """
    engine = os.environ.get("DOCKER_HOST") or DEFAULT_ENGINE
    parts = urlsplit(engine)
    connector: BaseConnector = UnixConnector(parts.path) if parts.scheme == "unix" else TCPConnector()
    base = "http://docker" if parts.scheme == "unix" else f"http://{parts.netloc}"
    try:
        async with (
            ClientSession(connector=connector, timeout=ClientTimeout(total=10)) as session,
            session.get(f"{base}/networks/bridge") as answer,
        ):
            answer.raise_for_status()
            network = await answer.json()
            config = network["IPAM"]["Config"][0]
            # The engine leaves the gateway out where it chose it itself: the first address of the network.
            return str(ip_address(config.get("Gateway") or str(next(ip_network(config["Subnet"]).hosts()))))
    except (ClientError, TimeoutError, OSError, ValueError, LookupError) as error:
        raise LaunchError(
            f"No Docker engine answers at {engine} ({type(error).__name__}).\n"
            "What to do: `sam local` runs functions in containers; start Docker, or set DOCKER_HOST to an engine."
        ) from error


@asynccontextmanager
async def docker_door(ports: Sequence[int]) -> AsyncIterator[None]:
    """Leads containers to these ports of 127.0.0.1 for as long as the context lasts.

    Raises:
        LaunchError: no engine answers, or somebody else listens there.
    """
    address = await bridge_address()
    async with AsyncExitStack() as servers:
        for port in ports:
            try:
                server = await asyncio.start_server(_Relay(port), address, port)
            except OSError as error:
                if error.errno in _ELSEWHERE:
                    break
                raise LaunchError(
                    f"Port {port} of Docker's bridge ({address}) cannot be opened: {os.strerror(error.errno or 0)}.\n"
                    "What to do: wait for the other `make invoke` of this stack to end."
                ) from error
            servers.push_async_callback(server.wait_closed)
            servers.callback(server.close_clients)  # who keeps an idle connection is not waited for
            servers.callback(server.close)
        yield


class _Relay:
    """Passes the bytes of one connection on, both ways."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(HOST, self._port)
            await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
