"""What nobody can go below, even knowing every request ahead: a lower bound of the bill, not a schedule.

Work needs at least its place-seconds divided by the places of an instance. Besides, every request must find some
instance up between its arrival and the last moment at which it can start. Taking the earliest of these last moments
again and again gives k requests whose windows do not touch, so that k separate times of being up are needed, or
fewer that reach over the gaps between them. Each time costs a start-up; with m of them instances are up for at
least the k - m smallest gaps. The bound is the cheapest m of

    m x start-up + max(work, the k - m smallest gaps)

Any number of instances on any road obeys it, and an instance that is always up is the case of no start-up. The
gateway's parts come on top at the cheapest road's rate for each request.
"""

from array import array
from itertools import accumulate


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
    gaps = _gaps(arrivals, held, deadlines)
    total = len(gaps) + 1
    # Most starts first: bridging the smallest gap saves one start-up.
    options = [
        (total - bridged) * startup + max(work, reach)
        for bridged, reach in enumerate(accumulate(sorted(gaps), initial=0.0))
    ]
    return min(*options, max(work, horizon))


def _gaps(arrivals: "array[float]", held: "array[float]", deadlines: "array[float]") -> list[float]:
    """Time between one window's end and the next one's begin, for windows that do not touch."""
    lasts = array(
        "d",
        [
            arrival + max(0.0, deadline - seconds)
            for arrival, seconds, deadline in zip(arrivals, held, deadlines, strict=True)
        ],
    )
    gaps: list[float] = []
    current = lasts[0]
    for arrival, last in zip(arrivals, lasts, strict=True):
        if arrival > current:
            gaps.append(arrival - current)
            current = last
        elif last < current:
            current = last
    return gaps
