"""When an endpoint that gathers takes no more requests, and when it needs another instance: without clock or I/O.

It is up for the requests that were handed to it, and SageMaker serves those in the order in which they came. The rule
that wakes it, with as many instances as what gathered needs, is `tollgate.domain.places.wake_by_deadline`.
"""

import math
from dataclasses import dataclass

from tollgate.domain.places.wake_by_deadline import SleepingEndpoint, instances_worth_keeping

GATHER_LIMIT = 500
"""Requests that may be gathered for one place; where more wait, an instance is worth its start."""

SAMPLE = 500
"""Of what was handed over, to know how long and how patient its requests are. With fewer, those who are pressed may all
stand behind a crowd that can wait for a day, and be seen too late."""


@dataclass(frozen=True, slots=True)
class GivenWork:
    """What an endpoint that is up was given and has not answered.

    Attributes:
        instances: that serve it.
        count: requests.
        place_seconds: expected of all of them.
        patience_seconds: shortest time between the coming of one of them and its deadline; 0 where one has none.
        on_the_way: whether some that are not new are still to be handed over.
    """

    instances: int
    count: int = 0
    place_seconds: float = 0.0
    patience_seconds: float = math.inf
    on_the_way: bool = False


def takes_no_more(work: GivenWork, endpoint: SleepingEndpoint) -> bool:
    """Whether the endpoint should finish what it has and gather what comes from now on.

    It should when each request that it has is being served, so that none waits for a place, and when they keep it so
    little busy that sleeping until the next one must start saves more than a start costs.
    """
    if work.on_the_way or work.count > work.instances * endpoint.concurrency:
        return False
    busy = work.count / endpoint.concurrency
    return instances_worth_keeping(busy, work.patience_seconds, endpoint.startup_seconds) == 0


def instances_to_add(work: GivenWork, endpoint: SleepingEndpoint) -> int:
    """Instances to start now so that a request which comes now is in time behind all that came before it.

    Not as late as possible: it has its place in the queue for good, and the next look asks for another request.
    """
    if work.place_seconds <= endpoint.startup_seconds * endpoint.concurrency * work.instances:
        return 0  # What is done sooner than another instance is up, it cannot help.
    limit = work.patience_seconds - work.place_seconds / work.count - endpoint.margin_seconds
    missing = work.place_seconds / endpoint.concurrency - work.instances * max(0.0, limit)
    if missing <= 0:
        return 0
    # Where the deadline is nearer than an instance, one comes for those who are next.
    helps = max(limit, 2 * endpoint.startup_seconds) - endpoint.startup_seconds
    return max(0, min(math.ceil(missing / helps), endpoint.maximum - work.instances))
