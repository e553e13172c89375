"""What the alarm topic carries: alerts of AWS Budgets (text), CloudWatch alarms (JSON) and the ledger's own notices.

The texts of AWS Budgets are documented only by example, so they are read by their labels and nothing is guessed: a
message that is not understood changes nothing, fails loudly and ends in the dead-letter queue with the reason.
https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-notification-sns.html
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, Signal
from tollgate.domain.budgets.budget import FULL, BudgetPeriod, ScopeKind, period_end

_BUDGET_LABELS = ("Budget Name", "Budgeted Amount", "Alert Type")
_AMOUNT = re.compile(r"^[^0-9-]{0,4}(?P<number>[0-9][0-9,]*(\.[0-9]+)?)\b")
_PERIODS = (
    (re.compile(r"\bper day\b|\byesterday\b|\btoday\b", re.IGNORECASE), BudgetPeriod.DAY),
    (re.compile(r"\bmonth\b", re.IGNORECASE), BudgetPeriod.MONTH),
)
_SHOWN_CHARACTERS = 200


class UnreadableAlarmError(Exception):
    """A message on the alarm topic that nobody understands; the text says why."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is understood and is no brake."""

    reason: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Sns(_Message):
    message: str = Field(alias="Message")
    message_id: str = Field(alias="MessageId")
    timestamp: AwareDatetime = Field(alias="Timestamp")
    subject: str | None = Field(default=None, alias="Subject")


class _Record(_Message):
    sns: _Sns = Field(alias="Sns")


class _Event(_Message):
    records: list[_Record] = Field(alias="Records", min_length=1)


class _CloudWatchAlarm(_Message):
    """Of a metric alarm (with `Trigger`) and of a composite one (with `AlarmRule`)."""

    name: str = Field(alias="AlarmName", min_length=1)
    state: Literal["ALARM", "OK", "INSUFFICIENT_DATA"] = Field(alias="NewStateValue")
    reason: str = Field(default="", alias="NewStateReason")
    changed_at: datetime = Field(alias="StateChangeTime")


class _LedgerNotice(_Message):
    budget: str
    counter: str
    at_percent: Decimal
    period_ends: AwareDatetime | None = None


def alarm_signals(event: Mapping[str, Any], policy: BrakePolicy) -> Iterator[Signal | Ignored]:
    """What the records of an SNS event say, one by one.

    Raises:
        UnreadableAlarmError: one of them is not understood.
    """
    try:
        records = _Event.model_validate(event).records
    except ValidationError as error:
        raise UnreadableAlarmError(f"not an SNS event: {_mistakes(error)}") from error
    for record in records:
        yield _signal(record.sns, policy)


def threshold_notices(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The ledger's own notices among the records of an SNS event, as they were published."""
    for record in _Event.model_validate(event).records:
        text = record.sns.message.strip()
        if text.startswith("{") and '"budget.threshold"' in text:
            document = json.loads(text)
            if document.get("event") == "budget.threshold":
                yield document


def _signal(sns: _Sns, policy: BrakePolicy) -> Signal | Ignored:
    text = sns.message.strip()
    if not text.startswith("{"):
        return _budget_alert(text, sns.timestamp, policy)
    try:
        document = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise UnreadableAlarmError(f"message {sns.message_id} looks like JSON and is not") from error
    event = document.get("event")
    if isinstance(event, str) and event.startswith("brake."):
        return Ignored("our own announcement")
    try:
        if event == "budget.threshold":
            return _ledger_notice(_LedgerNotice.model_validate(document), sns.timestamp, policy)
        if "AlarmName" in document:
            return _cloudwatch_alarm(_CloudWatchAlarm.model_validate(document), policy)
    except ValidationError as error:
        raise UnreadableAlarmError(f"message {sns.message_id}: {_mistakes(error)}") from error
    fields = ", ".join(sorted(document)[:10])
    raise UnreadableAlarmError(f"message {sns.message_id} is JSON of an unknown kind, with the fields {fields}")


def _budget_alert(text: str, published: datetime, policy: BrakePolicy) -> Signal | Ignored:
    lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    missing = [label for label in _BUDGET_LABELS if label not in lines]
    kind = lines.get("Alert Type", "").strip().upper()
    spent = lines.get(f"{kind} Amount")
    if missing or spent is None or kind not in {"ACTUAL", "FORECASTED"}:
        lacking = ", ".join(missing) or f"an alert type with its amount ('{kind[:20]}')"
        raise UnreadableAlarmError(
            f"text that is no alert of AWS Budgets: it lacks {lacking}; it begins '{text[:_SHOWN_CHARACTERS]}'"
        )
    name = lines["Budget Name"].strip()
    if not policy.hears_budget(name):
        return Ignored(f"the AWS budget '{name}' is not among those that brake")
    limit, amount = _amount(lines["Budgeted Amount"]), _amount(spent)
    if limit <= 0:
        raise UnreadableAlarmError(f"the AWS budget '{name}' has no amount above zero")
    percent = amount * FULL / limit
    level = policy.level_at(percent)
    forecast = kind == "FORECASTED"
    if forecast:
        level = min(level, policy.forecasts)
    return Signal(
        cause=f"budget:{name}" + (":forecast" if forecast else ""),
        level=level,
        observed_at=published.astimezone(UTC),
        until=_end_of_period(text, published),
        reason=f"AWS Budgets: {'forecast' if forecast else 'spend'} at {percent:.1f} % of '{name}'",
    )


def _end_of_period(text: str, published: datetime) -> datetime | None:
    """The message does not name its period; the sentence before the labels tells. Months are the most usual."""
    period = next((period for pattern, period in _PERIODS if pattern.search(text)), BudgetPeriod.MONTH)
    return period_end(period, published)


def _amount(text: str) -> Decimal:
    found = _AMOUNT.match(text.strip())
    if found is None:
        raise UnreadableAlarmError(f"'{text[:40]}' is no amount")
    return Decimal(found["number"].replace(",", ""))


def _cloudwatch_alarm(alarm: _CloudWatchAlarm, policy: BrakePolicy) -> Signal | Ignored:
    level = policy.level_of_alarm(alarm.name)
    if level is None:
        return Ignored(f"the alarm '{alarm.name}' is no brake")
    if alarm.state == "INSUFFICIENT_DATA":
        # Not knowing is no reason to brake, and none to let go.
        return Ignored(f"the alarm '{alarm.name}' has no data")
    changed = alarm.changed_at if alarm.changed_at.tzinfo else alarm.changed_at.replace(tzinfo=UTC)
    return Signal(
        cause=f"alarm:{alarm.name}",
        level=level if alarm.state == "ALARM" else BrakeLevel.NONE,
        observed_at=changed.astimezone(UTC),
        until=None,
        reason=f"CloudWatch alarm '{alarm.name}': {alarm.reason[:_SHOWN_CHARACTERS] or alarm.state}",
        is_state=True,
    )


def _ledger_notice(notice: _LedgerNotice, published: datetime, policy: BrakePolicy) -> Signal | Ignored:
    if notice.budget != ScopeKind.GATEWAY.value:
        return Ignored(f"the budget '{notice.budget}' is not the whole gateway's")
    return Signal(
        cause=f"ledger:{notice.counter}",
        level=policy.level_at(notice.at_percent),
        observed_at=published.astimezone(UTC),
        until=notice.period_ends,
        reason=f"{notice.at_percent} % of the gateway's budget is used",
    )


def _mistakes(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())[:500]
