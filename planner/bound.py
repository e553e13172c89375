"""What nobody can go below, even knowing every request ahead: a lower bound of the bill, not a schedule.

Work needs at least its place-seconds divided by the places of an instance. Besides, every request must find some
instance up between its arrival and the last moment at which it can start. Taking the earliest of these last moments
again and again gives witnesses, requests whose windows do not touch. Time up is cut into m stretches with a start-up
each; a stretch that serves the witnesses i to j lasts at least from the end of i's window to the arrival of j. So with
L the sum of these, a schedule costs at least

    m x start-up + max(work, L) >= m x start-up + s x L + (1 - s) x work    for every share s from 0 to 1.

The right side is least for some cut of the witnesses into stretches, which one pass finds. The bound is its greatest
value over a few shares. Any number of instances on any road obeys it; an instance that never sleeps pays no start-up
and is the case beside it. The gateway's parts come on top at the cheapest road's rate for each request.
"""

from array import array

_SHARES = (0.001, 0.01, *(n / 20 for n in range(1, 21)))


def least_instance_seconds(
    arrivals: "array[float]",
    held: "array[float]",
    deadlines: "array[float]",
    *,
    concurrency: int,
    startup: float,
    horizon: float,
) -> float:
    """Instance seconds that no schedule can go below while every deadline is met that can be met.

    Args:
        arrivals: seconds, in order.
        held: place-seconds of each request.
        deadlines: seconds after arrival; infinite ones do not bind.
        concurrency: places of an instance.
        startup: the shortest start-up of any road.
        horizon: seconds for which an instance that never sleeps is billed.
    """
    if not arrivals:
        return 0.0
    work = sum(held) / concurrency
    witnesses = _witnesses(arrivals, held, deadlines)
    asleep = max(share_bound(witnesses, work, startup, share) for share in _SHARES)
    return min(asleep, max(work, horizon))


def share_bound(witnesses: list[tuple[float, float]], work: float, startup: float, share: float) -> float:
    """The cheapest cut of the witnesses into stretches, for one share.

    Args:
        witnesses: arrival and last moment of each, in order, none touching the next.
        work: seconds of one instance.
        startup: seconds of each stretch's start-up.
        share: weight of the stretches' length against the work, 0 to 1.
    """
    least = 0.0
    reaching = float("inf")  # least cost of the witnesses before some i, less the weighted end of i's window
    for arrival, last in witnesses:
        before = least
        least = startup + min(before, reaching + share * arrival)
        reaching = min(reaching, before - share * last)
    return least + (1 - share) * work


def _witnesses(arrivals: "array[float]", held: "array[float]", deadlines: "array[float]") -> list[tuple[float, float]]:
    """Requests whose windows do not touch, taken by the earliest last moment to start."""
    found: list[tuple[float, float]] = []
    tightest = 0.0, -1.0
    for arrival, seconds, deadline in zip(arrivals, held, deadlines, strict=True):
        last = arrival + max(0.0, deadline - seconds)
        if arrival > tightest[1]:
            found.append((arrival, last))
            tightest = arrival, last
        elif last < tightest[1]:
            found[-1] = tightest = arrival, last
    return found
