"""GET /v1/budgets, GET /v1/usage and GET /v1/workflows/{id}: what a key may see."""

import json
from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from functions.usage.app import handle
from local.openapi.spending_answers import BudgetList, Control, UsageReport, Workflow
from tests.fakes.backends import FixedCatalogue
from tests.fakes.braked_stack import World
from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import proxy_event
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.places import FakePlaces
from tests.fakes.usage import DIMENSIONS, NOON, InMemoryUsage, make_record
from tests.unit.template_document import ROOT
from tollgate.api.telemetry import Telemetry
from tollgate.api.usage_routes import UsageApi
from tollgate.domain.brakes.level import BrakeLevel
from tollgate.domain.budgets.budget import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.budgets.ledger import Counter, WorkflowCall
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.usage import gathered, roll_up
from tollgate.domain.jobs.job import Usage
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import Place, PlaceKind
from tollgate.domain.spans import DAY, HOUR, SLICE
from tollgate.ports.usage import Span
from tollgate.services.brakes.queries import BrakeQueries
from tollgate.services.budgets.queries import MOST_CALLS, BudgetQueries
from tollgate.services.usage.queries import UsageQueries

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


def _ask(
    ledger: InMemoryLedger,
    route: str,
    usage: InMemoryUsage | None = None,
    *,
    catalogue: Catalogue | None = None,
    **options: Any,
) -> tuple[int, Any]:
    catalogue = catalogue or replace(make_catalogue(), budgets=_BUDGETS)
    queries = BudgetQueries(catalogues=FixedCatalogue(catalogue), ledger=ledger, clock=ManualClock())
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
    used = UsageQueries(store=usage or InMemoryUsage(), clock=ManualClock(NOON + timedelta(minutes=40)))
    event = proxy_event(route, **options)
    answer = handle(event, UsageApi(queries=queries, usage=used, telemetry=telemetry))
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
    _, body = _ask(ledger, "GET /v1/budgets", catalogue=catalogue, scopes="admin")
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
    child = root._replace(inference_id="inf_2", parent="inf_1", depth=2, effective_cost=Decimal("0.5"))
    open_call = child._replace(inference_id="inf_3", status="queued", effective_cost=None)
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
    ledger.write([call._replace(inference_id=f"inf_{number:05d}") for number in range(calls)])
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


@pytest.mark.parametrize(("sample", "status"), [("budgets", 200), ("usage", 200), ("workflow", 404)])
def test_the_samples_are_understood(ledger: InMemoryLedger, sample: str, status: int) -> None:
    """As API Gateway sends them; answers carry the call's id under both names, as those of other functions do."""
    event = json.loads((ROOT / "events" / "usage" / f"{sample}.json").read_text())
    queries = BudgetQueries(catalogues=FixedCatalogue(make_catalogue()), ledger=ledger, clock=ManualClock())
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
    usage = UsageQueries(store=InMemoryUsage(), clock=ManualClock())
    answer = handle(event, UsageApi(queries=queries, usage=usage, telemetry=telemetry))
    assert answer["statusCode"] == status
    assert answer["headers"]["x-request-id"] == answer["headers"]["x-tollgate-request-id"]


@pytest.mark.parametrize(("scopes", "sees_steps"), [("read", False), ("admin", True)])
def test_a_key_sees_the_brakes_and_an_admin_what_they_did(scopes: str, sees_steps: bool) -> None:
    """The level, why and until when for everybody who may read; what was done and what sleeps names the owner's."""
    world = World()
    world.brake(BrakeLevel.STOP)
    place, places = Place(PlaceKind.REALTIME, "tollgate-echo-realtime"), FakePlaces()
    woken = PlaceRecord(place, Phase.ASLEEP, NOON).moved(Phase.WAKING, NOON, "asked for")
    places.write(woken.hindered(NOON, "no capacity", NOON + timedelta(seconds=15)))
    event = json.loads((ROOT / "events" / "usage" / "control.json").read_text())
    event["requestContext"]["authorizer"]["scopes"] = scopes
    queries = BudgetQueries(catalogues=FixedCatalogue(make_catalogue()), ledger=InMemoryLedger(), clock=ManualClock())
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
    api = UsageApi(
        queries=queries,
        usage=UsageQueries(store=InMemoryUsage(), clock=ManualClock()),
        telemetry=telemetry,
        brakes=lambda: BrakeQueries(world.store, places),
    )
    body = json.loads(handle(event, api)["body"])
    Control.model_validate(body)
    assert (body["level"], body["reason"], body["until"]) == ("stop", "because", "2026-03-02T00:00:00.000Z")
    assert ("steps" in body) is ("places" in body) is sees_steps
    if sees_steps:
        [shown] = body["places"]
        assert (shown["place"], shown["phase"], shown["problem"]) == (place.key, "waking", "no capacity")
        assert [line["reason"] for line in shown["history"]] == ["asked for", "failed: no capacity"]
        assert [step["state"] for step in body["steps"]] == ["done"] * 7


@pytest.fixture
def used() -> InMemoryUsage:
    """Three days of one request an hour of two tenants, closed and loaded up to eleven; and the present hour's."""
    store = InMemoryUsage()
    first = NOON - timedelta(hours=60)
    for number in range(60):
        hour = first + number * HOUR
        records = [
            make_record(
                f"{tenant}-{number}",
                ended_at=hour,
                dimensions=DIMENSIONS._replace(tenant=tenant, model=model),
                usage=Usage(10, 10, 4),
                avoided={AvoidedReason.ROAD: Decimal("0.5"), AvoidedReason.CACHE: Decimal("0.25")},
            )
            for tenant, model in (("acme", "echo"), ("other", "chat"))
        ]
        rows = [replace(row, totals=replace(row.totals, loaded=Decimal("0.01"))) for row in roll_up(records, hour)]
        store.put(Span.HOUR, rows)
    for day in (NOON - 2 * DAY, NOON - DAY):
        midnight = day.replace(hour=0)
        store.put(Span.DAY, gathered(store.read(Span.HOUR, midnight), midnight))
    store.close(Span.HOUR, NOON)
    store.close(Span.DAY, NOON.replace(hour=0))
    store.put(Span.SLICE, roll_up([make_record("now", outcome="failed", latency_seconds=2.0)], NOON))
    return store


def test_usage_of_the_last_day_is_that_of_the_tenant(ledger: InMemoryLedger, used: InMemoryUsage) -> None:
    """Closed hours and the present one; what is not closed has no loaded cost yet."""
    status, body = _ask(ledger, "GET /v1/usage", used)
    assert status == 200
    UsageReport.model_validate(body)
    (line,) = body["data"]
    assert (line["group"], line["requests"], line["errors"]) == ({"model": "echo"}, 24, 1)
    assert body["total"] == line | {"group": {}}
    assert (body["from"], body["loaded_until"]) == ("2026-02-28T13:00:00Z", "2026-03-01T12:00:00Z")
    assert (line["input_tokens"], line["cached_input_tokens"], line["output_tokens"]) == (230, 92, 230)
    assert line["effective_cost_usd"] == "0.000288"
    assert line["loaded_cost_usd"] == "0.23"
    assert line["cost_per_thousand_requests_usd"] == "10"
    assert line["cost_per_million_tokens_usd"] == "500"
    assert line["avoided_usd"] == {"road": "11.5", "cache": "5.75"}
    assert line["avoided_cost_usd"] == "17.25"
    assert line["latency_ms"]["p50"] == pytest.approx(200, rel=0.02)
    assert line["latency_ms"]["p99"] == pytest.approx(2_000, rel=0.02)


def test_an_admin_sees_every_tenant(ledger: InMemoryLedger, used: InMemoryUsage) -> None:
    """By whatever they group; the parts sum to the total."""
    query = {"group_by": "tenant,day,model", "from": "2026-02-27", "to": "2026-03-01T12:00Z"}
    _, body = _ask(ledger, "GET /v1/usage", used, scopes="admin", query=query)
    assert sum(line["requests"] for line in body["data"]) == body["total"]["requests"] == 120
    assert body["data"][0]["group"] == {"tenant": "acme", "day": "2026-02-27", "model": "echo"}
    mine = _ask(ledger, "GET /v1/usage", used, query=query)[1]
    assert {line["group"]["tenant"] for line in mine["data"]} == {"acme"}
    assert _ask(ledger, "GET /v1/usage", used, query=query, tenant="")[1]["data"] == []


def test_deployments_of_the_same_name_are_told_apart_by_their_models(
    ledger: InMemoryLedger, used: InMemoryUsage
) -> None:
    """`small` of one model is not `small` of the other; what never got to a deployment has none."""
    used.put(Span.SLICE, roll_up([make_record("lost", dimensions=DIMENSIONS._replace(deployment=""))], NOON + SLICE))
    query = {"group_by": "deployment", "from": "2026-02-27", "to": "2026-03-01T13:00Z"}
    _, body = _ask(ledger, "GET /v1/usage", used, scopes="admin", query=query)
    found = {line["group"]["deployment"]: line["requests"] for line in body["data"]}
    assert found == {"": 1, "chat/small": 60, "echo/small": 61}


@pytest.mark.parametrize("group_by", ["", "hour", "day", "key,team,inference_type,deployment,variant"])
def test_every_way_of_grouping_has_the_same_total(ledger: InMemoryLedger, used: InMemoryUsage, group_by: str) -> None:
    """Days and hours hold the same requests."""
    query = {"group_by": group_by, "from": "2026-02-27T01:00:00+01:00", "to": "2026-03-01T12:00Z"}
    _, body = _ask(ledger, "GET /v1/usage", used, query=query)
    assert (body["total"]["requests"], body["total"]["loaded_cost_usd"]) == (60, "0.6")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-03-01T10:00Z", "to": "2026-03-01T10:00Z"}, "from"),
        ({"from": "2026-01-01", "group_by": "hour"}, "from"),
        ({"from": "2020-01-01"}, "from"),
        ({"to": "0001-01-01"}, "to"),
        ({"to": "9999-12-31T23:30"}, "to"),
        ({"from": "0001-01-01T00:30Z", "to": "0001-01-02"}, "from"),
        ({"limit": "5"}, "limit"),
    ],
)
def test_what_cannot_be_asked_is_refused(ledger: InMemoryLedger, query: dict[str, str], param: str) -> None:
    """With the parameter at fault."""
    status, body = _ask(ledger, "GET /v1/usage", query=query)
    assert (status, body["error"]["param"]) == (400, param)


def test_too_many_groups_are_refused(ledger: InMemoryLedger) -> None:
    """An answer has at most 6 MB."""
    store = InMemoryUsage()
    records = [make_record(str(number), dimensions=DIMENSIONS._replace(key_id=str(number))) for number in range(5_001)]
    store.put(Span.SLICE, roll_up(records, NOON))
    status, body = _ask(ledger, "GET /v1/usage", store, query={"group_by": "key"})
    assert (status, body["error"]["param"]) == (400, "group_by")


def test_a_stack_without_any_usage_says_so(ledger: InMemoryLedger) -> None:
    """Nothing is a total of nothing, and not an error."""
    status, body = _ask(ledger, "GET /v1/usage")
    assert (status, body["data"], body["loaded_until"]) == (200, [], None)
    assert (body["total"]["requests"], body["total"]["latency_ms"]["p99"]) == (0, None)
