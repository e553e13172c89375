"""GET /v1/recommendations: the latest report, or what to do to get one."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from functions.usage.app import handle
from local.openapi.spending_answers import RecommendationList
from tests.fakes.backends import FixedCatalogue
from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import proxy_event
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.usage import InMemoryUsage
from tests.unit.template_document import ROOT
from tollgate.api.telemetry import Telemetry
from tollgate.api.usage_routes import UsageApi
from tollgate.domain.places.advice_report import advice_report
from tollgate.domain.places.rightsizing import Advice, Verdict
from tollgate.services.budgets.queries import BudgetQueries
from tollgate.services.usage.queries import UsageQueries


class _Reports:
    """A `RecommendationReports` with one report or none."""

    def __init__(self, report: Mapping[str, Any] | None) -> None:
        self._report = report

    def latest(self) -> Mapping[str, Any] | None:
        return self._report

    def store(self, report: Mapping[str, Any], *, now: datetime) -> None:
        assert now.tzinfo
        self._report = report


def _api(report: Mapping[str, Any] | None) -> UsageApi:
    queries = BudgetQueries(catalogues=FixedCatalogue(make_catalogue()), ledger=InMemoryLedger(), clock=ManualClock())
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
    return UsageApi(
        usage=UsageQueries(store=InMemoryUsage(), clock=ManualClock()),
        queries=queries,
        telemetry=telemetry,
        recommendations=_Reports(report),
    )


def test_the_latest_advice_is_answered() -> None:
    """As it was stored, in the documented shape, with the rule that fired and the saving."""
    advice = Advice(
        "m/d", "m-endpoint", "ml.g5.2xlarge", Verdict.SMALLER, "gpu 30 % on average", "ml.g5.xlarge", Decimal("78.11")
    )
    report = advice_report([advice], datetime(2026, 11, 22, 6, tzinfo=UTC))
    event = json.loads((ROOT / "events" / "usage" / "recommendations.json").read_text())
    answer = handle(event, _api(report))
    assert answer["statusCode"] == 200
    body = json.loads(answer["body"])
    RecommendationList.model_validate(body)
    assert body["created_at"] == "2026-11-22T06:00:00Z"
    assert body["data"][0]["monthly_saving_usd"] == "78.11"


def test_before_the_first_report_the_answer_says_what_to_run() -> None:
    """404 with the command."""
    answer = handle(proxy_event("GET /v1/recommendations", scopes="admin"), _api(None))
    assert answer["statusCode"] == 404
    assert "tollgate rightsize" in json.loads(answer["body"])["error"]["message"]


@pytest.mark.parametrize("scopes", ["infer", "read", "infer read cancel"])
def test_only_an_admin_sees_the_endpoints_of_the_account(scopes: str) -> None:
    """Advice names everybody's deployments, so a tenant's own key gets none of it."""
    report = advice_report(
        [Advice("m/d", "m-endpoint", "ml.g5.2xlarge", Verdict.KEEP, "gpu 60 % on average")], datetime.now(UTC)
    )
    answer = handle(proxy_event("GET /v1/recommendations", scopes=scopes), _api(report))
    assert answer["statusCode"] == 403
    assert "m/d" not in answer["body"]
