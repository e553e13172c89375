"""Tables for people and for pipes: a narrow terminal folds what does not fit, and nowhere is a name cut."""

from collections.abc import Collection, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_PIPE_COLUMNS = 4096


def new_console() -> Console:
    """Where commands print, brackets and colons as they are; a pipe has no width, so nothing is folded or cut there."""
    found = Console(markup=False, emoji=False)
    return found if found.is_terminal else Console(width=_PIPE_COLUMNS, markup=False, emoji=False)


def folding_table(headings: Sequence[str], *, title: str | None = None, whole: Collection[str] = ()) -> Table:
    """A table whose cells go on in the next line where the terminal is too narrow for them.

    Args:
        headings: of its columns.
        title: above it.
        whole: headings of short columns that are never folded, such as dates and instance types.
    """
    # No lines between the columns: at 80 characters there is room for either them or words.
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in whole)
    return table
