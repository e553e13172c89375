"""The gateway's own parts of one request as floats, for decisions and bounds; bills use the exact amounts."""

from array import array

from planner.trace import Trace
from planner.world import World
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.gateway_parts import gateway_rates


def gateway_parts(trace: Trace, world: World, held: "array[float]") -> "tuple[array[float], array[float]]":
    """Least dollars of the gateway's parts for each request: paid by the token, and served by an instance.

    Waiting for an answer keeps a function busy; a job is recorded and queued instead. Storing its input is left out.
    """
    rates = gateway_rates(world.prices)
    at_once = float(rates.expected(InferenceType.REALTIME, 0, 0.0))
    per_second = float(rates.expected(InferenceType.REALTIME, 0, 1.0)) - at_once
    job = float(rates.by_road[InferenceType.ASYNC])
    least_job = cheapest_job(world)
    seconds = map(world.token_timing.expected_seconds, trace.input_tokens, trace.output_tokens)
    by_token = array("d", [min(job, at_once + per_second * value) for value in seconds])
    return by_token, array("d", [min(least_job, at_once + per_second * value) for value in held])


def job_part(world: World) -> float:
    """Dollars of the gateway's parts for an asynchronous job."""
    return float(gateway_rates(world.prices).by_road[InferenceType.ASYNC])


def cheapest_job(world: World) -> float:
    """Dollars of the gateway's parts for a job on the road where it costs least."""
    by_road = gateway_rates(world.prices).by_road
    return float(min(by_road[InferenceType.ASYNC], by_road[InferenceType.BATCH]))
