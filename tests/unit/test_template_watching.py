"""What people look at: the dashboard and the saved queries."""

import json
import re
from decimal import Decimal

import pytest

from tests.fakes.examples import make_job
from tests.fakes.hand_on_house import HandOnHouse
from tests.fakes.sleepers import Sleepers
from tests.unit.template_document import resources
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import Owner
from tollgate.domain.records import RequestRecord

SHOWN = (
    *("Requests", "Errors", "Latency", "EffectiveCostUSD", "AvoidedCostUSD", "BudgetUsedPercent", "IdleCostUSD"),
    *("UtilisationPercent", "ModelLatency", "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"),
    *("PlaceWaking", "WakeSuppressed", "PlaceHindered", "PlaceFallingAsleep", "TimeToWake", "WaitingForWake"),
)
LANGUAGE = frozenset("fields filter sort limit stats by and desc ispresent count sum pct latest bin m as".split())


def test_the_dashboard_shows_what_owners_ask_for() -> None:
    """Cost per prediction, requests and errors by class, latency by version, queues, budgets, idle endpoints."""
    body = json.loads(resources()["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    shown = json.dumps([widget["properties"]["metrics"] for widget in body["widgets"]])
    assert [metric for metric in SHOWN if metric not in shown] == []
    entries = [entry[-1] for widget in body["widgets"] for entry in widget["properties"]["metrics"]]
    ids = [entry["id"] for entry in entries if "id" in entry]
    assert len(ids) == len(set(ids))


def _decision_fields() -> set[str]:
    """Fields of the capacity function's decisions: jobs handed on, endpoints woken in place of that and for one job."""
    few, many, one = HandOnHouse(), HandOnHouse(), Sleepers()
    for house, count in ((few, 2), (many, 400)):
        for _ in range(count):
            house.come(parameters={"max_tokens": 500})
        house.calls(12)
    one.until_asleep()
    one.gateway.jobs.add(make_job("inf_r", inference_type=InferenceType.REALTIME))
    one.keeper.tick()
    lines = (*few.telemetry.lines, *many.telemetry.lines, *one.telemetry.lines)
    return {name for _, message, fields in lines if message == "place decided" for name in fields}


@pytest.mark.parametrize("name", resources("AWS::Logs::QueryDefinition"))
def test_saved_queries_ask_for_fields_that_are_logged(name: str) -> None:
    """Each word of a query is a field of the line that it filters by, or the query's own."""
    query = resources()[name]
    lines: list[str] = []
    record = RequestRecord(
        request_id="r",
        owner=Owner("t", "k", "team"),
        inference_type=InferenceType.REALTIME,
        resource="m/d",
        outcome="failed",
        latency_seconds=1.0,
        status=502,
        error_code="model_failed",
        route_reason="priority=high",
        effective_cost=Decimal(1),
        avoided_cost=Decimal(1),
    )
    Telemetry(namespace="Tollgate", service="tollgate", write=lines.append).request(record)
    text = re.sub(r'"[^"]*"', "", query["Properties"]["QueryString"])
    named = set(re.findall(r"\bas (\w+)", text))
    words = set(re.findall(r"\b[a-z_][a-z_0-9]*", text.replace("@timestamp", "")))
    places = '"place decided"' in query["Properties"]["QueryString"]
    logged = {"message"} | _decision_fields() if places else json.loads(lines[0]).keys()
    assert words - named - LANGUAGE <= logged
    assert query["Condition"] == "SavesQueries"
