"""GET /v1/budgets and GET /v1/workflows/{id}: what a key may see."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from functions.usage.app import handle
from local.openapi.answers import BudgetList, Control, Workflow
from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FixedCatalogue, proxy_event
from tests.fakes.ledger import InMemoryLedger
from tests.unit.template_document import ROOT
from tests.unit.test_brakes_at_work import World
from tollgate.api.telemetry import Telemetry
from tollgate.api.usage_routes import UsageApi
from tollgate.domain.brakes import BrakeLevel
from tollgate.domain.budgets import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.ledger import Counter, WorkflowCall
from tollgate.services.brake_queries import BrakeQueries
from tollgate.services.budget_queries import MOST_CALLS, BudgetQueries

_WARN = (Threshold(Decimal(50), BudgetAction.WARN),)
_BUDGETS = (
    Budget(ScopeKind.GATEWAY, "", BudgetPeriod.MONTH, Decimal(100)),
    Budget(ScopeKind.MODEL, "echo", BudgetPeriod.DAY, Decimal(10)),
    Budget(ScopeKind.KEY, "*", BudgetPeriod.DAY, Decimal(2), _WARN),
    Budget(ScopeKind.TEAM, "other", BudgetPeriod.DAY, Decimal(3)),
)
_START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def ledger() -> InMemoryLedger:
    return InMemoryLedger()


def _ask(ledger: InMemoryLedger, route: str, catalogue: Catalogue | None = None, **options: Any) -> tuple[int, Any]:
    catalogue = catalogue or replace(make_catalogue(), budgets=_BUDGETS)
    queries = BudgetQueries(catalogues=FixedCatalogue(catalogue), ledger=ledger, clock=ManualClock())
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
    answer = handle(proxy_event(route, **options), UsageApi(queries=queries, telemetry=telemetry))
    return answer["statusCode"], json.loads(answer["body"])


def test_a_key_sees_its_own_budgets_with_what_is_left(ledger: InMemoryLedger) -> None:
    """Spent, held, left, the end of the period and the thresholds; nothing of other teams or of the gateway."""
    ledger.counters["key:key_1#day#2026-03-01"] = Counter(
        committed=Decimal("1.5"), spent=Decimal("1.25"), calls=7, told=frozenset({Decimal(50)})
    )
    status, body = _ask(ledger, "GET /v1/budgets")
    assert status == 200
    BudgetList.model_validate(body)
    (budget,) = body["data"]
    wanted = {"scope": "key:*", "limit_usd": "2", "spent_usd": "1.25", "held_usd": "0.25", "remaining_usd": "0.5"}
    assert budget.items() >= (wanted | {"used_percent": "75.00", "calls": 7}).items()
    assert budget["period_ends_at"] == "2026-03-02T00:00:00.000Z"
    assert budget["thresholds"] == [{"at_percent": "50", "action": "warn", "crossed": True, "announced": True}]


def test_an_admin_also_sees_the_gateway_and_the_models(ledger: InMemoryLedger) -> None:
    """Those without any spend as well."""
    _, body = _ask(ledger, "GET /v1/budgets", scopes="admin")
    assert [budget["scope"] for budget in body["data"]] == ["gateway", "model:echo", "key:*"]


def test_more_counters_than_one_read_takes_are_all_shown(ledger: InMemoryLedger) -> None:
    """A budget for each of many models: none is shown as unspent because it came late in the list."""
    echo = make_catalogue().models["echo"]
    models = {f"m{number:03d}": replace(echo, name=f"m{number:03d}") for number in range(120)}
    ledger.counters |= {f"model:{name}#day#2026-03-01": Counter(Decimal(1), Decimal(1)) for name in models}
    catalogue = replace(
        make_catalogue(), models=models, budgets=(Budget(ScopeKind.MODEL, "*", BudgetPeriod.DAY, Decimal(10)),)
    )
    _, body = _ask(ledger, "GET /v1/budgets", catalogue, scopes="admin")
    assert [budget["spent_usd"] for budget in body["data"]] == ["1"] * 120


def test_a_key_without_read_sees_nothing(ledger: InMemoryLedger) -> None:
    """And unknown routes are not found."""
    assert _ask(ledger, "GET /v1/budgets", scopes="infer")[0] == 403
    assert _ask(ledger, "GET /v1/everything")[0] == 404


def test_a_run_is_a_tree_with_its_sum(ledger: InMemoryLedger) -> None:
    """Calls under their parents; a cost that is not known yet is null and left out of the sum."""
    root = WorkflowCall(
        "acme", "run-7", "inf_1", "", 1, "echo", InferenceType.REALTIME, "completed", _START, Decimal(1)
    )
    child = replace(root, inference_id="inf_2", parent="inf_1", depth=2, effective_cost=Decimal("0.5"))
    open_call = replace(child, inference_id="inf_3", status="queued", effective_cost=None)
    ledger.write([root, child, open_call])
    status, body = _ask(ledger, "GET /v1/workflows/{id}", path={"id": "run-7"})
    assert status == 200
    Workflow.model_validate(body)
    assert (body["effective_cost_usd"], body["call_count"], body["depth"]) == ("1.5", 3, 2)
    assert [call["id"] for call in body["calls"]] == ["inf_1"]
    assert [(c["id"], c["effective_cost_usd"]) for c in body["calls"][0]["calls"]] == [
        ("inf_2", "0.5"),
        ("inf_3", None),
    ]


@pytest.mark.parametrize(("calls", "more"), [(MOST_CALLS, False), (MOST_CALLS + 5, True)])
def test_a_run_longer_than_what_is_shown_says_so(ledger: InMemoryLedger, calls: int, *, more: bool) -> None:
    """Its sum is that of the calls that are shown, and does not pass for the whole run's."""
    call = WorkflowCall(
        "acme", "run-7", "", "", 1, "echo", InferenceType.REALTIME, "completed", _START, Decimal("0.001")
    )
    ledger.write([replace(call, inference_id=f"inf_{number:05d}") for number in range(calls)])
    _, body = _ask(ledger, "GET /v1/workflows/{id}", path={"id": "run-7"})
    assert (body["call_count"], body["has_more"], body["effective_cost_usd"]) == (MOST_CALLS, more, "1")


@pytest.mark.parametrize("name", ["", "r" * 129, "r" * 3_000])
def test_a_name_that_no_run_can_have_is_not_looked_up(ledger: InMemoryLedger, name: str) -> None:
    """The table would refuse a key that is too long, and that is not its failure."""
    ledger.calls_of = None  # type: ignore[method-assign, assignment]  # asking would be an error
    assert _ask(ledger, "GET /v1/workflows/{id}", path={"id": name})[0] == 404


def test_another_tenants_run_is_not_found(ledger: InMemoryLedger) -> None:
    """As if it did not exist."""
    call = WorkflowCall("acme", "run-7", "inf_1", "", 1, "echo", InferenceType.REALTIME, "completed", _START)
    ledger.write([call])
    status, body = _ask(ledger, "GET /v1/workflows/{id}", path={"id": "run-7"}, tenant="other")
    assert status == 404
    assert body["error"]["code"] == "not_found"


@pytest.mark.parametrize(("sample", "status"), [("budgets", 200), ("workflow", 404)])
def test_the_samples_are_understood(ledger: InMemoryLedger, sample: str, status: int) -> None:
    """As API Gateway sends them."""
    event = json.loads((ROOT / "events" / "usage" / f"{sample}.json").read_text())
    queries = BudgetQueries(catalogues=FixedCatalogue(make_catalogue()), ledger=ledger, clock=ManualClock())
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
    assert handle(event, UsageApi(queries=queries, telemetry=telemetry))["statusCode"] == status


@pytest.mark.parametrize(("scopes", "sees_steps"), [("read", False), ("admin", True)])
def test_a_key_sees_the_brakes_and_an_admin_what_they_did(scopes: str, sees_steps: bool) -> None:
    """The level, why and until when for everybody who may read; causes and steps name the owner's things."""
    world = World()
    world.brake(BrakeLevel.STOP)
    event = json.loads((ROOT / "events" / "usage" / "control.json").read_text())
    event["requestContext"]["authorizer"]["scopes"] = scopes
    queries = BudgetQueries(catalogues=FixedCatalogue(make_catalogue()), ledger=InMemoryLedger(), clock=ManualClock())
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
    api = UsageApi(queries=queries, telemetry=telemetry, brakes=lambda: BrakeQueries(world.store))
    body = json.loads(handle(event, api)["body"])
    Control.model_validate(body)
    assert (body["level"], body["reason"], body["until"]) == ("stop", "because", "2026-03-02T00:00:00.000Z")
    assert ("steps" in body) is sees_steps
    if sees_steps:
        assert [step["state"] for step in body["steps"]] == ["done"] * 7
