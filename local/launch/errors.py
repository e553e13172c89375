"""What can go wrong while a stack starts, in the words a person needs.

LaunchError
├── StepFailedError      a step ended with an error: what, the end of its log, what to do
├── ExampleFailedError   one of the three first requests did not come back well
├── PortBusyError        something else listens on a port the stack needs
├── AlreadyRunningError  a stack of this checkout runs on that port
└── NotRunningError      a command wants a running stack and there is none
"""

from collections.abc import Sequence


class LaunchError(Exception):
    """The base of every error that the launcher shows to a person."""


class StepFailedError(LaunchError):
    """A step of the start failed.

    Args:
        what: The failure in one sentence.
        log_tail: The last lines of the step's log.
        log_path: The log, relative to the repository's root.
        advice: What to do next.
    """

    def __init__(self, what: str, *, advice: str, log_tail: Sequence[str] = (), log_path: str | None = None) -> None:
        """Builds the message from its parts."""
        lines = [what]
        if log_tail:
            lines += ["Its log ends with:", *(f"    {line}" for line in log_tail)]
        if log_path:
            lines.append(f"The whole log: {log_path}")
        lines.append(f"What to do: {advice}")
        super().__init__("\n".join(lines))
        self.what = what


class ExampleFailedError(LaunchError):
    """The stack is up, and one of the requests that show it works did not come back well."""


class PortBusyError(LaunchError):
    """A port that the stack needs is taken."""

    def __init__(self, port: int, role: str) -> None:
        """Names the port and who needs it."""
        super().__init__(
            f"Port {port} ({role}) is already in use by another program.\n"
            f"What to do: stop that program, or choose other ports: make run TOLLGATE_PORT={port + 100}"
        )


class AlreadyRunningError(LaunchError):
    """The stack is already there."""

    def __init__(self, port: int, url: str, pid: int) -> None:
        """Says where it runs and how to end it."""
        super().__init__(
            f"Tollgate is already running on {url} (process {pid}); its key is in .local/{port}/env.\n"
            f"What to do: use it, end it with `make stop{_port_suffix(port)}`, "
            f"or start a second one: make run TOLLGATE_PORT={port + 100}"
        )


class NotRunningError(LaunchError):
    """There is no stack on that port."""

    def __init__(self, port: int) -> None:
        """Says how to start one."""
        super().__init__(f"No stack of this checkout runs on port {port}. Start one: make run{_port_suffix(port)}")


def _port_suffix(port: int) -> str:
    return "" if port == 4566 else f" TOLLGATE_PORT={port}"
