"""Messages of the alarm topic and orders of a person, as the budget-alarm function gets them."""

from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tollgate.api.alarm_events import Ignored, UnreadableAlarmError, alarm_signals, threshold_notices
from tollgate.domain.brakes.level import CAUSE_PERSON, BrakeLevel, Control, Signal
from tollgate.services.budgets.watch_spend import SpendWatch


class BrakeOrder(BaseModel):
    """An order of a person, through ``tollgate brake``; `source` says that it is one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["tollgate.brake"]
    order: Literal["set", "resume", "settle"]
    who: Annotated[str, Field(min_length=1, max_length=200)]
    level: Literal["warn", "downgrade", "defer", "stop"] | None = None
    reason: Annotated[str, Field(max_length=200)] = ""
    until: AwareDatetime | None = None


def obey(event: Mapping[str, Any], service: SpendWatch) -> Control:
    """Do what a message or an order says. Returns the record of the brakes.

    Raises:
        UnreadableAlarmError: nobody understands it; after the retries it is a dead letter with this reason.
        CatalogueError, StorageError: send it again.
    """
    if "Records" in event:
        control = _topic(event, service)
        # The brakes first: a receiver that does not answer must not keep them waiting.
        for notice in threshold_notices(event):
            service.webhooks.tell(notice)
        return control
    try:
        order = BrakeOrder.model_validate(event)
    except ValidationError as error:
        raise UnreadableAlarmError(f"neither a message, nor the schedule, nor an order: {error}") from error
    return _carried_out(order, service)


def _topic(event: Mapping[str, Any], service: SpendWatch) -> Control:
    policy, brakes = service.policy, service.brakes
    if policy is None:
        brakes.telemetry.log("INFO", "alarm without brakes", reason="the catalogue has no [brakes]")
        return brakes.settle()
    try:
        for heard in alarm_signals(event, policy):
            if isinstance(heard, Ignored):
                brakes.telemetry.log("INFO", "alarm is no brake", reason=heard.reason)
            elif brakes.hear(heard):
                brakes.settle()
    except UnreadableAlarmError as error:
        # Safe: nothing is slowed down or let go. Loud: a metric, an error, a dead letter and its alarm.
        brakes.telemetry.count("AlarmUnreadable")
        brakes.telemetry.log("ERROR", "alarm not understood", reason=str(error))
        raise
    return brakes.settle()


def _carried_out(order: BrakeOrder, service: SpendWatch) -> Control:
    brakes = service.brakes
    if order.order == "resume":
        brakes.resume(order.who)
    elif order.order == "set":
        if order.level is None or service.policy is None:
            raise UnreadableAlarmError("an order to brake needs a level, and [brakes] in the catalogue")
        brakes.hear(
            Signal(
                cause=CAUSE_PERSON,
                level=BrakeLevel.of(order.level),
                observed_at=service.now(),
                until=None if order.until is None else order.until.astimezone(UTC),
                reason=order.reason or f"{order.who} asked for it",
                is_state=True,
            )
        )
    return brakes.settle()
