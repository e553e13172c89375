"""`make logs`: what the functions of a running stack have printed, from the emulator's CloudWatch Logs.

The emulator's own log has only what functions print that nobody waits for.
"""

from collections.abc import Iterator
from typing import Any

from local.launch import state
from local.launch.deploy import client
from local.launch.errors import LaunchError, NotRunningError
from local.launch.layout import STACK_NAME, Layout

_PREFIX = f"/aws/lambda/{STACK_NAME}-"
_RUNTIME = ("START RequestId", "END RequestId", "REPORT RequestId")


def show(layout: Layout, function: str) -> None:
    """Print all lines of a function, oldest first.

    Args:
        layout: of the running stack.
        function: name of its folder.

    Raises:
        NotRunningError: no stack runs on these ports.
        LaunchError: there is no such function.
    """
    if state.launcher_pid(layout) is None:
        raise NotRunningError(layout.port)
    lines = list(printed(client("logs", layout), function.replace("_", "-")))
    print("\n".join(lines) if lines else f"{function} has logged nothing yet.")


def printed(logs: Any, function: str) -> Iterator[str]:
    """The lines of one function, without the runtime's own.

    Args:
        logs: boto3's client.
        function: as its log group is named.

    Raises:
        LaunchError: there is no such function; the message lists those that there are.
    """
    groups = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=_PREFIX)
    names = sorted(group["logGroupName"].removeprefix(_PREFIX) for page in groups for group in page["logGroups"])
    if function not in names:
        folders = ", ".join(name.replace("-", "_") for name in names)
        raise LaunchError(f"There is no function '{function}'.\nWhat to do: take one of these: {folders}.")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"{_PREFIX}{function}")
    for page in pages:
        for event in page["events"]:
            if not event["message"].startswith(_RUNTIME):
                yield event["message"].rstrip("\n")
