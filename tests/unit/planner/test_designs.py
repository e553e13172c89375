"""The planner's shortcuts give the domain's own answers."""

import math
from array import array
from copy import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.collecting import Pool, collect
from planner.designs import (
    ASYNC,
    BATCH,
    CACHED,
    REALTIME,
    REFUSED,
    TOKENS,
    Router,
    roads_of,
    round_up,
    standard_designs,
)
from planner.outcome import replay
from planner.serving import Metric, Scaling, serve
from planner.trace import Trace
from planner.waking import Requests, serve_waking
from planner.world import World, price_book
from tollgate.domain.catalogue import BatchPolicy, InferenceType
from tollgate.domain.errors import DeadlineImpossibleError
from tollgate.domain.jobs.batches import WaitingJob, due_at
from tollgate.domain.places.wake_by_deadline import SleepingEndpoint
from tollgate.domain.roads.capacity import Capacity
from tollgate.domain.roads.estimates import RequestSize
from tollgate.domain.roads.routing import RoutingRequest, route

WORLD = World.of("ml.g5.2xlarge")
START = datetime(2026, 1, 1, tzinfo=UTC)


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(60, 90_000)), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(0, 4_000),
)
def test_a_pool_is_due_when_the_domain_says(rows: list[tuple[int, int]], most: int, age: int) -> None:
    """The figure kept up to date is `due_at` of the same waiting requests."""
    policy = BatchPolicy(max_records=most, max_age_seconds=age)
    pool = Pool(policy, WORLD.job_startup, WORLD.concurrency, 3.0)
    waiting = []
    for arrival, deadline in sorted(rows)[:most]:
        pool.add(float(arrival), float(arrival + deadline))
        created = START + timedelta(seconds=arrival)
        waiting.append(WaitingJob(created, created + timedelta(seconds=deadline)))
    road = WORLD.model(policy).deployments[0].roads[InferenceType.BATCH]
    due = due_at(waiting, policy, road, 3.0)
    assert due is not None
    assert pool.due == pytest.approx((due - START).total_seconds(), abs=1e-5)


@given(st.integers(0, 6_000), st.integers(0, 2_500), st.sampled_from([30.0, 400.0, 900.0, 86_400.0]))
@settings(max_examples=80)
def test_the_router_asks_the_gateways_own_route(read: int, written: int, deadline: float) -> None:
    """A group's road is the one that `route` gives to its largest request, or to this one where it has none."""
    design = next(d for d in standard_designs(WORLD, 4.0, {deadline}) if d.name == "deadline routing")
    model = WORLD.model(design.batch[0.0])
    expected = REFUSED
    for tokens in ((round_up(read), round_up(written)), (read, written)):
        request = RoutingRequest(size=RequestSize(4 * tokens[0] + 200, *tokens), deadline_seconds=deadline)
        try:
            road = route(request, model, Capacity(), WORLD.prices).inference_type
        except DeadlineImpossibleError:
            continue
        expected = {InferenceType.REALTIME: REALTIME, InferenceType.ASYNC: ASYNC, InferenceType.BATCH: BATCH}[road]
        break
    assert Router(design, WORLD).code(read, written, -1.0, deadline) == expected


def test_the_provider_takes_what_a_job_cannot_and_the_endpoint_what_neither_can() -> None:
    """A day's patience goes to a job; a quarter of an hour to the tokens, unless the answer is too long for a call."""
    rates = price_book().tokens["meta.llama3-1-8b-instruct-v1:0"].rates
    world = replace(WORLD, tokens=rates)
    design = next(d for d in standard_designs(world, 4.0, {900.0, 86_400.0}) if d.name == "jobs or tokens")
    router = Router(design, world)
    assert router.code(1_000, 50, -1.0, 86_400.0) == BATCH
    assert router.code(1_000, 50, -1.0, 900.0) == TOKENS
    assert router.code(1_000, 7_000, -1.0, 900.0) == ASYNC
    assert router.code(20_000, 50, 400.0, 30.0) == TOKENS, "how long an instance takes is nothing to the provider"


@given(st.integers(0, 10**9))
def test_rounding_up_stays_within_an_eighth(value: int) -> None:
    """Grouping never makes a request smaller, nor more than an eighth larger."""
    assert value <= round_up(value) <= value * 1.125


def trace_of(arrivals: list[float], *, deadline: float = math.inf, prompt: int = -1, priority: int = -1) -> Trace:
    trace = Trace(group_names=["all"])
    for arrival in arrivals:
        trace.append(arrival, 100, 10, deadline=deadline, prompt=prompt, priority=priority)
    return trace


def test_priorities_take_the_roads_of_the_catalogue() -> None:
    """High goes real-time, medium async, low to batch, and no class takes the default priority's road."""
    trace = Trace(group_names=["all"])
    for priority in (0, 1, 2, -1):
        trace.append(0.0, 1, 1, priority=priority)
    design = next(d for d in standard_designs(WORLD, 1.0, {60.0}) if d.name == "priority routing")
    assert list(roads_of(design, trace, WORLD)) == [REALTIME, ASYNC, BATCH, ASYNC]


def test_a_full_pool_leaves_at_once_and_another_waits_for_its_age() -> None:
    """Three of at most two records make a job of two straight away, and one after the greatest age."""
    arrivals, held = array("d", [0.0, 10.0, 20.0]), array("d", [5.0, 5.0, 5.0])
    pool = Pool(BatchPolicy(max_records=2, max_age_seconds=300), 240.0, 1, 5.0)
    served = collect(arrivals, held, array("d", [math.inf] * 3), pool=pool, dispatch_seconds=60.0)
    assert list(served.ends) == [10 + 240 + 10, 10 + 240 + 10, 360 + 240 + 5]
    assert served.starts == 2
    assert served.instance_seconds == 250 + 245


def test_instances_follow_the_traffic_and_leave_after_it() -> None:
    """A rush brings more instances, each after its start-up, and they leave when the cooldown is over."""
    arrivals = array("d", [n / 10 for n in range(6_000)])
    held = array("d", [1.0] * 6_000)
    scaling = Scaling(1, 5, Metric.INVOCATIONS, 200.0)
    served = serve(arrivals, held, concurrency=4, scaling=scaling, horizon=7_200.0)
    fixed = serve(arrivals, held, concurrency=4, scaling=Scaling(1, 1), horizon=7_200.0)
    assert 2 <= served.peak <= 3
    assert max(served.ends) < max(fixed.ends)
    assert served.instance_seconds < served.peak * 7_200.0


def test_an_endpoint_at_zero_wakes_on_its_backlog() -> None:
    """The first request waits for the metric's delay and the start-up; nothing is paid for the hours before it."""
    scaling = Scaling(0, 2, Metric.BACKLOG, 5.0)
    served = serve(array("d", [36_000.0]), array("d", [2.0]), concurrency=1, scaling=scaling, horizon=72_000.0)
    assert 36_000 + 300 < served.ends[0] <= 36_000 + 300 + 180 + 2
    assert served.instance_seconds < 1_200


def test_a_deadline_wakes_the_sleeping_endpoint_once_for_all_that_wait() -> None:
    """Requests of a quarter of an hour are answered by one start, none late."""
    arrivals = array("d", [1_000.0, 1_100.0, 1_200.0])
    served = serve_waking(
        Requests(arrivals, array("d", [2.0] * 3), array("d", [900.0] * 3)), SleepingEndpoint(300.0, 1, 4)
    )
    assert served.starts == 1
    assert all(e - a <= 900 for e, a in zip(served.ends, arrivals, strict=True))
    assert served.instance_seconds < 300 + 6 + 120


def test_a_burst_that_one_instance_cannot_finish_wakes_several() -> None:
    """2,000 seconds of work with 590 left after the start-up take four instances, no more, and end in time."""
    arrivals = array("d", [600.0] * 200)
    served = serve_waking(
        Requests(arrivals, array("d", [10.0] * 200), array("d", [900.0] * 200)), SleepingEndpoint(300.0, 1, 20)
    )
    assert served.starts == 4
    assert max(served.ends) <= 1_500


def test_busy_traffic_is_served_by_one_instance_that_starts_early() -> None:
    """Work for nine tenths of an instance wakes one before the last moment, and no second one is ever needed."""
    count = 3_000
    arrivals = array("d", [1.0 * n for n in range(count)])
    served = serve_waking(
        Requests(arrivals, array("d", [0.9] * count), array("d", [900.0] * count)), SleepingEndpoint(300.0, 1, 8)
    )
    assert (served.starts, served.peak) == (1, 1)
    assert served.changes[0][0] < 400
    assert all(end - arrival <= 900 for end, arrival in zip(served.ends, arrivals, strict=True))


def test_without_a_deadline_the_endpoint_still_wakes() -> None:
    """Requests that may wait for ever are served by one start, a day after the first of them came."""
    served = serve_waking(
        Requests(array("d", [5.0, 500.0]), array("d", [1.0, 1.0]), array("d", [math.inf] * 2)),
        SleepingEndpoint(300.0, 1, 1),
    )
    assert served.starts == 1
    assert max(served.ends) < 86_500


def test_only_a_repetition_within_its_life_comes_from_the_cache() -> None:
    """The same request an hour and a half later is served anew; one a minute later is not."""
    design = next(d for d in standard_designs(WORLD, 1.0, {60.0}) if d.cache_ttl)
    outcome = replay(trace_of([0.0, 60.0, 5_400.0], deadline=25.0, prompt=7), design, WORLD)
    assert outcome.counts == {"realtime": 2, "cache": 1}
    assert CACHED not in roads_of(design, trace_of([0.0, 60.0], deadline=25.0), WORLD)


def test_an_answer_that_is_not_there_yet_is_no_hit() -> None:
    """A repetition before the first one's deadline on the asynchronous road is served by itself."""
    design = next(d for d in standard_designs(WORLD, 1.0, {900.0}) if d.cache_ttl)
    outcome = replay(trace_of([0.0, 60.0, 1_000.0], deadline=900.0, prompt=7), design, WORLD)
    assert outcome.counts == {"async": 2, "cache": 1}
