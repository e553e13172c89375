"""Putting the parts together, and running them until told to stop."""

import asyncio
import logging
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local.sagemaker.admin import Admin
from local.sagemaker.app import App
from local.sagemaker.artefacts import Artefacts
from local.sagemaker.async_queue import AsyncQueue
from local.sagemaker.aws import Aws
from local.sagemaker.bedrock import Bedrock
from local.sagemaker.bus import EventBus
from local.sagemaker.components import Components
from local.sagemaker.control import Control
from local.sagemaker.endpoint_news import EndpointNews
from local.sagemaker.faults import Faults
from local.sagemaker.fleet import Fleet
from local.sagemaker.hosted import HostedModels
from local.sagemaker.metrics import Metrics
from local.sagemaker.provider import Provider
from local.sagemaker.runtime import Runtime
from local.sagemaker.scaling import Scaling
from local.sagemaker.seed import Seed
from local.sagemaker.serving import Serving
from local.sagemaker.settings import Settings
from local.sagemaker.store import Store
from local.sagemaker.transform import Transforms

_log = logging.getLogger(__name__)
_GRACE_SECONDS = 2.0
_THREADS = 48
_KEEP_ALIVE_SECONDS = 75.0  # longer than any client keeps an idle connection


@dataclass(frozen=True, slots=True)
class Options:
    """The command line.

    Attributes:
        state_dir: where the SQLite file is; None keeps it in a temporary folder that goes with the process.
    """

    port: int
    settings: Settings
    config: Path
    state_dir: Path | None


async def run(options: Options) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Threads mostly wait for S3 and SNS; the default number, six on two processors, would let them starve models.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "standin"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with ExitStack() as stack:
        folder = options.state_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="standin-")))
        store = Store(folder / "standin.sqlite3")
        stack.callback(store.close)
        await StandIn(options, store).serve(stop)


class StandIn:
    """The parts, put together."""

    def __init__(self, options: Options, store: Store) -> None:
        settings, faults = options.settings, Faults()
        self._port = options.port
        self._store = store
        _restore(store, settings)
        aws = Aws(settings.aws_endpoint, settings.region)
        bus = EventBus(aws, settings.region, settings.account)
        serving = Serving(store)
        self._fleet = fleet = Fleet(store, settings, faults)
        self._components = Components(store, settings, fleet, faults)
        self._queue = AsyncQueue(store=store, fleet=fleet, serving=serving, aws=aws, faults=faults, settings=settings)
        self._transforms = Transforms(store=store, settings=settings, aws=aws, bus=bus, faults=faults)
        self._news = EndpointNews(fleet, store, bus, faults)
        self._metrics = Metrics(store, self._components, aws, settings)
        self._seed = Seed(options.config, store, settings, fleet)
        taken: Counter[tuple[str, str]] = Counter()
        self._control = Control(
            store=store,
            settings=settings,
            fleet=fleet,
            components=self._components,
            transforms=self._transforms,
            faults=faults,
            taken=taken,
        )
        admin = Admin(
            store=store,
            settings=settings,
            faults=faults,
            fleet=fleet,
            components=self._components,
            transforms=self._transforms,
            reseed=self._seed.apply,
            reset=self._reset,
            taken=taken,
        )
        runtime = Runtime(
            fleet=fleet,
            components=self._components,
            serving=serving,
            queue=self._queue,
            artefacts=Artefacts(aws),
            faults=faults,
            settings=settings,
        )
        scaling = Scaling(store, settings, fleet, self._components, faults)
        hosted = HostedModels(store)
        self._app = App(
            runtime,
            self._control,
            scaling,
            admin,
            bedrock=Bedrock(hosted, faults),
            provider=Provider(hosted, faults),
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Go on where an earlier life ended, and serve until told to stop."""
        self._fleet.resume()
        self._seed.apply()
        self._components.resume()
        self._transforms.resume()
        loop = asyncio.get_running_loop()
        workers = [loop.create_task(part.work()) for part in (self._queue, self._metrics, self._news)]
        warming = loop.run_in_executor(None, self._control.warm)
        _in_background(self._seed.preload)

        async def ready_then_wait() -> None:
            print(f"SageMaker stand-in ready on http://127.0.0.1:{self._port}", flush=True)
            await stop.wait()

        try:
            await _until_stopped(serve(self._app, _server_config(self._port), shutdown_trigger=ready_then_wait), stop)
        finally:
            self._close()
            # Requests that were cut off still record how they ended, so they end before the store is closed.
            rest = {*workers, *asyncio.all_tasks()} - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, warming, return_exceptions=True)

    def _reset(self) -> None:
        self._close()
        self._store.clear()
        self._seed.apply()

    def _close(self) -> None:
        for part in (self._transforms, self._components, self._fleet, self._queue):
            part.close()


def _server_config(port: int) -> Config:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.graceful_timeout = _GRACE_SECONDS
    config.loglevel = "WARNING"
    return config


async def _until_stopped(serving: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Serve until told to stop, then give requests in flight a moment, and no more.

    Hypercorn's own grace period starts only when every connection has closed: since Python 3.12 that is what
    `Server.wait_closed` waits for.
    """
    server = asyncio.ensure_future(serving)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((server, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await asyncio.wait((server,), timeout=_GRACE_SECONDS)
    if not server.cancel():
        server.result()


def _in_background(work: Callable[[], None]) -> None:
    # A thread of its own, not one that has to end before the process may.
    threading.Thread(target=work, daemon=True, name=work.__name__).start()


def _restore(store: Store, settings: Settings) -> None:
    """Take up the settings that were put in an earlier life; what the command line says now goes first."""
    kept = store.get("settings", "config") or {}
    settings.bucket = settings.bucket or kept.get("bucket")
    settings.success_topic = settings.success_topic or kept.get("success_topic_arn")
    settings.error_topic = settings.error_topic or kept.get("error_topic_arn")
    settings.start_seconds |= kept.get("start_seconds", {})
