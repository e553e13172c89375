"""One stack from its first process to its last: start, serve, restart the stand-in, stop."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from copy import replace
from typing import Any

from local.launch import build, deploy, emulator, ports, programs, scratch, standin, state, three_roads
from local.launch.errors import ExampleFailedError, StepFailedError
from local.launch.forwarding import Target
from local.launch.front_door import STREAMING_PREFIX, front_door
from local.launch.layout import DEFAULT_PORT, Layout
from local.launch.leftovers import end_leftovers
from local.launch.processes import Child, Children, ProcessIdentity, began_at
from local.launch.terminal import Terminal
from local.streaming.front import StreamingRoad

DOOR_OUTPUTS = ("ApiId", "StageName")


class Stack:
    """Owns every process of one running stack."""

    def __init__(self, layout: Layout, terminal: Terminal) -> None:
        self._layout = layout
        self._terminal = terminal
        self._record = state.StackRecord(ProcessIdentity("launcher", os.getpid(), began_at(os.getpid())))
        self.children = Children(layout, on_change=self._write_record)
        self._standin: Child | None = None
        self._restart = asyncio.Event()

    @asynccontextmanager
    async def running(self, *, examples: bool) -> AsyncIterator[None]:
        """Starts everything; ends everything when the context ends, also when the start failed half way.

        Args:
            examples: Whether to send one request down each road once the stack is up.

        Raises:
            AlreadyRunningError: a stack of this checkout runs on these ports.
            PortBusyError: another program uses one of them.
            StepFailedError: a step failed.
        """
        layout = self._layout
        lock = state.StackLock(layout)
        lock.acquire()
        try:
            await asyncio.to_thread(end_leftovers, layout)
            ports.require_free(layout)
            shutil.rmtree(layout.logs, ignore_errors=True)
            scratch.make(layout)
            async with AsyncExitStack() as cleanup:
                cleanup.push_async_callback(self.children.stop_all)
                await self._start(cleanup, examples=examples)
                yield
        finally:
            await asyncio.to_thread(state.clear, layout)
            lock.release()

    async def serve(self) -> None:
        """Keeps the stack going until cancelled.

        Raises:
            StepFailedError: the emulator ended; its state is gone with it.
        """
        emulator_child = next(child for child in self.children.running if child.name == "emulator")
        watch = asyncio.create_task(emulator_child.process.wait())
        try:
            while True:
                restart = asyncio.create_task(self._restart.wait())
                await asyncio.wait({watch, restart}, return_when=asyncio.FIRST_COMPLETED)
                restart.cancel()
                if watch.done():
                    raise self.children.failed(
                        f"The AWS emulator ended (exit code {watch.result()}) and its state with it.",
                        emulator_child.log,
                        "run make run again.",
                    )
                self._restart.clear()
                await self._restart_standin()
        finally:
            watch.cancel()

    def request_restart(self) -> None:
        """Has `serve` end the stand-in, if it still runs, and start it anew on the same state."""
        self._restart.set()

    async def _start(self, cleanup: AsyncExitStack, *, examples: bool) -> None:
        layout, terminal = self._layout, self._terminal
        # The servers come up while SAM builds: neither needs the other.
        servers = asyncio.gather(emulator.start(layout, self.children), standin.start(layout, self.children, {}))
        cleanup.push_async_callback(_cancelled, servers)
        async with AsyncExitStack() as held:
            async with terminal.step("Functions built (sam build)"):
                template = await held.enter_async_context(build.built(layout, self.children))
            async with terminal.step("AWS emulator and SageMaker stand-in up"):
                _, self._standin = await servers
            async with terminal.step("Template deployed (sam deploy)"):
                outputs = await deploy.deploy(layout, self.children, template)
                _require_outputs(outputs)
        self._record = replace(self._record, outputs=outputs)
        async with terminal.step("Stack configured, models applied, key created"):
            _, _, _, key = await asyncio.gather(
                deploy.finish(layout, outputs),
                standin.configure(layout, outputs),
                programs.apply_models(layout, self.children),
                programs.create_key(layout, self.children),
            )
        target = Target(layout.emulator_url, outputs["ApiId"], outputs["StageName"])
        streaming = StreamingRoad(layout, self.children)
        cleanup.callback(streaming.close)
        await cleanup.enter_async_context(front_door(target, layout.port, streaming))
        if examples:
            await self._drive_examples(key)
        state.write_env(layout, key)
        # Before it is ready: who started it in the background stops listening then.
        for line in how_to_use(layout, key):
            terminal.say(line)
        self._record = replace(self._record, ready=True)
        self._write_record()

    async def _drive_examples(self, key: str) -> None:
        self._terminal.say()
        self._terminal.say("Three requests, one down each road:")
        try:
            async with contextlib.aclosing(three_roads.drive(self._layout.url, key)) as reports:
                async for report in reports:
                    for line in report.lines():
                        self._terminal.say(line)
            for line in three_roads.READING_THE_COSTS:
                self._terminal.say(line)
        except ExampleFailedError as error:
            raise self.children.failed(
                str(error),
                self._layout.logs / "emulator.log",
                "make logs FUNCTION=gateway shows what it said; sagemaker.log beside this, the models.",
            ) from error

    async def _restart_standin(self) -> None:
        self._layout.standin_pid_file.unlink(missing_ok=True)
        if self._standin is not None:
            await self.children.stop(self._standin)
            self._standin = None
        try:
            self._standin = await standin.start(self._layout, self.children, self._record.outputs)
            self._terminal.say("The SageMaker stand-in was restarted.")
        except StepFailedError as error:
            # The stack stays up: whoever asked sees the missing pid file, and may ask again.
            self._terminal.say(str(error))

    def _write_record(self) -> None:
        self._record = replace(self._record, children=tuple(self.children.identities))
        self._record.write(self._layout.record_file)


def how_to_use(layout: Layout, key: str) -> list[str]:
    """What a person is told when the stack is ready, line by line."""
    port = "" if layout.port == DEFAULT_PORT else f" TOLLGATE_PORT={layout.port}"
    logs, variables = layout.relative(layout.logs), layout.relative(layout.env_file)
    examples = [line for one in three_roads.EXAMPLES for line in (f"  # {one.road}", f"  {three_roads.curl(one)}")]
    return [
        "",
        f"Tollgate is ready: {layout.url}   key: {key}",
        f"Logs: {logs}/   Variables: {variables} (a new key at each start)",
        f"Answers piece by piece: {layout.url}{STREAMING_PREFIX}",
        "",
        "Try it (README.md and docs/ have more):",
        f"  export TOLLGATE_URL={layout.url} TOLLGATE_KEY={key}",
        *examples,
        "  # what became of the last job",
        '  curl -s "$TOLLGATE_URL/v1/inferences?limit=1" -H "Authorization: Bearer $TOLLGATE_KEY"',
        "",
        f"Restart SageMaker: make restart-standin{port}   End: Ctrl-C, or make stop{port} when detached",
    ]


async def _cancelled(work: asyncio.Future[Any]) -> None:
    """Ends work that nobody waits for any more; what it raised has lost its reader."""
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()


def _require_outputs(outputs: dict[str, str]) -> None:
    if missing := [name for name in DOOR_OUTPUTS if name not in outputs]:
        raise StepFailedError(
            f"The deployed template has no output {' and '.join(missing)}.", advice="add it to the template's Outputs."
        )
