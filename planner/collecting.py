"""The batch road in simulated time: requests wait together, leave when due, and are answered when the job ends.

When they are due is `tollgate.domain.jobs.batches.due_at`; `Pool` keeps its figure up to date one request at a time,
because asking it again for every request of a long pool would take time that grows with the square of it. A test holds
the two to the same answer.
"""

import math
from array import array
from dataclasses import dataclass
from heapq import heapreplace

from planner.serving import Served
from tollgate.domain.catalogue import BatchPolicy
from tollgate.domain.jobs.batches import RESPONSE_MARGIN_SECONDS


@dataclass(slots=True)
class Pool:
    """Requests that wait for a transform job.

    Attributes:
        policy: of the model.
        startup: of a job, in seconds.
        places: instances of a job times the places of each.
        record_seconds: that one record is expected to hold its place.
        waiting: number of requests.
        oldest: arrival of the first of them.
        tightest: earliest deadline among them.
    """

    policy: BatchPolicy
    startup: float
    places: int
    record_seconds: float
    waiting: int = 0
    oldest: float = math.inf
    tightest: float = math.inf

    def add(self, arrival: float, deadline_at: float) -> None:
        """One more waits."""
        self.waiting += 1
        self.oldest = min(self.oldest, arrival)
        self.tightest = min(self.tightest, deadline_at)

    @property
    def due(self) -> float:
        """When they must leave; infinite for an empty pool."""
        if self.waiting >= self.policy.max_records:
            return self.oldest
        run = self.startup + self.waiting * self.record_seconds / self.places + RESPONSE_MARGIN_SECONDS
        return min(self.oldest + self.policy.max_age_seconds, self.tightest - run)


def collect(
    arrivals: "array[float]",
    held: "array[float]",
    deadlines: "array[float]",
    *,
    pool: Pool,
    dispatch_seconds: float,
) -> Served:
    """Serve every request in transform jobs.

    Args:
        arrivals: seconds, in order.
        held: seconds that each one holds its place.
        deadlines: seconds after arrival.
        pool: empty.
        dispatch_seconds: the scheduler's rhythm; a full pool leaves at once.
    """
    served = Served(ends=array("d"))
    first = 0
    leaves = math.inf
    for position, arrival in enumerate(arrivals):
        if leaves <= arrival:
            _run(served, held, range(first, position), leaves, pool)
            first = position
        pool.add(arrival, arrival + deadlines[position])
        if pool.waiting >= pool.policy.max_records:
            leaves = arrival
        else:
            leaves = max(arrival, math.ceil(pool.due / dispatch_seconds) * dispatch_seconds)
    if first < len(arrivals):
        _run(served, held, range(first, len(arrivals)), leaves, pool)
    return served


def _run(served: Served, held: "array[float]", records: range, leaves: float, pool: Pool) -> None:
    ready = leaves + pool.startup
    places = [ready] * pool.places
    for position in records:
        heapreplace(places, places[0] + held[position])
    end = max(places)
    served.ends.extend([end] * len(records))
    served.instance_seconds += end - leaves
    served.changes += [(leaves, 1), (end, -1)]
    served.startup_seconds += pool.startup
    served.starts += 1
    served.peak = max(served.peak, len(records))
    pool.waiting, pool.oldest, pool.tightest = 0, math.inf, math.inf
