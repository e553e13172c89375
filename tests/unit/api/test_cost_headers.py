"""What the cost headers say of calls that are neither a plain answer nor a plain job, and what the metrics count."""

import json
from copy import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.api.http import Answer
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.costs.usage import roll_up, sum_of
from tollgate.domain.errors import CapacityError

HELLO = {"model": "echo", "input": "hello"}
NOTHING = ("0", "0")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _costs(answer: Answer) -> tuple[str, str]:
    return answer.headers["x-tollgate-cost-usd"], answer.headers["x-tollgate-avoided-cost-usd"]


def test_a_question_about_the_route_is_free() -> None:
    """The estimate is in the body; nothing ran, so no request of a deployment is counted, nor an unknown cost."""
    gateway = FakeGateway()
    answer = gateway.call("POST /v1/route", HELLO)
    assert Decimal(document(answer)["estimated_cost_usd"]) > 0
    assert _costs(answer) == NOTHING
    assert answer.headers["x-tollgate-route-reason"]
    assert gateway.metrics == []
    assert [line["outcome"] for line in gateway.lines] == ["routed"]


@pytest.mark.parametrize("priority", ["high", "medium", "low"])
def test_a_request_that_a_budget_refuses_is_charged_nothing(priority: str) -> None:
    """On every road: neither header, nor counter, nor usage; and no log line names a job that does not exist."""
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal("0.000001"))
    gateway = FakeGateway(catalogue=replace(make_catalogue(), budgets=(budget,)))
    answer = gateway.infer(HELLO | {"priority": priority})
    assert answer.status == 429
    assert _costs(answer) == NOTHING
    assert all("job_id" not in line for line in gateway.lines)
    assert all(counter.used == counter.held == 0 for counter in gateway.ledger.counters.values())
    (record,) = [r for line in gateway.lines for r in records_of_line(json.dumps(line, separators=(",", ":")), NOON)]
    totals = sum_of(roll_up([record], NOON))
    assert (totals.requests, totals.rejected) == (1, 1)
    assert totals.effective == totals.charged == 0


def test_a_request_that_fell_back_to_async_shows_the_estimate_of_its_job() -> None:
    """Headers and body of a 202 agree, whatever was tried before."""
    gateway = FakeGateway()
    gateway.realtime.answer = CapacityError("asleep")
    answer = gateway.infer(HELLO | {"priority": "high"})
    assert answer.status == 202
    assert answer.headers["x-tollgate-cost-usd"] == document(answer)["cost"]["estimated_cost_usd"]


def test_a_job_is_compared_with_the_same_request_on_the_baseline_road() -> None:
    """Whichever road it takes: what it is expected to cost and to avoid add up to what that would cost."""
    gateway = FakeGateway()
    sums = {}
    for priority in ("medium", "low"):
        cost, avoided = map(Decimal, _costs(gateway.infer(HELLO | {"priority": priority})))
        assert avoided > 0
        assert cost > 0
        sums[priority] = cost + avoided
    assert sums["medium"] == sums["low"]
