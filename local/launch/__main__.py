"""The launcher's command line; `make run`, `make stop`, `make logs` and their siblings call it."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from local.launch import control, function_logs
from local.launch import invoke as single
from local.launch.errors import LaunchError
from local.launch.layout import DEFAULT_PORT, ROOT, Layout
from local.launch.stack import Stack
from local.launch.terminal import Terminal

HIGHEST_PORT = 65_533  # two more ports follow


def port_number(text: str) -> int:
    """A front-door port that leaves room for the two above it.

    Raises:
        argparse.ArgumentTypeError: it is not such a number.
    """
    if not text.isdigit() or not 1024 <= int(text) <= HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"TOLLGATE_PORT must be a number from 1024 to {HIGHEST_PORT}, not {text!r}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    port = argparse.ArgumentParser(add_help=False)
    port.add_argument("--port", type=port_number, default=os.environ.get("TOLLGATE_PORT") or str(DEFAULT_PORT))
    top = argparse.ArgumentParser(prog="python -m local.launch", description="Run Tollgate on this machine.")
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[port], help="start a stack and serve until Ctrl-C")
    up.add_argument("--detach", action="store_true", help="return when the stack is ready")
    up.add_argument("--no-examples", action="store_true", help="do not send one request down each road")
    commands.add_parser("stop", parents=[port], help="end a detached stack")
    commands.add_parser("restart-standin", parents=[port], help="restart the SageMaker stand-in of a running stack")
    invoke = commands.add_parser("invoke", parents=[port], help="run one function on a sample event, in a container")
    invoke.add_argument("function", help="its folder's name")
    invoke.add_argument("event", help="the sample's name, or a path from the repository's root")
    invoke.add_argument("--job", default=None, help="the id that takes the place of the sample's")
    logs = commands.add_parser("logs", parents=[port], help="print what a function of a running stack has logged")
    logs.add_argument("function", help="its folder's name")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0 when it did what was asked."""
    options = parser().parse_args(arguments)
    layout = Layout(ROOT, options.port)
    try:
        if options.command == "stop":
            print(control.stop(layout))
        elif options.command == "restart-standin":
            print(f"The SageMaker stand-in runs again (process {control.restart_standin(layout)}).")
        elif options.command == "logs":
            function_logs.show(layout, options.function)
        elif options.command == "invoke":
            return asyncio.run(single.invoke(layout, options.function, options.event, options.job or None))
        elif options.detach:
            control.start_detached(layout, examples=not options.no_examples)
        else:
            return asyncio.run(_up(layout, examples=not options.no_examples))
    except LaunchError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _up(layout: Layout, *, examples: bool) -> int:
    terminal = Terminal()
    stack = Stack(layout, terminal)
    work = asyncio.create_task(_start_and_serve(stack, examples=examples))
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            terminal.say("Ended by force.")
            stack.children.kill_all()
            os._exit(130)
        asked = True
        terminal.say("\nStopping ... (once more to end by force)")
        work.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGUSR1, stack.request_restart)
    try:
        await work
    except asyncio.CancelledError:
        terminal.say("Stopped; nothing is left running.")
    return 0


async def _start_and_serve(stack: Stack, *, examples: bool) -> None:
    async with stack.running(examples=examples):
        await stack.serve()


if __name__ == "__main__":
    raise SystemExit(main())
