"""Where tables are printed."""

from rich.console import Console

_PIPE_WIDTH = 140


def console() -> Console:
    """The terminal in its own width. A pipe has none; nothing must be cut there."""
    found = Console()
    return found if found.is_terminal else Console(width=_PIPE_WIDTH)
