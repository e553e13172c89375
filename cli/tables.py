"""Tables for people and for pipes: a narrow terminal folds what does not fit, and nowhere is a name cut."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

_PIPE_COLUMNS = 4096


def new_console() -> Console:
    """Where commands print; a pipe has no width of its own, so nothing is folded or cut there."""
    found = Console()
    return found if found.is_terminal else Console(width=_PIPE_COLUMNS)


def folding_table(headings: Sequence[str], *, title: str | None = None) -> Table:
    """A table whose cells go on in the next line where the terminal is too narrow for them."""
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
