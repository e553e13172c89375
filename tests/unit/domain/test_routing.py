"""Routing as a pure function: which road, why, and what it never does."""

from copy import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.examples import PRICES, make_catalogue
from tollgate.domain.catalogue import ROAD_OF_PRIORITY, InferenceType, Model, Priority
from tollgate.domain.errors import (
    CapacityError,
    DeadlineImpossibleError,
    InvalidRequestError,
    PriceUnknownError,
    TollgateError,
)
from tollgate.domain.places.sleeping import SleepPolicy
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.estimates import REALTIME_BODY_LIMIT, RequestSize, choices_made, output_limit
from tollgate.domain.roads.routing import RoutingDecision, RoutingRequest, route
from tollgate.domain.roads.spreading import choose_deployment
from tollgate.domain.selection import selector_of

SMALL = RequestSize(body_bytes=200, input_tokens=10)


def _model() -> Model:
    return make_catalogue().models["echo"]


def _route(
    request: RoutingRequest | None = None, *, model: Model | None = None, capacity: Capacity | None = None
) -> RoutingDecision:
    return route(request or RoutingRequest(SMALL), model or _model(), capacity or Capacity(), PRICES)


def _state(inference_type: InferenceType, state: RoadState) -> Capacity:
    return Capacity({("echo/small", inference_type): RoadCapacity(state=state)})


@pytest.mark.parametrize("priority", list(Priority))
def test_a_priority_names_its_road(priority: Priority) -> None:
    """High is real-time, medium is async, low is batch."""
    decision = _route(RoutingRequest(SMALL, priority=priority))
    assert decision.inference_type is ROAD_OF_PRIORITY[priority]
    assert decision.reason == f"priority={priority.value}"


def test_without_priority_or_deadline_the_models_default_holds() -> None:
    """And the reason says so."""
    assert _route(model=replace(_model(), default_priority=Priority.LOW)).reason == "default_priority=low"


@pytest.mark.parametrize("state", [RoadState.ASLEEP, RoadState.BROKEN])
def test_realtime_without_capacity_becomes_async(state: RoadState) -> None:
    """Known before the call, so no call is made."""
    decision = _route(RoutingRequest(SMALL, priority=Priority.HIGH), capacity=_state(InferenceType.REALTIME, state))
    assert decision.inference_type is InferenceType.ASYNC
    assert decision.reason == f"priority=high;realtime_ruled_out={state.value}"


def test_realtime_without_capacity_and_fallback_is_an_error() -> None:
    """The caller hears it at once."""
    with pytest.raises(CapacityError):
        _route(
            RoutingRequest(SMALL, priority=Priority.HIGH),
            model=replace(_model(), fall_back_to_async=False),
            capacity=_state(InferenceType.REALTIME, RoadState.ASLEEP),
        )


def test_a_broken_batch_road_moves_up() -> None:
    """With nothing slower left, the next quicker road takes the request."""
    decision = _route(
        RoutingRequest(SMALL, priority=Priority.LOW), capacity=_state(InferenceType.BATCH, RoadState.BROKEN)
    )
    assert decision.inference_type is InferenceType.ASYNC


def test_an_async_road_asleep_still_accepts() -> None:
    """Its queue holds the request; only the expected time grows."""
    awake = _route(RoutingRequest(SMALL, priority=Priority.MEDIUM), model=_slow_start())
    asleep = _route(
        RoutingRequest(SMALL, priority=Priority.MEDIUM),
        model=_slow_start(),
        capacity=_state(InferenceType.ASYNC, RoadState.ASLEEP),
    )
    assert asleep.inference_type is InferenceType.ASYNC
    assert asleep.expected_seconds == pytest.approx(awake.expected_seconds + 300)


def test_a_backlog_delays_async() -> None:
    """Waiting requests times their duration over the places that serve them."""
    capacity = Capacity(
        {("echo/small", InferenceType.ASYNC): RoadCapacity(measured_seconds=2.0, backlog=30, instances=3)}
    )
    decision = _route(RoutingRequest(SMALL, priority=Priority.MEDIUM), capacity=capacity)
    assert decision.expected_seconds == pytest.approx(1 + 30 * 2 / 3 + 2)


def test_a_body_no_road_carries_is_refused() -> None:
    """Over 1 GB there is nothing left."""
    with pytest.raises(InvalidRequestError):
        _route(RoutingRequest(RequestSize(body_bytes=2**31), priority=Priority.HIGH))


@given(
    body=st.integers(1, 200_000_000),
    measured=st.none() | st.floats(0.001, 200),
    priority=st.none() | st.sampled_from(list(Priority)),
    deadline=st.none() | st.floats(0.01, 10_000),
    state=st.sampled_from(list(RoadState)),
)
def test_what_routing_never_does(
    body: int, measured: float | None, priority: Priority | None, deadline: float | None, state: RoadState
) -> None:
    """Never real-time when too big, too slow or without capacity; never knowingly late; never free."""
    model = _model()
    capacity = Capacity({("echo/small", InferenceType.REALTIME): RoadCapacity(state=state, measured_seconds=measured)})
    request = RoutingRequest(RequestSize(body, input_tokens=10), priority=priority, deadline_seconds=deadline)
    try:
        decision = _route(request, capacity=capacity)
    except TollgateError:
        return
    if decision.inference_type is InferenceType.REALTIME:
        assert body <= REALTIME_BODY_LIMIT
        assert state in {RoadState.AWAKE, RoadState.SLOW}
        assert measured is None or measured <= model.realtime_seconds_limit
    if deadline is not None:
        assert decision.expected_seconds <= deadline
    assert decision.estimated_cost > 0


def test_a_deadline_takes_the_cheapest_road_in_time() -> None:
    """Batch when there is time, async when there is less, real-time when there is none to lose."""
    chosen = [_route(RoutingRequest(SMALL, deadline_seconds=d)).inference_type for d in (0.6, 5.0)]
    assert chosen == [InferenceType.REALTIME, InferenceType.ASYNC]


def test_a_deadlines_reason_says_which_cost_was_compared() -> None:
    """The road with the lowest estimated cost may be another one: an idle endpoint is part of the loaded cost."""
    decision = _route(RoutingRequest(SMALL, deadline_seconds=5.0))
    assert decision.reason.startswith("deadline=5s;lowest_loaded_cost_in_time;")


def test_a_deadline_nobody_meets_names_the_expectations() -> None:
    """So that the caller knows what to ask for."""
    with pytest.raises(DeadlineImpossibleError, match=r"realtime 0\.5 s"):
        _route(RoutingRequest(SMALL, deadline_seconds=0.1))


def test_a_priority_beside_a_deadline_names_the_road() -> None:
    """The deadline is only checked; an answer at its very moment is in time."""
    needed = _route(RoutingRequest(SMALL, Priority.MEDIUM)).expected_seconds
    decision = _route(RoutingRequest(SMALL, Priority.MEDIUM, deadline_seconds=needed))
    assert (decision.inference_type, decision.fallback) == (InferenceType.ASYNC, None)
    assert decision.reason == f"priority=medium;deadline={needed:g}s"
    with pytest.raises(DeadlineImpossibleError, match=r"Roads expected to be in time: realtime\."):
        _route(RoutingRequest(SMALL, Priority.MEDIUM, deadline_seconds=needed - 0.01))
    with pytest.raises(DeadlineImpossibleError, match=r"No road is expected to be\."):
        _route(RoutingRequest(SMALL, Priority.HIGH, deadline_seconds=0.01))


def test_a_call_at_once_may_become_a_job_that_is_in_time() -> None:
    """Where the model allows it, and where the job could be priced."""
    needed = _route(RoutingRequest(SMALL, Priority.MEDIUM)).expected_seconds
    for deadline, fallback in ((None, InferenceType.ASYNC), (needed, InferenceType.ASYNC), (needed - 0.01, None)):
        decision = _route(RoutingRequest(SMALL, Priority.HIGH, deadline_seconds=deadline))
        assert (decision.inference_type, decision.fallback) == (InferenceType.REALTIME, fallback)
    request = RoutingRequest(SMALL, Priority.HIGH)
    assert _route(request, model=replace(_model(), fall_back_to_async=False)).fallback is None
    unpriced = make_catalogue(usd_per_hour=None).models["echo"]
    assert _route(request, model=unpriced).fallback is None


@pytest.mark.parametrize("deadline", [None, 1_000_000.0])
def test_a_road_without_a_price_is_not_taken(deadline: float | None) -> None:
    """Nor by a deadline that nothing else meets."""
    model = _model()
    (deployment,) = model.deployments
    road = replace(deployment.roads[InferenceType.ASYNC], usd_per_hour=None)
    model = replace(model, deployments=(replace(deployment, roads={InferenceType.ASYNC: road}),))
    with pytest.raises(PriceUnknownError):
        _route(RoutingRequest(SMALL, None if deadline else Priority.MEDIUM, deadline_seconds=deadline), model=model)


def _sleepy(*, leaves: bool = True) -> Model:
    model = replace(_model(), fall_back_to_async=leaves)
    return replace(model, deployments=tuple(replace(d, sleep=SleepPolicy(30)) for d in model.deployments))


@pytest.mark.parametrize(
    ("leaves", "later", "taken", "sleeping"),
    [
        (True, RoadState.AWAKE, InferenceType.ASYNC, [InferenceType.REALTIME]),
        (True, RoadState.BROKEN, InferenceType.REALTIME, [InferenceType.REALTIME]),
        (True, RoadState.ASLEEP, InferenceType.REALTIME, [InferenceType.REALTIME]),
        (False, RoadState.AWAKE, InferenceType.REALTIME, [InferenceType.REALTIME]),
    ],
)
def test_a_sleeping_road_is_waited_for_where_no_other_is_awake(
    leaves: bool, later: RoadState, taken: InferenceType, sleeping: list[InferenceType]
) -> None:
    """It is woken in any case; what may not leave it waits as well."""
    states = {InferenceType.REALTIME: RoadState.ASLEEP, InferenceType.ASYNC: later}
    capacity = Capacity({("echo/small", kind): RoadCapacity(state) for kind, state in states.items()})
    decision = _route(RoutingRequest(SMALL, Priority.HIGH), model=_sleepy(leaves=leaves), capacity=capacity)
    assert (decision.inference_type, list(decision.sleeping)) == (taken, sleeping)
    assert decision.deferred is (taken is InferenceType.REALTIME)


def test_both_roads_are_woken_where_the_one_that_is_taken_sleeps_too() -> None:
    """A job's road is not: who wants it and takes it is named once, and a deadline wants none beforehand."""
    capacity = Capacity({("echo/small", kind): RoadCapacity(RoadState.ASLEEP) for kind in InferenceType})
    job = _route(RoutingRequest(SMALL, Priority.MEDIUM), model=_sleepy(), capacity=capacity)
    assert (job.inference_type, job.sleeping) == (InferenceType.ASYNC, (InferenceType.ASYNC,))
    in_time = _route(RoutingRequest(SMALL, deadline_seconds=1_000_000.0), model=_sleepy(), capacity=capacity)
    assert in_time.sleeping == (in_time.inference_type,)


def test_only_calls_at_once_stay_where_they_are() -> None:
    """A job whose road is broken moves up, though the model leaves no real-time call to a job."""
    model = replace(_model(), fall_back_to_async=False)
    decision = _route(
        RoutingRequest(SMALL, Priority.LOW), model=model, capacity=_state(InferenceType.BATCH, RoadState.BROKEN)
    )
    assert decision.inference_type is InferenceType.ASYNC


def test_deployments_share_by_weight() -> None:
    """A weight of 3 to 1 gives three quarters of many requests; a weight of 0 gets none."""
    first = _model().deployments[0]
    deployments = (
        replace(first, name="a", weight=3),
        replace(first, name="b", weight=1),
        replace(first, name="c", weight=0),
    )
    names = [choose_deployment(deployments, selector_of(f"req-{i}")).name for i in range(4000)]
    assert 0.72 < names.count("a") / 4000 < 0.78
    assert "c" not in names


def test_the_same_request_chooses_the_same_way() -> None:
    """A retry meets the same deployment."""
    assert selector_of("req-1") == selector_of("req-1") != selector_of("req-2")


def _slow_start() -> Model:
    return make_catalogue(startup_seconds=300.0).models["echo"]


def test_estimates_show_idle_time_only_in_the_loaded_cost() -> None:
    """A road that is busy a quarter of the time is compared at four times its busy price."""
    realtime = _route().estimates[InferenceType.REALTIME]
    assert realtime.loaded_cost is not None
    assert realtime.estimated_cost is not None
    instance = Decimal("0.5") * Decimal("0.115") / 3600
    assert realtime.loaded_cost - realtime.estimated_cost == pytest.approx(3 * instance, abs=Decimal("1e-10"))


@pytest.mark.parametrize(
    ("parameters", "value", "limit"),
    [
        ({}, None, None),
        ({"max_tokens": 5}, "a", 5),
        ({"max_tokens": 5, "max_new_tokens": 900}, None, 900),
        ({"max_tokens": 5}, {"messages": [], "max_completion_tokens": 900}, 900),
        ({"max_tokens": 5}, {"inputs": "a", "parameters": {"max_new_tokens": 900}}, 900),
        ({"max_tokens": 5}, {"inputs": "a", "parameters": [900]}, 5),
        ({"max_tokens": 10**400}, None, 1_000_000),
        ({"max_tokens": True, "max_new_tokens": "7"}, {"max_tokens": -7}, None),
    ],
)
def test_the_highest_limit_counts_wherever_it_stands(parameters: Any, value: Any, limit: int | None) -> None:
    """Which name a container knows is its own affair, so a low one beside it says nothing."""
    assert output_limit(parameters, value) == limit


@pytest.mark.parametrize(
    ("parameters", "choices"),
    [({}, 1), ({"n": 4}, 4), ({"n": 2, "best_of": 8}, 8), ({"n": True}, 1), ({"n": "9"}, 1), ({"n": 10**9}, 128)],
)
def test_every_choice_is_counted(parameters: Any, choices: int) -> None:
    """What is made and not given back is paid for as well."""
    assert choices_made(parameters) == choices
