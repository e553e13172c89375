"""Which ports are free."""

import socket

from local.launch.errors import PortBusyError
from local.launch.layout import HOST, Layout

PORTS_PER_STACK = 3


def is_free(port: int) -> bool:
    """Whether a server could bind the port on the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are only waiting to time out counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(layout: Layout) -> None:
    """Checks all of the stack's ports before anything starts.

    Raises:
        PortBusyError: one of them is taken.
    """
    roles = {
        layout.port: "the front door",
        layout.emulator_port: "the AWS emulator",
        layout.standin_port: "the SageMaker stand-in",
    }
    for port, role in roles.items():
        if not is_free(port):
            raise PortBusyError(port, role)


def free_block(first: int, last: int) -> int:
    """The first port from which a stack's ports in a row are free.

    Args:
        first: Where to begin looking.
        last: The highest port to offer.

    Raises:
        PortBusyError: no block of free ports in that range.
    """
    for start in range(first, last, PORTS_PER_STACK):
        if all(is_free(start + offset) for offset in range(PORTS_PER_STACK)):
            return start
    raise PortBusyError(first, "any stack")
