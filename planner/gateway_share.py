"""The gateway's own parts of one request as floats, for decisions and bounds; bills use the exact amounts."""

from array import array

from planner.world import World
from tollgate.domain.catalogue import InferenceType, Model
from tollgate.domain.costs.gateway_parts import gateway_rates

LONGEST_AT_ONCE = Model(name="", deployments=()).realtime_seconds_limit
"""Seconds that a caller waits for an answer, as catalogues have it where they say nothing; longer ones are jobs."""


def token_parts(there: "array[float]", world: World) -> "array[float]":
    """Dollars for each request that is paid by the token as it comes.

    Args:
        there: seconds that each takes at the provider, for which a function waits.
        world: for its prices.
    """
    at_once, per_second = _at_once(world)
    jobs = token_job_parts(there, world)
    return array(
        "d",
        [at_once + per_second * s if s <= LONGEST_AT_ONCE else job for s, job in zip(there, jobs, strict=True)],
    )


def token_job_parts(there: "array[float]", world: World) -> "array[float]":
    """The same for one that is recorded as a job first."""
    rates = gateway_rates(world.prices)
    fixed = job_part(world) + float(rates.waiting(0.0))
    per_second = float(rates.waiting(1.0) - rates.waiting(0.0))
    return array("d", [fixed + per_second * s for s in there])


def handed_on_parts(there: "array[float]", world: World) -> "array[float]":
    """Dollars that the gateway's parts are more for each job that is handed on than for one that an instance serves."""
    more = float(gateway_rates(world.prices).handed_on()) - job_part(world)
    return array("d", [part + more for part in token_job_parts(there, world)])


def instance_parts(held: "array[float]", world: World) -> "array[float]":
    """Least dollars for each request that an instance serves; storing its input is left out."""
    at_once, per_second = _at_once(world)
    least_job = cheapest_job(world)
    return array("d", [min(least_job, at_once + per_second * s) for s in held])


def job_part(world: World) -> float:
    """Dollars of the gateway's parts for an asynchronous job."""
    return float(gateway_rates(world.prices).by_road[InferenceType.ASYNC])


def cheapest_job(world: World) -> float:
    """Dollars of the gateway's parts for a job on the road where it costs least."""
    by_road = gateway_rates(world.prices).by_road
    return float(min(by_road[InferenceType.ASYNC], by_road[InferenceType.BATCH]))


def _at_once(world: World) -> tuple[float, float]:
    """Dollars of a request that is answered at once, and of each second for which the function waits."""
    rates = gateway_rates(world.prices)
    at_once = float(rates.expected(InferenceType.REALTIME, 0, 0.0))
    return at_once, float(rates.expected(InferenceType.REALTIME, 0, 1.0)) - at_once
