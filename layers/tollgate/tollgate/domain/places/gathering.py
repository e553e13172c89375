"""When an endpoint that gathers takes no more requests, and when it needs another instance: without clock or I/O.

It stays up for the requests that were handed to it, which SageMaker serves in order of arrival. The rule that wakes it,
with as many instances as the gathered work needs, is `tollgate.domain.places.wake_by_deadline`.
"""

import math
from dataclasses import dataclass

from tollgate.domain.places.wake_by_deadline import SleepingEndpoint, instances_worth_keeping

GATHER_LIMIT = 500
"""Most requests that may be gathered for one place; with more, an instance is worth its start."""

SAMPLE = 500
"""How many of the requests handed over are read to estimate their duration and patience. With a smaller sample, urgent
requests could all stand behind a crowd that can wait for a day, and be seen too late.
"""

_LEAST_STARTUP_SECONDS = 1.0
"""Counted where the catalogue states no start-up time and no start has been seen yet: no instance is there at once."""


@dataclass(frozen=True, slots=True)
class GivenWork:
    """What an endpoint that is up was given and has not answered.

    Attributes:
        instances: that serve it.
        count: requests.
        place_seconds: expected of all of them.
        patience_seconds: shortest time from the arrival of one of them to its deadline; 0 where one has none.
        on_the_way: whether some that are not new are still to be handed over.
    """

    instances: int
    count: int = 0
    place_seconds: float = 0.0
    patience_seconds: float = math.inf
    on_the_way: bool = False


def takes_no_more(work: GivenWork, endpoint: SleepingEndpoint) -> bool:
    """Whether the endpoint should finish its work and gather the requests that come from now on.

    It should when each of its requests is being served, so that none waits for a place, and when they keep it so little
    busy that sleeping until the next one must start saves more than a start costs.
    """
    if work.on_the_way or work.count > work.instances * endpoint.concurrency:
        return False
    busy = work.count / endpoint.concurrency
    return instances_worth_keeping(busy, work.patience_seconds, endpoint.startup_seconds) == 0


def instances_to_add(work: GivenWork, endpoint: SleepingEndpoint) -> int:
    """Instances to start now so that a request arriving now, behind all earlier ones, is answered in time.

    This does not wait as long as possible: the request keeps its place in the queue, and the next look is about
    another.
    """
    startup = max(endpoint.startup_seconds, _LEAST_STARTUP_SECONDS)
    if work.place_seconds <= startup * endpoint.concurrency * work.instances:
        return 0  # Another instance is no help for work that is done before it is up.
    limit = work.patience_seconds - work.place_seconds / work.count - endpoint.margin_seconds
    missing = work.place_seconds / endpoint.concurrency - work.instances * max(0.0, limit)
    if missing <= 0:
        return 0
    # If the deadline comes before the instance would, the instance is for the requests that follow.
    helps = max(limit, 2 * startup) - startup
    return max(0, min(math.ceil(missing / helps), endpoint.maximum - work.instances))
