"""A process that dies right after one of its effects on the outside world."""

from collections.abc import Callable
from typing import Any


class CrashError(BaseException):
    """The process ends here. Not an `Exception`, so that no handler in the code under test can survive it."""


class CrashPoint:
    """Counts effects and dies after the chosen one.

    Args:
        after: number of the effect after which the process dies, from 1; 0 never dies.
        before: die just before the effect instead, when it was asked for and not done.
    """

    def __init__(self, after: int, *, before: bool = False) -> None:
        self._left = after
        self._before = before
        self.effects = 0

    def watch[T](self, target: T, *names: str) -> T:
        """The same object, whose methods of these names are counted."""
        return _Watched(target, frozenset(names), self)  # type: ignore[return-value]  # stands in for the target

    def effect(self, act: Callable[[], Any]) -> Any:
        """Do it, and die if it is time."""
        self.effects += 1
        self._left -= 1
        if self._left == 0 and self._before:
            raise CrashError
        result = act()
        if self._left == 0:
            raise CrashError
        return result


class _Watched:
    def __init__(self, target: Any, names: frozenset[str], point: CrashPoint) -> None:
        self._target = target
        self._names = names
        self._point = point

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in self._names:
            return found
        return lambda *args, **kwargs: self._point.effect(lambda: found(*args, **kwargs))
