"""Faults at any call to what lies outside the services: the process dies, the call fails, or its answer is lost.

One object counts the calls to every port of a house of fakes, so that a test can walk over all of them without naming
any. When a process has died, nothing that still runs in it reaches the outside world, whatever its `finally` does.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from tests.fakes.crashes import CrashError
from tollgate.domain.errors import OutcomeUnknownError, StorageError


class Fault(Enum):
    """What happens at the chosen call."""

    DIES_BEFORE = "dies before"
    DIES_AFTER = "dies after"
    FAILS = "fails"
    ANSWER_LOST = "answer lost"


class Faults:
    """Counts calls, and brings faults at some of them.

    Args:
        planned: faults by number of the call, from 1.
        of: name of the only call that is numbered for that; empty for all.
        meanwhile: what others do just before a call, by its number, to `world`; no fault meets them.

    Attributes:
        world: the house whose calls these are.
        calls: names of the calls so far.
        struck: the calls at which faults came.
    """

    def __init__(
        self,
        planned: Mapping[int, Fault] | None = None,
        *,
        of: str = "",
        meanwhile: Mapping[int, Callable[[Any], None]] | None = None,
    ) -> None:
        self._planned = planned or {}
        self._meanwhile = meanwhile or {}
        self._of = of
        self.world: Any = None
        self._inside = False
        self._dead = False
        self.calls: list[str] = []
        self.struck: list[str] = []

    def over(
        self,
        target: Any,
        *names: str,
        fails: Callable[[str], Exception] = StorageError,
        lost: Callable[[str], Exception] = OutcomeUnknownError,
    ) -> None:
        """Count the calls of these methods.

        Args:
            target: whose methods they are; it is changed.
            names: of the methods.
            fails: makes the error of a call that was not done.
            lost: makes the error of one that was done although its caller is not told.
        """
        for name in names:
            setattr(target, name, self._watched(f"{type(target).__name__}.{name}", getattr(target, name), fails, lost))

    def new_process(self) -> None:
        """What has died is replaced."""
        self._dead = False

    def _watched(
        self,
        name: str,
        act: Callable[..., Any],
        fails: Callable[[str], Exception],
        lost: Callable[[str], Exception],
    ) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            if self._inside:
                return act(*values, **named)  # A fake that calls itself is one call.
            if self._dead:
                raise CrashError
            self.calls.append(name)
            fault = self._planned.get(self._number(name)) if self._of in {"", name} else None
            if fault is not None:
                self.struck.append(name)
            if (others := self._meanwhile.get(len(self.calls))) is not None:
                self.struck.append(f"before {name}")
                self._aside(others)
            if fault is Fault.DIES_BEFORE:
                self._die()
            if fault is Fault.FAILS:
                raise fails("fails")
            self._inside = True
            try:
                result = act(*values, **named)
            finally:
                self._inside = False
            if fault is Fault.DIES_AFTER:
                self._die()
            if fault is Fault.ANSWER_LOST:
                raise lost("answer lost")
            return result

        return call

    def _aside(self, others: Callable[[Any], None]) -> None:
        """Let others work: they live in processes of their own."""
        self._inside = True
        try:
            others(self.world)
        finally:
            self._inside = False

    def _number(self, name: str) -> int:
        return self.calls.count(name) if self._of else len(self.calls)

    def _die(self) -> None:
        self._dead = True
        raise CrashError
