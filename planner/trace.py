"""Requests of a trace in columns: a million of them take about 50 MB."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress

from tollgate.domain.catalogue import Priority

CLASSES: tuple[Priority, ...] = tuple(Priority)
"""A request's class is its position here: high, medium, low."""

NO_DEADLINE = float("inf")


def _doubles() -> "array[float]":
    return array("d")


def _counts() -> "array[int]":
    return array("L")


def _hashes() -> "array[int]":
    return array("q")


def _classes() -> "array[int]":
    return array("b")


@dataclass(slots=True)
class Trace:
    """Columns of equal length, in order of arrival.

    Attributes:
        arrivals: seconds since the start of the trace.
        input_tokens: of each request.
        output_tokens: of each request.
        groups: position in `group_names`: the tenant, team or workload.
        classes: position in `CLASSES`, -1 where the trace names none.
        deadlines: seconds after arrival by which the answer must be there; infinite where there is none.
        prompts: the same number for the same whole request; -1 where the trace does not tell.
        durations: seconds that the request holds its place, -1 where the tokens have to tell.
        group_names: what `groups` points at.
        malformed: rows that were left out, by reason.
        rows: rows that were read, malformed ones included.
        notes: what was taken for granted of rows that were kept, and how often.
        covered: seconds that the trace is known to be about, also where nobody comes; 0 where nothing tells.
    """

    arrivals: "array[float]" = field(default_factory=_doubles)
    input_tokens: "array[int]" = field(default_factory=_counts)
    output_tokens: "array[int]" = field(default_factory=_counts)
    groups: "array[int]" = field(default_factory=_counts)
    classes: "array[int]" = field(default_factory=_classes)
    deadlines: "array[float]" = field(default_factory=_doubles)
    prompts: "array[int]" = field(default_factory=_hashes)
    durations: "array[float]" = field(default_factory=_doubles)
    group_names: list[str] = field(default_factory=list)
    malformed: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    covered: float = 0.0

    def __len__(self) -> int:
        return len(self.arrivals)

    @property
    def seconds(self) -> float:
        """From the start of the trace to its last arrival."""
        return self.arrivals[-1] if self.arrivals else 0.0

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return sum(self.input_tokens) + sum(self.output_tokens)

    def group(self, name: str) -> int:
        """Position of a group's name, which is added when it is new."""
        if name in self.group_names:
            return self.group_names.index(name)
        self.group_names.append(name)
        return len(self.group_names) - 1

    def append(
        self,
        arrival: float,
        input_tokens: int,
        output_tokens: int,
        *,
        group: int = 0,
        priority: int = -1,
        deadline: float = NO_DEADLINE,
        prompt: int = -1,
        duration: float = -1.0,
    ) -> None:
        """Add one request."""
        self.arrivals.append(arrival)
        self.input_tokens.append(input_tokens)
        self.output_tokens.append(output_tokens)
        self.groups.append(group)
        self.classes.append(priority)
        self.deadlines.append(deadline)
        self.prompts.append(prompt)
        self.durations.append(duration)

    def only(self, group: int) -> "Trace":
        """The requests of one group, on the same clock."""
        return self.chosen(bytearray(g == group for g in self.groups))

    def chosen(self, keep: bytearray) -> "Trace":
        """The requests that are marked by 1, on the same clock."""
        return self._with(
            [
                array(column.typecode, compress(column, keep))
                for column in (self.arrivals, self.deadlines, self.durations)
            ],
            [array(column.typecode, compress(column, keep)) for column in self._whole_columns()],
        )

    def copy(self) -> "Trace":
        """Columns of its own."""
        return self._with(
            [self.arrivals[:], self.deadlines[:], self.durations[:]], [column[:] for column in self._whole_columns()]
        )

    def in_order(self) -> "Trace":
        """The same requests sorted by arrival; itself where they already are."""
        arrivals = self.arrivals
        if all(map(float.__le__, arrivals, arrivals[1:])):
            return self
        order = sorted(range(len(arrivals)), key=arrivals.__getitem__)
        return self._with(
            [
                array(column.typecode, map(column.__getitem__, order))
                for column in (arrivals, self.deadlines, self.durations)
            ],
            [array(column.typecode, map(column.__getitem__, order)) for column in self._whole_columns()],
        )

    def _whole_columns(self) -> "Sequence[array[int]]":
        return self.input_tokens, self.output_tokens, self.groups, self.classes, self.prompts

    def _with(self, doubles: "Sequence[array[float]]", whole: "Sequence[array[int]]") -> "Trace":
        arrivals, deadlines, durations = doubles
        input_tokens, output_tokens, groups, classes, prompts = whole
        return Trace(
            arrivals=arrivals,
            deadlines=deadlines,
            durations=durations,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            groups=groups,
            classes=classes,
            prompts=prompts,
            group_names=self.group_names,
            malformed=self.malformed,
            rows=self.rows,
            notes=self.notes,
            covered=self.covered,
        )
