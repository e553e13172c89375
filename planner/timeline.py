"""Instances and requests in the system over time, for pictures and for advice on commitments."""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from planner.designs import Design
from planner.outcome import Outcome, replay
from planner.serving import Served
from planner.trace import Trace
from planner.world import World


@dataclass(frozen=True, slots=True)
class Timeline:
    """Means over steps of equal length.

    Attributes:
        step: seconds.
        instances: billed.
        requests: accepted and not answered: waiting or in work.
        outcome: of the replay that was watched.
    """

    step: float
    instances: Sequence[float]
    requests: Sequence[float]
    outcome: Outcome


def timeline(trace: Trace, design: Design, world: World, *, horizon: float, step: float) -> Timeline:
    """Replay the trace by one design and watch it.

    Args:
        trace: in order of arrival.
        design: that serves it.
        world: in which it does.
        horizon: seconds that are watched, and billed where endpoints do not sleep.
        step: seconds of a figure.
    """
    count = max(1, math.ceil(horizon / step))
    instances, requests = array("d", bytes(8 * count)), array("d", bytes(8 * count))

    def watch(arrivals: "array[float]", served: Served) -> None:
        for moment, change in served.changes:
            _from_then_on(instances, moment, change, step)
        for arrival, end in zip(arrivals, served.ends, strict=True):
            _from_then_on(requests, arrival, 1, step)
            _from_then_on(requests, end, -1, step)

    outcome = replay(trace, design, world, horizon=horizon, watch=watch)
    return Timeline(step, _levels(instances), _levels(requests), outcome)


def _from_then_on(changes: "array[float]", moment: float, amount: int, step: float) -> None:
    """Note a change of level; the step in which it happens has it for the rest of its length."""
    position = int(moment // step)
    if position < len(changes):
        share = (position + 1) - moment / step
        changes[position] += amount * share
        if position + 1 < len(changes):
            changes[position + 1] += amount * (1 - share)


def _levels(changes: "array[float]") -> list[float]:
    levels: list[float] = []
    level = 0.0
    for change in changes:
        level += change
        levels.append(max(0.0, level) if abs(level) > 1e-9 else 0.0)
    return levels
