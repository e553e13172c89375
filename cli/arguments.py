"""The parser, and what options take: a wrong value is refused in one line that says what would do."""

import argparse
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

USAGE = 2
"""Exit status of a command that could not be understood, or failed."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, not behind a page of usage."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but the command itself says what it does not know, not the program above it."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            first = any(word.split("=")[0] == "--stack" for word in unknown)
            self.error(
                f"unrecognized arguments: {' '.join(unknown)}{' (--stack goes before the command)' if first else ''}"
            )
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Print it and leave.

        Raises:
            SystemExit: always, with status 2.
        """
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, words: str, *examples: str
) -> argparse.ArgumentParser:
    """Declare a command whose help shows how it is called.

    Args:
        commands: where it belongs.
        name: of the command.
        words: what it does, in a line.
        examples: command lines without the leading `tollgate`.
    """
    lines = "\n".join(f"  tollgate {example}" for example in examples)
    return commands.add_parser(
        name,
        help=words,
        description=f"{words[0].upper()}{words[1:]}{'' if words.endswith('?') else '.'}",
        epilog=f"examples:\n{lines}" if lines else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def number(text: str) -> float:
    """A number of 0 or more.

    Raises:
        argparse.ArgumentTypeError: it is none, or endless.
    """
    return _checked(text, lambda value: value >= 0, "a number of 0 or more")


def positive(text: str) -> float:
    """A number above 0.

    Raises:
        argparse.ArgumentTypeError: it is none, or endless.
    """
    return _checked(text, lambda value: value > 0, "a number above 0")


def natural(text: str) -> int:
    """A whole number of 1 or more.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    return _whole(text, 1, None)


def hours(text: str) -> int:
    """Hours of a day, 1 to 24.

    Raises:
        argparse.ArgumentTypeError: they are not.
    """
    return _whole(text, 1, 24)


def share(text: str) -> Decimal:
    """A share from 0 to below 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value < 1):
        raise argparse.ArgumentTypeError(f"'{text}' is not a share from 0 to below 1, like 0.28")
    return value


def moment(text: str) -> datetime:
    """A time; UTC where it has no offset.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time like 2026-11-22 or 2026-11-22T09:00") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def moment_with_offset(text: str) -> datetime:
    """A time that says its offset.

    Raises:
        argparse.ArgumentTypeError: it does not.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time with an offset, like 2026-11-23T00:00+00:00")
    return found


def day(text: str) -> date:
    """A day.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a day like 2026-11-22") from None


def _checked(text: str, fits: Callable[[float], bool], wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and fits(value)):
        raise argparse.ArgumentTypeError(f"'{text}' is not {wanted}")
    return value


def _whole(text: str, least: int, most: int | None) -> int:
    wanted = f"a whole number of {least} or more" if most is None else f"a whole number from {least} to {most}"
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        raise argparse.ArgumentTypeError(f"'{text}' is not {wanted}")
    return value
