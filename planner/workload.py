"""Made traffic: from a description, and the deadlines that a trace does not carry. The same seed gives the same trace.

Deadlines by class, where a trace names none (`DEADLINES`): high is somebody who waits in front of a screen (60 s, also
SageMaker's own limit for real-time answers), medium is somebody who comes back to it (15 minutes), low is work for the
next day (24 hours, the window of OpenAI's Batch API). Shares of the classes are the owner's to say (`ClassMix`).
"""

import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.trace import CLASSES, NO_DEADLINE, Trace
from tollgate.domain.catalogue import Priority

DEADLINES: Mapping[Priority, float] = {Priority.HIGH: 60.0, Priority.MEDIUM: 900.0, Priority.LOW: 86_400.0}

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class ClassMix:
    """Shares of the classes; they need not add up to one."""

    high: float = 0.0
    medium: float = 0.5
    low: float = 0.5


def draw_deadlines(trace: Trace, mix: ClassMix, seed: int) -> None:
    """Give a class to every request without one, and the class's deadline to every request without one."""
    source = random.Random(seed)  # noqa: S311 - a simulation wants to be repeatable
    weights = (mix.high, mix.medium, mix.low)
    drawn = source.choices(range(len(CLASSES)), weights=weights, k=len(trace))
    by_class = [DEADLINES[priority] for priority in CLASSES]
    classes, deadlines = trace.classes, trace.deadlines
    for position, priority in enumerate(drawn):
        if classes[position] < 0:
            classes[position] = priority
        if deadlines[position] == NO_DEADLINE:
            deadlines[position] = by_class[classes[position]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Traffic in a few numbers.

    Attributes:
        requests_per_hour: by hour of the day; repeated when the trace is longer than the list.
        hours: length of the trace.
        burstiness: coefficient of variation of the gaps between arrivals; 1 is a Poisson process.
        input_tokens: mean, spread lognormally.
        output_tokens: mean, spread lognormally.
        repeated: share of requests that repeat an earlier one whole.
    """

    requests_per_hour: Sequence[float]
    hours: float = 24.0
    burstiness: float = 1.0
    input_tokens: float = 1000.0
    output_tokens: float = 200.0
    repeated: float = 0.0

    def trace(self, seed: int) -> Trace:
        """Draw it: gaps are gamma distributed in the rate's own time, so that bursts keep their size at any rate."""
        source = random.Random(seed)  # noqa: S311 - a simulation wants to be repeatable
        shape = 1.0 / max(self.burstiness, 0.05) ** 2
        trace = Trace(group_names=["all"], covered=self.hours * _SECONDS_PER_HOUR)
        fresh = 0
        for arrival in self._arrivals(source, shape):
            repeats = fresh and source.random() < self.repeated
            prompt = source.randrange(fresh) if repeats else fresh
            fresh += not repeats
            # The sizes belong to the prompt, so that a repetition has its first occurrence's sizes.
            sizes = random.Random(seed * 1_000_003 + prompt)  # noqa: S311 - as above
            trace.append(
                arrival, drawn_size(sizes, self.input_tokens), drawn_size(sizes, self.output_tokens), prompt=prompt
            )
        trace.rows = len(trace)
        return trace

    def _arrivals(self, source: random.Random, shape: float) -> "array[float]":
        """Arrival times: unit-rate gaps, stretched by the rate of the hour in which they fall."""
        arrivals = array("d")
        now, end = 0.0, self.hours * _SECONDS_PER_HOUR
        owed = source.gammavariate(shape, 1.0 / shape)
        while now < end:
            hour = int(now // _SECONDS_PER_HOUR)
            rate = self.requests_per_hour[hour % len(self.requests_per_hour)] / _SECONDS_PER_HOUR
            left = (hour + 1) * _SECONDS_PER_HOUR - now
            if rate * left <= owed:
                owed -= rate * left
                now = (hour + 1) * _SECONDS_PER_HOUR
                continue
            now += owed / rate
            if now >= end:
                break
            arrivals.append(now)
            owed = source.gammavariate(shape, 1.0 / shape)
        return arrivals


def drawn_size(source: random.Random, mean: float) -> int:
    """Tokens of one request, spread lognormally around the mean."""
    # Sigma 0.8 has a 99th percentile of 4.7 times the mean, close to the published chat traces.
    return max(1, round(mean * source.lognormvariate(-0.32, 0.8))) if mean else 0
