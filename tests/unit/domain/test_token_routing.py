"""Between what is paid by the token and what is paid by the hour, the request decides."""

from copy import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.token_house import INSTANCES, TOKENS, token_catalogue
from tollgate.domain.catalogue import Catalogue, InferenceType, Model, Priority
from tollgate.domain.errors import DeadlineImpossibleError, InvalidRequestError
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.estimates import RequestSize
from tollgate.domain.roads.routing import RoutingDecision, RoutingRequest, route

BOTH = TOKENS + INSTANCES
BUSY = BOTH.replace('utilisation = "0.01"', 'utilisation = "1", concurrency = 64')
BATCH = BUSY + 'batch = { transform_model = "chat", concurrency = 64 }\n'
_BOTH = token_catalogue(BOTH)
SIZE = RequestSize(body_bytes=200, input_tokens=50)


def _route(
    text: str, request: RoutingRequest, capacity: Capacity | None = None, catalogue: Catalogue | None = None
) -> RoutingDecision:
    found = catalogue or token_catalogue(text)
    return route(request, found.models["chat"], capacity or Capacity(), found.gateway_prices)


@pytest.mark.parametrize("selector", [0.0, 0.4, 0.6, 0.99])
@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.MEDIUM])
def test_the_cheaper_way_of_paying_is_taken(priority: Priority, selector: float) -> None:
    """An endpoint that idles is dearer than tokens, one that is shared by many is cheaper; weights have no say."""
    request = RoutingRequest(SIZE, priority, selector=selector)
    assert _route(BOTH, request).deployment.name == "paid"
    assert _route(BUSY, request).deployment.name == "gpu"


@given(
    utilisation=st.decimals("0.001", 1, places=3),
    selector=st.floats(0, 1, exclude_max=True),
    output=st.none() | st.integers(1, 500),
    read=st.integers(1, 5_000),
    deadline=st.floats(7, 20),
)
def test_nothing_in_time_is_cheaper_than_the_choice(
    utilisation: Decimal, selector: float, output: int | None, read: int, deadline: float
) -> None:
    """By a deadline: of both deployments' roads that are expected to be in time, the one with the least loaded cost."""
    paid, gpu = _BOTH.models["chat"].deployments
    gpu = replace(gpu, roads={kind: replace(road, utilisation=utilisation) for kind, road in gpu.roads.items()})
    catalogue = replace(_BOTH, models={"chat": Model("chat", (paid, gpu))})
    request = RoutingRequest(RequestSize(200, read, output), deadline_seconds=deadline, selector=selector)
    chosen = _route("", request, catalogue=catalogue)
    costs = []
    for deployment in (paid, gpu):
        decision = route(request, Model("chat", (deployment,)), Capacity(), catalogue.gateway_prices)
        costs.append(decision.estimates[decision.inference_type].loaded_cost)
    assert chosen.expected_seconds <= deadline
    assert chosen.estimates[chosen.inference_type].loaded_cost == min(cost for cost in costs if cost is not None)


def test_only_what_gets_traffic_of_its_own_is_compared() -> None:
    """A provider that is switched off, or on trial, is not taken for being cheaper."""
    for change in ('tier = "small"\nweight = 0', 'tier = "small"\nrole = "challenger"\nweight = 0'):
        text = BOTH.replace('tier = "small"', change, 1)
        assert _route(text, RoutingRequest(SIZE, Priority.HIGH)).deployment.name == "gpu"


def test_if_none_can_answer_the_first_ones_reason_is_told() -> None:
    """It is the one whose turn it was."""
    catalogue = token_catalogue(BOTH)
    broken = {("chat/gpu", kind): RoadCapacity(state=RoadState.BROKEN) for kind in InferenceType}
    slow = {("chat/paid", kind): RoadCapacity(measured_seconds=900.0) for kind in InferenceType}
    with pytest.raises(InvalidRequestError, match="No road can carry"):
        _route(BOTH, RoutingRequest(SIZE, Priority.MEDIUM), Capacity(broken | slow), catalogue)


def test_the_reason_names_who_was_cheaper() -> None:
    """Where the weights had named the other one."""
    decisions = {s: _route(BOTH, RoutingRequest(SIZE, Priority.HIGH, selector=s)).reason for s in (0.0, 0.99)}
    assert sorted(decisions.values()) == ["priority=high", "priority=high;cheaper=paid"]


@pytest.mark.parametrize("state", [RoadState.BROKEN, RoadState.ASLEEP, RoadState.SLOW])
def test_tokens_stand_in_for_an_endpoint_that_cannot_answer_well(state: RoadState) -> None:
    """Now, by the token, rather than later or badly on the cheaper endpoint."""
    capacity = Capacity({("chat/gpu", InferenceType.REALTIME): RoadCapacity(state=state)})
    for selector in (0.0, 0.99):
        decision = _route(BUSY, RoutingRequest(SIZE, Priority.HIGH, selector=selector), capacity)
        assert (decision.deployment.name, decision.inference_type) == ("paid", InferenceType.REALTIME)


def test_an_endpoint_that_sleeps_is_woken_where_nobody_asks_for_an_answer_at_once() -> None:
    """With a deadline, or as a job, the price decides; a deadline that its start would miss goes to the provider."""
    text = BUSY.replace("concurrency = 64", "concurrency = 64, startup_seconds = 240")
    asleep = Capacity({("chat/gpu", kind): RoadCapacity(state=RoadState.ASLEEP) for kind in InferenceType})
    for request in (RoutingRequest(SIZE, deadline_seconds=3_600.0), RoutingRequest(SIZE, Priority.MEDIUM)):
        decision = _route(text, request, asleep)
        assert (decision.deployment.name, decision.inference_type) == ("gpu", InferenceType.ASYNC)
    assert _route(text, RoutingRequest(SIZE, deadline_seconds=20.0), asleep).deployment.name == "paid"


def test_a_broken_provider_is_left_alone() -> None:
    """The endpoint answers, at its price."""
    capacity = Capacity({("chat/paid", InferenceType.REALTIME): RoadCapacity(state=RoadState.BROKEN)})
    for selector in (0.0, 0.99):
        decision = _route(BOTH, RoutingRequest(SIZE, Priority.HIGH, selector=selector), capacity)
        assert (decision.deployment.name, decision.inference_type) == ("gpu", InferenceType.REALTIME)


def test_low_priority_becomes_a_job_of_the_cheapest_road() -> None:
    """A transform job where that is cheaper, otherwise a job whose call is made alone."""
    request = RoutingRequest(SIZE, Priority.LOW)
    alone = _route(TOKENS, request)
    assert (alone.inference_type, alone.reason) == (
        InferenceType.ASYNC,
        "priority=low;batch_ruled_out=not_in_catalogue",
    )
    assert _route(BATCH, request).inference_type is InferenceType.BATCH
    assert _route(BOTH, request).deployment.name == "paid"


def test_other_sizes_and_trials_keep_to_their_weights() -> None:
    """Only deployments of the same size that serve for good are compared."""
    for change in ('tier = "large"', 'tier = "small"\nrole = "challenger"'):
        text = TOKENS + INSTANCES.replace('tier = "small"', change)
        names = {_route(text, RoutingRequest(SIZE, Priority.HIGH, selector=s)).deployment.name for s in (0.0, 0.99)}
        assert names == {"paid", "gpu"}


def test_an_answer_too_long_to_wait_for_is_refused() -> None:
    """A function waits a minute at most for a provider, so what is expected to last longer has no road."""
    slow = TOKENS.replace("seconds_per_output_token = 0.01", "seconds_per_output_token = 1.0")
    with pytest.raises(InvalidRequestError, match="expected_too_long"):
        _route(slow, RoutingRequest(SIZE, Priority.MEDIUM))
    with pytest.raises(DeadlineImpossibleError):
        _route(slow, RoutingRequest(SIZE, deadline_seconds=500.0))
    assert _route(slow, RoutingRequest(SIZE._replace(output_tokens=20), Priority.HIGH)).expected_seconds < 28


def test_the_callers_limit_beyond_the_deployments_own_changes_nothing() -> None:
    """The provider is told the smaller one, so neither time nor cost grow with the other."""
    most, more = (
        _route(TOKENS, RoutingRequest(SIZE._replace(output_tokens=limit), Priority.HIGH)) for limit in (500, 50_000)
    )
    assert (most.estimated_cost, most.expected_seconds) == (more.estimated_cost, more.expected_seconds)
