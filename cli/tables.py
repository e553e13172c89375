"""Tables for people and for pipes: a narrow terminal folds what does not fit, and nowhere is a name cut."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_PIPE_COLUMNS = 4096
_USUAL_NAME = 26


def new_console() -> Console:
    """Where commands print, brackets and colons as they are; a pipe has no width, so nothing is folded or cut there."""
    found = Console(markup=False, emoji=False)
    return found if found.is_terminal else Console(width=_PIPE_COLUMNS, markup=False, emoji=False)


def name_of(place: str) -> str:
    """The name in a place's key, ``kind/name``; there is no room for both at 80 columns."""
    return place.partition("/")[2] or place


def counted(number: int | Decimal, noun: str) -> str:
    """``1 request``, ``1,000 requests``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def folding_table(
    headings: Sequence[str],
    *,
    title: str | None = None,
    whole: Collection[str] = (),
    names: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> Table:
    """A table whose cells go on in the next line where the terminal is too narrow for them.

    Args:
        headings: of its columns.
        title: above it.
        whole: headings of short columns that are never folded, such as dates and instance types.
        names: headings of columns of names, with the names: where all are of usual length, they are not folded.
    """
    # No lines between the columns: at 80 characters there is room for either them or words.
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in headings:
        # A width that rich must keep would make it cut what comes after; a column that does not wrap is narrowed last.
        usual = heading in names and all(len(name) <= _USUAL_NAME for name in names[heading])
        table.add_column(heading, overflow="fold", no_wrap=usual or heading in whole)
    return table
