"""What is published on the alarm topic, as AWS and the ledger really word it, and as nobody does."""

import json
from copy import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.template_document import ROOT
from tollgate.api.alarm_events import Ignored, UnreadableAlarmError, alarm_signals
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep, Signal

LEVELS = (BrakeLevel.WARN, BrakeLevel.DOWNGRADE, BrakeLevel.DEFER, BrakeLevel.STOP)
POLICY = BrakePolicy(
    steps=tuple(BrakeStep(Decimal(p), level) for p, level in zip((80, 90, 95, 100), LEVELS, strict=True)),
    alarms=(("tollgate-billing-and-*", BrakeLevel.DEFER), ("tollgate-billing-*", BrakeLevel.STOP)),
)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


def _event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "events" / "budget_alarm" / f"{name}.json").read_text())
    return found


def _with(name: str, *changes: tuple[str, str]) -> dict[str, Any]:
    event = _event(name)
    sns = event["Records"][0]["Sns"]
    for old, new in changes:
        assert old in sns["Message"]
        sns["Message"] = sns["Message"].replace(old, new)
    return event


def _one(event: dict[str, Any], policy: BrakePolicy = POLICY) -> Signal | Ignored:
    (found,) = alarm_signals(event, policy)
    return found


def _signal(event: dict[str, Any], policy: BrakePolicy = POLICY) -> Signal:
    found = _one(event, policy)
    assert isinstance(found, Signal)
    return found


def test_an_alert_of_aws_budgets_brakes_by_the_share_that_is_spent() -> None:
    """Not by the threshold in the text, which another alert may have passed already; until the end of the month."""
    signal = _signal(_event("budgets_actual"))
    assert signal == Signal(
        cause="budget:tollgate-monthly",
        level=BrakeLevel.STOP,
        observed_at=datetime(2026, 11, 22, 9, 30, 19, 412000, tzinfo=UTC),
        until=DECEMBER,
        reason="AWS Budgets: spend at 101.2 % of 'tollgate-monthly'",
    )
    assert _signal(_with("budgets_actual", ("ACTUAL Amount: $1,012.41", "ACTUAL Amount: $912.00"))).level == 2


def test_a_forecast_brakes_no_further_than_allowed() -> None:
    """It warns; more only where the catalogue says so. It is a cause of its own."""
    signal = _signal(_event("budgets_forecast"))
    assert (signal.level, signal.cause) == (BrakeLevel.WARN, "budget:tollgate-monthly:forecast")
    assert _signal(_event("budgets_forecast"), replace(POLICY, forecasts=BrakeLevel.STOP)).level is BrakeLevel.STOP
    assert _signal(_event("budgets_forecast"), replace(POLICY, forecasts=BrakeLevel.NONE)).level is BrakeLevel.NONE


def test_a_daily_budget_ends_with_the_day() -> None:
    """Its text says per day."""
    event = _with("budgets_actual", ("for the current month", "per day"))
    event["Records"][0]["Sns"]["Message"] = event["Records"][0]["Sns"]["Message"].replace("this month", "today")
    assert _signal(event).until == datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "level", "cause"),
    [
        ("cloudwatch_alarm", BrakeLevel.STOP, "alarm:tollgate-billing-high"),
        ("cloudwatch_ok", BrakeLevel.NONE, "alarm:tollgate-billing-high"),
        ("cloudwatch_composite", BrakeLevel.DEFER, "alarm:tollgate-billing-and-traffic"),
    ],
)
def test_alarms_of_cloudwatch_brake_by_their_name(name: str, level: BrakeLevel, cause: str) -> None:
    """Metric and composite ones; the first pattern that matches counts; OK lets go."""
    signal = _signal(_event(name))
    assert (signal.level, signal.cause, signal.until, signal.is_state) == (level, cause, None, True)
    assert signal.observed_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (_with("cloudwatch_alarm", ("tollgate-billing-high", "tollgate-async-dead-letters")), "is no brake"),
        (_with("cloudwatch_alarm", ('"NewStateValue": "ALARM"', '"NewStateValue": "INSUFFICIENT_DATA"')), "no data"),
        (_with("ledger_notice", ('"budget": "gateway"', '"budget": "team:search"')), "not the whole gateway's"),
        (_with("ledger_notice", ("budget.threshold", "brake.raised")), "our own"),
    ],
)
def test_what_is_no_brake_is_ignored(event: dict[str, Any], why: str) -> None:
    """Other alarms share the topic, and so do our own announcements."""
    found = _one(event)
    assert isinstance(found, Ignored)
    assert why in found.reason


def test_a_budget_that_is_not_ours_is_ignored() -> None:
    """The account may have others."""
    assert isinstance(_one(_event("budgets_actual"), replace(POLICY, budgets=("search-*",))), Ignored)


def test_the_ledgers_own_notice_is_heard() -> None:
    """With the end of its period."""
    signal = _signal(_event("ledger_notice"))
    assert (signal.level, signal.until) == (BrakeLevel.DEFER, DECEMBER)
    assert signal.cause == "ledger:gateway#month#2026-11"


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (_event("unknown_text"), "no alert of AWS Budgets: it lacks Budget Name"),
        (_with("budgets_actual", ("Budgeted Amount", "Budget Amount")), "lacks Budgeted Amount"),
        (_with("budgets_actual", ("Budgeted Amount: $1,000.00", "Budgeted Amount: plenty")), "'plenty' is no amount"),
        (_with("budgets_actual", ("Budgeted Amount: $1,000.00", "Budgeted Amount: $0.00")), "no amount above zero"),
        (_with("budgets_actual", ("Alert Type: ACTUAL", "Alert Type: IMAGINED")), "IMAGINED"),
        (_with("cloudwatch_alarm", ('"NewStateValue": "ALARM"', '"NewStateValue": "PANIC"')), "NewStateValue"),
        (_with("cloudwatch_alarm", ('"StateChangeTime": "2026', '"StateChangeTime": "soon')), "StateChangeTime"),
        (_with("cloudwatch_alarm", ('{"AlarmName"', '{"AlarmName')), "looks like JSON and is not"),
        (_with("cloudwatch_alarm", ('"AlarmName"', '"Name"')), "unknown kind, with the fields"),
        (_with("ledger_notice", ('"at_percent": "95"', '"at_percent": "much"')), "at_percent"),
        ({"Records": []}, "not an SNS event"),
        ({"Records": [{"body": "{}"}]}, "not an SNS event"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_nobody_understands_says_why(event: dict[str, Any], why: str) -> None:
    """Nothing is guessed: the reason is what the dead letter will carry."""
    with pytest.raises(UnreadableAlarmError, match=why.replace(".", r"\.")):
        list(alarm_signals(event, POLICY))


@given(text=st.text(max_size=300))
def test_no_text_at_all_brakes_by_accident(text: str) -> None:
    """Whatever is published is an alert in every particular, or nothing."""
    event = _event("unknown_text")
    event["Records"][0]["Sns"]["Message"] = text
    with pytest.raises(UnreadableAlarmError):
        list(alarm_signals(event, POLICY))
