"""What the cost headers say of calls that are neither a plain answer nor a plain job, and what the metrics count."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tollgate.api.http import Answer
from tollgate.domain.budgets import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.errors import CapacityError
from tollgate.domain.gateway_parts import gateway_rates
from tollgate.domain.money import usd_text

HELLO = {"model": "echo", "input": "hello"}
GATEWAY_ALONE = usd_text(gateway_rates(make_catalogue().gateway_prices).rejected)


def _costs(answer: Answer) -> tuple[str, str]:
    return answer.headers["x-tollgate-cost-usd"], answer.headers["x-tollgate-avoided-cost-usd"]


def test_a_question_about_the_route_costs_the_gateway_alone() -> None:
    """The estimate is in the body; nothing ran, so no request of a deployment is counted, nor an unknown cost."""
    gateway = FakeGateway()
    answer = gateway.call("POST /v1/route", HELLO)
    assert Decimal(document(answer)["estimated_cost_usd"]) > Decimal(GATEWAY_ALONE)
    assert _costs(answer) == (GATEWAY_ALONE, "0")
    assert answer.headers["x-tollgate-route-reason"]
    assert gateway.metrics == []
    assert [line["outcome"] for line in gateway.lines] == ["routed"]


@pytest.mark.parametrize("priority", ["high", "medium", "low"])
def test_a_request_that_a_budget_refuses_costs_the_gateway_alone(priority: str) -> None:
    """On every road; and no log line names a job that does not exist."""
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal("0.000001"))
    gateway = FakeGateway(catalogue=replace(make_catalogue(), budgets=(budget,)))
    answer = gateway.infer(HELLO | {"priority": priority})
    assert answer.status == 429
    assert _costs(answer) == (GATEWAY_ALONE, "0")
    assert all("job_id" not in line for line in gateway.lines)


def test_an_input_that_cannot_be_stored_costs_the_gateway_alone() -> None:
    """Half of a surrogate pair is found after routing."""
    answer = FakeGateway().infer(None, raw='{"model": "echo", "input": "\\ud800", "priority": "low"}')
    assert answer.status == 400
    assert _costs(answer) == (GATEWAY_ALONE, "0")


def test_a_request_that_fell_back_to_async_shows_the_estimate_of_its_job() -> None:
    """Headers and body of a 202 agree, whatever was tried before."""
    gateway = FakeGateway()
    gateway.realtime.answer = CapacityError("asleep")
    answer = gateway.infer(HELLO | {"priority": "high"})
    assert answer.status == 202
    assert answer.headers["x-tollgate-cost-usd"] == document(answer)["cost"]["estimated_cost_usd"]
