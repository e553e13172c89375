"""Failing deployments as a caller meets them: who answers instead, what it costs, and how often anything is tried."""

from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import Catalogue, InferenceType, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
)
from tollgate.domain.reading_limits import MOST_BYTES
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.health import HealthPolicy

HELLO = {"model": "echo", "input": "hello", "priority": "high"}
MAIN, SPARE = "tollgate-echo-realtime", "tollgate-echo-spare"
RESOURCE = ("echo/small", InferenceType.REALTIME)
BROKE = ModelFailedError("no", original_status=500)


def _catalogue(health: HealthPolicy | None = None, *, later: bool = False, **changes: Any) -> Catalogue:
    """`small` with all the traffic, and `spare` with none."""
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    (small,) = model.deployments
    roads: dict[InferenceType, Road] = dict(small.roads)
    roads[InferenceType.REALTIME] = replace(roads[InferenceType.REALTIME], target=SPARE)
    spare = replace(small, name="spare", weight=0, roads=roads)
    policy = health or HealthPolicy(fallback=("spare",), slow_seconds=2.0)
    model = replace(model, deployments=(small, spare), health=policy, fall_back_to_async=later)
    return replace(catalogue, models={"echo": model}, **changes)


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway(catalogue=_catalogue())


def _targets(gateway: FakeGateway) -> list[str]:
    return [target for target, _ in gateway.realtime.calls]


def test_who_asks_for_too_much_breaks_no_deployment(gateway: FakeGateway) -> None:
    """An answer too large to be read is charged once, and leads neither this caller nor others to the spare."""
    gateway.realtime.answers[MAIN] = b'"' + b"x" * MOST_BYTES + b'"'
    for _ in range(10):
        assert gateway.infer(HELLO).status == 502
    assert set(_targets(gateway)) == {MAIN}
    assert gateway.health.told == []


@pytest.mark.parametrize(
    "error",
    [BROKE, BackendError("502"), BackendThrottledError("slow down"), CapacityError("full")],
    ids=["5xx", "refused", "throttled", "no_capacity"],
)
def test_another_deployment_answers(gateway: FakeGateway, error: Exception) -> None:
    """The caller gets a 200, and the reason says who stood in."""
    gateway.realtime.answers[MAIN] = error
    answer = gateway.infer(HELLO)
    assert answer.status == 200
    assert _targets(gateway) == [MAIN, SPARE]
    assert answer.headers["x-tollgate-deployment"] == "echo/spare"
    assert answer.headers["x-tollgate-route-reason"].endswith(";fallback=spare")
    first, second = gateway.realtime.timeouts
    assert second == pytest.approx(first - gateway.realtime.takes), "the caller's time goes on"


@pytest.mark.parametrize(
    ("error", "status"),
    [(BackendTimeoutError("late"), 504), (ModelFailedError("bad input", original_status=422), 400)],
    ids=["timeout", "the input is at fault"],
)
def test_nobody_else_is_asked_where_it_would_not_help(gateway: FakeGateway, error: Exception, status: int) -> None:
    """A model that may still be at work is not paid twice, and a bad input stays bad."""
    gateway.realtime.answers[MAIN] = error
    assert gateway.infer(HELLO).status == status
    assert _targets(gateway) == [MAIN]


def test_nobody_is_asked_twice() -> None:
    """Not even where the chain names the deployment that has failed, or one that is gone."""
    gateway = FakeGateway(catalogue=_catalogue(HealthPolicy(fallback=("small", "gone", "spare"))))
    gateway.realtime.answers[MAIN] = BROKE
    assert gateway.infer(HELLO).status == 200
    assert _targets(gateway) == [MAIN, SPARE]


def test_a_deployment_without_a_price_does_not_stand_in() -> None:
    """What it costs could not be held, nor told."""
    catalogue = _catalogue()
    model = catalogue.models["echo"]
    small, spare = model.deployments
    unpriced = replace(spare.roads[InferenceType.REALTIME], usd_per_hour=None)
    spare = replace(spare, roads={**spare.roads, InferenceType.REALTIME: unpriced})
    gateway = FakeGateway(catalogue=replace(catalogue, models={"echo": replace(model, deployments=(small, spare))}))
    gateway.realtime.answers[MAIN] = BROKE
    assert gateway.infer(HELLO).status == 502
    assert _targets(gateway) == [MAIN]


def test_a_second_try_costs_both_and_is_charged_once() -> None:
    """The header has the sum of both tries, and so has the ledger; nothing stays held."""
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal(1))
    gateway = FakeGateway(catalogue=_catalogue(budgets=(budget,)))
    plain = Decimal(gateway.infer(HELLO).headers["x-tollgate-cost-usd"])
    before = gateway.ledger.counters["gateway#day#2026-03-01"]
    gateway.realtime.answers[MAIN] = BROKE
    cost = Decimal(gateway.infer(HELLO, request_id="req-2").headers["x-tollgate-cost-usd"])
    after = gateway.ledger.counters["gateway#day#2026-03-01"]
    assert plain < cost < 2 * plain  # the call to the API is paid once
    assert after.spent - before.spent == cost
    assert after.held == 0


def test_a_refused_try_costs_nothing_but_the_gateway() -> None:
    """No instance was held for it."""
    costs = []
    for error in (CapacityError("full"), BROKE):
        gateway = FakeGateway(catalogue=_catalogue())
        gateway.realtime.answers[MAIN] = error
        costs.append(Decimal(gateway.infer(HELLO).headers["x-tollgate-cost-usd"]))
    assert costs[0] < costs[1]


def test_when_the_chain_fails_too_the_caller_hears_the_last_error(gateway: FakeGateway) -> None:
    """With the cost of both."""
    gateway.realtime.answers = {MAIN: CapacityError("full"), SPARE: BROKE}
    answer = gateway.infer(HELLO)
    assert (answer.status, document(answer)["error"]["code"]) == (502, "model_error")
    assert _targets(gateway) == [MAIN, SPARE]


def test_without_capacity_anywhere_the_request_is_accepted_for_later() -> None:
    """The chain first, then the asynchronous road."""
    gateway = FakeGateway(catalogue=_catalogue(later=True))
    gateway.realtime.answer = CapacityError("full")
    answer = gateway.infer(HELLO)
    assert answer.status == 202
    assert _targets(gateway) == [MAIN, SPARE]
    assert ";async_fallback=no_capacity" in answer.headers["x-tollgate-route-reason"]


@pytest.mark.parametrize("later", [False, True], ids=["elsewhere", "later"])
def test_what_stands_in_too_dearly_does_not_make_a_request_one_that_never_fits(*, later: bool) -> None:
    """Spare or job cost more than a single request may; what was asked for did not, and may go through soon."""
    limit = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.REQUEST, Decimal("0.01"))
    catalogue = _catalogue(later=later, budgets=(limit,))
    model = catalogue.models["echo"]
    small, spare = model.deployments
    dear = {kind: replace(road, usd_per_hour=Decimal(10_000)) for kind, road in small.roads.items()}
    cheap = {InferenceType.REALTIME: small.roads[InferenceType.REALTIME]}
    model = replace(model, deployments=(replace(small, roads=dear | cheap), replace(spare, roads=dear)))
    gateway = FakeGateway(catalogue=replace(catalogue, models={"echo": model}))
    assert gateway.infer(HELLO).status == 200
    gateway.realtime.answers[MAIN] = CapacityError("full")
    answer = gateway.infer(HELLO, request_id="req-2")
    assert (answer.status, document(answer)["error"]["code"]) == (503, "no_capacity")
    assert answer.headers["x-tollgate-inference-type"] == "realtime"
    assert answer.headers["x-tollgate-deployment"] == "echo/small"
    assert ";fallback=spare,over_limit" in answer.headers["x-tollgate-route-reason"]
    assert "x-should-retry" not in answer.headers
    assert gateway.jobs.jobs == {}


def test_an_open_circuit_sends_requests_to_the_spare_at_once(gateway: FakeGateway) -> None:
    """After five failures nothing is tried in vain; the others are told; a probe brings the deployment back."""
    gateway.realtime.answers[MAIN] = BROKE
    for number in range(5):
        gateway.infer(HELLO, request_id=f"req-{number}")
    gateway.realtime.calls.clear()
    answer = gateway.infer(HELLO, request_id="req-6")
    assert answer.status == 200
    assert ";small=broken" in answer.headers["x-tollgate-route-reason"]
    assert _targets(gateway) == [SPARE]
    ((resource, state, seconds),) = gateway.health.told
    assert (resource, state, round(seconds)) == ("echo/small", RoadState.BROKEN, 10)
    gateway.clock.advance(10)
    del gateway.realtime.answers[MAIN]
    gateway.realtime.calls.clear()
    assert gateway.infer(HELLO, request_id="req-7").status == 200
    assert _targets(gateway) == [MAIN]
    assert gateway.health.told[-1] == ("echo/small", RoadState.AWAKE, 0.0)


def test_a_deployment_that_others_found_broken_is_avoided(gateway: FakeGateway) -> None:
    """And when it may be called again, one failure is enough."""
    gateway.capacity.capacity = Capacity({RESOURCE: RoadCapacity(state=RoadState.BROKEN)})
    gateway.infer(HELLO)
    assert _targets(gateway) == [SPARE]
    gateway.capacity.capacity = Capacity({RESOURCE: RoadCapacity()})
    gateway.realtime.answers[MAIN] = BROKE
    for number in range(3):
        gateway.infer(HELLO, request_id=f"req-{number}")
    assert _targets(gateway) == [SPARE, MAIN, SPARE, SPARE, SPARE]


def test_slow_answers_move_the_traffic_but_refuse_nobody(gateway: FakeGateway) -> None:
    """The spare takes over; without one, slow answers are still given."""
    gateway.realtime.takes = 3.0
    for number in range(8):
        assert gateway.infer(HELLO, request_id=f"req-{number}").status == 200
    assert SPARE in _targets(gateway)
    alone = FakeGateway(catalogue=make_catalogue())
    alone.realtime.takes = 3.0
    assert {alone.infer(HELLO, request_id=f"req-{n}").status for n in range(20)} == {200}


def test_a_call_cut_by_its_budget_says_nothing_about_the_deployment() -> None:
    """Nobody can make a deployment look broken to others with a budget that is too small for it."""
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal("0.01"))
    gateway = FakeGateway(catalogue=_catalogue(budgets=(budget,)))
    gateway.realtime.answers[MAIN] = BackendTimeoutError("late")
    for number in range(10):
        gateway.infer(HELLO, request_id=f"req-{number}")
    assert gateway.health.told == []


def test_nothing_is_lost_when_the_others_cannot_be_told(gateway: FakeGateway) -> None:
    """The table throttles; this environment knows anyway."""
    gateway.health.fail = True
    gateway.realtime.answers[MAIN] = BROKE
    assert {gateway.infer(HELLO, request_id=f"req-{n}").status for n in range(10)} <= {200, 502}
    assert _targets(gateway)[-1] == SPARE


def test_however_much_fails_calls_stay_few() -> None:
    """1,000 requests to two dead deployments: a tenth more calls than requests, which each earned, and two more."""
    gateway = FakeGateway(catalogue=_catalogue(HealthPolicy(fallback=("spare",), error_percent=100, least_calls=1000)))
    gateway.realtime.answer = BackendThrottledError("slow down")
    for number in range(1000):
        gateway.infer(HELLO, request_id=f"req-{number}")
    assert 1090 < len(gateway.realtime.calls) <= 1102


def test_with_the_breaker_even_fewer() -> None:
    """Of 1,000 requests in 200 s, the breaker lets a few dozen probes through."""
    gateway = FakeGateway(catalogue=_catalogue())
    gateway.realtime.answer = BackendThrottledError("slow down")
    for number in range(1000):
        gateway.clock.advance(0.2)
        gateway.infer(HELLO, request_id=f"req-{number}")
    assert len(gateway.realtime.calls) < 60
