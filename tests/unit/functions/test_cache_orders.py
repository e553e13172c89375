"""The cache function's events: stale answers made anew, answers filed, and what nobody understands."""

import json
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from functions.cache.app import handle
from tests.fakes.budgeted_gateway import make_budget
from tests.fakes.cache_function import BODY, CacheStack
from tests.fakes.gateway import document
from tests.unit.template_document import ROOT
from tollgate.api.message_fields import MessageError
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep, Control
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import (
    BackendTimeoutError,
    CapacityError,
    InvalidRequestError,
    ModelFailedError,
    StorageError,
)
from tollgate.domain.near.policy import NearPolicy
from tollgate.domain.places.sleeping import SleepPolicy
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.health import HealthPolicy
from tollgate.services.cache.refresh_answers import INLINE_BYTES, RefreshOrders


def test_one_refresh_makes_the_answer_anew() -> None:
    """Five readers of a stale answer leave one order; carried out twice, it runs once."""
    stack = CacheStack(stale_seconds=600)
    orders = stack.stale_orders()
    assert len(orders) == 1
    stack.gateway.realtime.answer = b'{"label": "new"}'
    for _ in range(2):
        stack.parts.refresher.carry_out(json.loads(json.dumps(orders[0])))
    assert len(stack.gateway.realtime.calls) == 2
    answer = stack.gateway.infer(BODY)
    assert answer.headers["x-tollgate-cache"] == "hit"
    assert document(answer)["output"] == {"label": "new"}
    (record,) = stack.telemetry.requests
    assert record.owner is not None
    assert (record.owner.tenant, record.outcome) == ("acme", "completed")
    assert record.effective_cost is not None
    assert record.effective_cost > 0


def test_refreshes_for_the_same_call_are_records_of_their_own() -> None:
    """A list may find several answers stale; usage counts a record that comes twice once."""
    stack = CacheStack(stale_seconds=600)
    bodies = [BODY | {"input": text} for text in ("one", "two")]
    for body in bodies:
        stack.gateway.infer(body)
    stack.gateway.clock.advance(700)
    for body in bodies:
        assert stack.state(body) == "stale"
    for run, ticket in stack.gateway.refreshes:
        RefreshOrders(stack.orders, stack.gateway.objects).order(run, ticket)
    for order in stack.orders.bodies:
        stack.parts.refresher.carry_out(order)
    assert len({record.request_id for record in stack.telemetry.requests}) == 2


def test_an_order_that_comes_too_late_does_nothing() -> None:
    """Its lease ended, and somebody else may have ordered again."""
    stack = CacheStack(stale_seconds=600)
    (order,) = stack.stale_orders()
    stack.gateway.clock.advance(60)
    stack.parts.refresher.carry_out(order)
    assert len(stack.gateway.realtime.calls) == 1


def test_a_failed_refresh_is_recorded_even_if_the_table_fails_then() -> None:
    """What ran was charged to its tenant; the order is done with, and the lease ends by itself."""
    stack = CacheStack(stale_seconds=600)
    (order,) = stack.stale_orders()
    stack.gateway.realtime.answer = ModelFailedError("broken", original_status=500)
    stack.gateway.answers.fails = lambda operation: operation == "release"
    stack.parts.refresher.carry_out(order)
    (record,) = stack.telemetry.requests
    assert record.outcome == "failed"
    assert record.effective_cost is not None
    assert record.effective_cost > 0


def test_a_refresh_that_ran_and_then_found_no_ledger_is_not_run_again() -> None:
    """Its first deployment failed, for money, and what the spare may cost could not be held."""
    stack = CacheStack(stale_seconds=600)
    gateway = stack.gateway
    (order,) = stack.stale_orders()
    catalogue = gateway.catalogues.catalogue
    model = catalogue.models["echo"]
    (small,) = model.deployments
    spare = replace(small, name="spare", weight=0)
    model = replace(model, deployments=(small, spare), health=HealthPolicy(fallback=("spare",)))
    gateway.catalogues.catalogue = replace(catalogue, models={"echo": model}, budgets=(make_budget("5"),))

    def fails() -> Exception:
        gateway.ledger.write = down  # type: ignore[assignment,method-assign]  # from now on
        return ModelFailedError("broken", original_status=500)

    def down(_: object) -> Any:
        raise StorageError("throttled")

    gateway.realtime.script = fails
    stack.parts.refresher.carry_out(order)
    (record,) = stack.telemetry.requests
    assert (record.outcome, record.error_code) == ("failed", "StorageError")
    assert record.charged_cost is not None
    assert record.charged_cost > 0


def test_a_failed_refresh_leaves_the_stale_answer_and_frees_the_lease() -> None:
    """The failure is on record; the next reader gets the stale answer and orders again."""
    stack = CacheStack(stale_seconds=600)
    (order,) = stack.stale_orders()
    stack.gateway.realtime.answer = BackendTimeoutError("no answer")
    stack.parts.refresher.carry_out(order)
    assert [record.outcome for record in stack.telemetry.requests] == ["failed"]
    assert stack.state() == "stale"
    assert len(stack.gateway.refreshes) == 2


def test_nothing_is_queued_or_woken_for_a_refresh_while_the_endpoint_sleeps() -> None:
    """No job, whose answer nobody would see, and no start; nor an order for each reader until the lease ends."""
    stack = CacheStack(stale_seconds=600)
    (order,) = stack.stale_orders()
    asleep = RoadCapacity(state=RoadState.ASLEEP)
    roads = {("echo/small", road): asleep for road in (InferenceType.REALTIME, InferenceType.ASYNC)}
    stack.gateway.capacity.capacity = Capacity(roads)
    model = stack.gateway.catalogue.models["echo"]
    sleeping = tuple(replace(deployment, sleep=SleepPolicy(idle_minutes=30)) for deployment in model.deployments)
    models = {"echo": replace(model, deployments=sleeping)}
    stack.gateway.catalogues.catalogue = replace(stack.gateway.catalogue, models=models)
    stack.parts.refresher.carry_out(order)
    assert stack.gateway.jobs.jobs == {}
    assert stack.gateway.wakes.sent == []
    assert stack.telemetry.requests == []
    assert len(stack.gateway.realtime.calls) == 1
    assert len(stack.gateway.refreshes) == 1
    stack.state()
    assert len(stack.gateway.refreshes) == 1


def test_a_refresh_that_meets_a_full_endpoint_becomes_no_job() -> None:
    """It would be run, and paid for, with nobody to keep its answer."""
    stack = CacheStack(stale_seconds=600)
    (order,) = stack.stale_orders()
    stack.gateway.realtime.answer = CapacityError("full")
    stack.parts.refresher.carry_out(order)
    assert stack.gateway.jobs.jobs == {}
    assert [record.outcome for record in stack.telemetry.requests] == ["failed"]
    assert stack.state() == "stale"


def test_a_refresh_during_a_stop_runs_nothing() -> None:
    """The order is done with, no money is held or spent, and the stale answer is still there afterwards."""
    stack = CacheStack(stale_seconds=600)
    (order,) = stack.stale_orders()
    gateway = stack.gateway
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal(1))
    brakes = BrakePolicy(steps=(BrakeStep(Decimal(100), BrakeLevel.STOP),))
    before = gateway.catalogues.catalogue
    gateway.catalogues.catalogue = replace(before, brakes=brakes, budgets=(budget,))
    gateway.brakes.control = Control(revision=1, level=BrakeLevel.STOP)
    stack.parts.refresher.carry_out(order)
    assert len(gateway.realtime.calls) == 1
    assert gateway.ledger.counters == {}
    assert [(r.outcome, r.error_code) for r in stack.telemetry.requests] == [("rejected", "SpendStoppedError")]
    gateway.catalogues.catalogue = before
    assert stack.state() == "stale"


def test_a_large_order_travels_through_the_bucket() -> None:
    """A message holds little; an order whose object is gone is dropped."""
    stack = CacheStack(stale_seconds=600)
    body = BODY | {"input": "x" * INLINE_BYTES}
    (order,) = stack.stale_orders(body)
    assert set(order) == {"kind", "stored"}
    stack.parts.refresher.carry_out(order)
    assert stack.state(body) == "hit"
    stack.parts.refresher.carry_out({"kind": "refresh", "stored": "cache/refresh/gone"})
    assert len(stack.gateway.realtime.calls) == 2


def test_a_refresh_under_another_catalogue_is_given_up() -> None:
    """The request has another key now; its old entry is left to its time."""
    stack = CacheStack(stale_seconds=600)
    (order,) = stack.stale_orders()
    model = replace(stack.gateway.catalogue.models["echo"], cache=CachePolicy(version="2"))
    stack.gateway.catalogues.catalogue = replace(stack.gateway.catalogue, version=2, models={"echo": model})
    stack.parts.refresher.carry_out(order)
    assert len(stack.gateway.realtime.calls) == 1


def test_a_refresh_passes_admission() -> None:
    """With a budget that has nothing left, the order is not carried out, and the stale answer stays."""
    stack = CacheStack(stale_seconds=600)
    (order,) = stack.stale_orders()
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal("0.000001"))
    stack.gateway.catalogues.catalogue = replace(stack.gateway.catalogue, budgets=(budget,))
    stack.parts.refresher.carry_out(order)
    assert len(stack.gateway.realtime.calls) == 1
    assert [record.outcome for record in stack.telemetry.requests] == ["rejected"]
    assert stack.state() == "stale"


def test_an_order_for_an_entry_that_is_not_there_is_done_with() -> None:
    """The sample of the gateway's order: nothing runs and nothing is raised, so that it does not come again."""
    event = json.loads((ROOT / "events" / "cache" / "refresh.json").read_text())
    stack = CacheStack()
    assert handle(event, stack.parts) is None
    assert stack.gateway.realtime.calls == []


@pytest.mark.parametrize(
    "order",
    [{"kind": "refresh"}, {"kind": "refresh", "ticket": {"shape": "odd"}, "request_id": "r", "owner": None}],
)
def test_an_order_that_nobody_understands_says_why(order: dict[str, Any]) -> None:
    """It is raised, so that Lambda puts it among the dead letters with the reason; nothing runs."""
    stack = CacheStack()
    with pytest.raises(InvalidRequestError, match="No order to make an answer anew"):
        handle(order, stack.parts)
    assert stack.gateway.realtime.calls == []
    assert [message for level, message, _ in stack.telemetry.lines if level == "ERROR"] == ["order not understood"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": None}, "missing or wrong: model"),
        ({"made_ms": "today", "expires_s": 1.5}, "missing or wrong: made_ms, expires_s"),
        ({"beside": {"key": "k"}}, "missing or wrong: made_ms"),
        ({"beside": "k"}, "No order to file"),
        ({"vector": "abc"}, "No order to file"),
    ],
)
def test_an_order_to_file_that_nobody_understands_says_why(changes: dict[str, Any], reason: str) -> None:
    """Whatever is missing or of the wrong type is named; nothing is filed."""
    order = json.loads((ROOT / "events" / "cache" / "near.json").read_text())
    stack = CacheStack(near=NearPolicy())
    with pytest.raises(InvalidRequestError, match=reason):
        handle(order | changes, stack.parts)
    assert stack.gateway.near_index.filed == {}
    assert [message for level, message, _ in stack.telemetry.lines if level == "ERROR"] == ["order not understood"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"kind": "dance"}, "unknown kind 'dance'"),
        ({"kind": ["refresh"]}, "no 'kind'"),
        ({"source": "aws.events"}, "no 'kind'"),
    ],
)
def test_an_event_of_an_unknown_kind_says_so(event: dict[str, Any], reason: str) -> None:
    """It is no call that nobody answers: it is raised, so that it ends among the dead letters with the reason."""
    stack = CacheStack()
    with pytest.raises(MessageError, match=reason):
        handle(event, stack.parts)
    assert [message for level, message, _ in stack.telemetry.lines if level == "ERROR"] == ["event not understood"]
