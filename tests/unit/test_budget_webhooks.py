"""A budget's own URL is called when one of its thresholds is crossed: signed, at least once, after the brakes."""

import json
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from functions.budget_alarm.app import handle
from tests.fakes.braked_stack import World
from tests.fakes.webhooks import ScriptedSender
from tollgate.domain.brakes.level import BrakeLevel
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.errors import StorageError, WebhookUnreachableError
from tollgate.domain.jobs.webhooks import secret_text
from tollgate.ports.webhooks import WebhookAnswer
from tollgate.services.budgets.announce import WEBHOOK_TENANT

URL = "https://ops.example.com/budgets"
TEAM = Budget(ScopeKind.TEAM, "*", BudgetPeriod.DAY, Decimal(1), webhook_url=URL)
NOTICE = {
    "event": "budget.threshold",
    "id": "team:acme/search#day#2026-03-01@80",
    "budget": "team:*",
    "counter": "team:acme/search#day#2026-03-01",
    "at_percent": "80",
    "action": "warn",
    "limit_usd": "1",
    "period_ends": "2026-03-02T00:00:00+00:00",
}


def _world(*budgets: Budget, brakes: bool = True, sender: ScriptedSender | None = None) -> World:
    world = World(sender=sender or ScriptedSender())
    catalogue = world.catalogues.catalogue
    world.catalogues.catalogue = replace(
        catalogue, budgets=budgets or (TEAM,), brakes=catalogue.brakes if brakes else None
    )
    world.secrets.store(WEBHOOK_TENANT, secret_text(b"s" * 24))
    return world


def _event(notice: dict[str, Any]) -> dict[str, Any]:
    message = {"Message": json.dumps(notice), "MessageId": "m-1", "Timestamp": "2026-03-01T12:00:00.000Z"}
    return {"Records": [{"Sns": message}]}


@pytest.mark.parametrize("brakes", [True, False])
def test_the_url_is_called_with_the_notice(brakes: bool) -> None:
    """With or without brakes in the catalogue; signed, and under the notice's id."""
    world = _world(brakes=brakes)
    handle(_event(NOTICE), world.watch)
    ((url, headers, body),) = world.sender.calls
    assert (url.host, url.target) == ("ops.example.com", "/budgets")
    assert headers["webhook-id"] == NOTICE["id"]
    assert headers["webhook-signature"].startswith("v1,")
    assert json.loads(body)["data"] == NOTICE
    assert json.loads(body)["type"] == "budget.threshold"


@pytest.mark.parametrize(
    "budget",
    [
        TEAM._replace(webhook_url=""),
        TEAM._replace(period=BudgetPeriod.MONTH),
        TEAM._replace(kind=ScopeKind.GATEWAY, subject=""),
    ],
    ids=["no url", "another period", "another scope"],
)
def test_other_budgets_urls_are_not_called(budget: Budget) -> None:
    """The notice's own scope and period decide."""
    world = _world(budget)
    handle(_event(NOTICE), world.watch)
    assert world.sender.calls == []


@pytest.mark.parametrize("answer", [WebhookAnswer(500), WebhookUnreachableError("nobody")], ids=["500", "unreachable"])
def test_a_call_that_fails_is_made_again_with_the_notice(answer: WebhookAnswer | WebhookUnreachableError) -> None:
    """The topic delivers a notice again that was not dealt with; the id is the same."""
    world = _world(sender=ScriptedSender(answer, WebhookAnswer(204)))
    with pytest.raises(StorageError, match="was not told"):
        handle(_event(NOTICE), world.watch)
    assert world.telemetry.counts["BudgetWebhookFailed"] == 1
    handle(_event(NOTICE), world.watch)
    assert [headers["webhook-id"] for _, headers, _ in world.sender.calls] == [NOTICE["id"]] * 2


def test_the_brakes_do_not_wait_for_a_receiver() -> None:
    """What the gateway's notice brakes is in force although its URL does not answer."""
    gateway = TEAM._replace(kind=ScopeKind.GATEWAY, subject="")
    world = _world(gateway, sender=ScriptedSender(WebhookAnswer(503)))
    notice = NOTICE | {"budget": "gateway", "counter": "gateway#day#2026-03-01", "at_percent": "100"}
    with pytest.raises(StorageError):
        handle(_event(notice), world.watch)
    assert world.level() is BrakeLevel.STOP


def test_without_a_secret_nothing_is_sent_and_the_reason_is_said() -> None:
    """An unsigned call could be anybody's."""
    world = _world()
    world.secrets.forget(WEBHOOK_TENANT)
    with pytest.raises(StorageError, match="no secret to sign with"):
        handle(_event(NOTICE), world.watch)
    assert world.sender.calls == []


def test_a_notice_from_before_ids_has_one_all_the_same() -> None:
    """Topics may still hold some."""
    world = _world()
    handle(_event({name: value for name, value in NOTICE.items() if name != "id"}), world.watch)
    assert world.sender.calls[0][1]["webhook-id"] == NOTICE["id"]
