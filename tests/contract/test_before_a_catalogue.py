"""A stack that was just deployed: schedules and alarms come before anybody has applied a catalogue.

Each failure would be tried again, lie among the dead letters for two weeks, and keep their alarm ringing.
"""

import importlib
import json
from typing import Any

import pytest

from tests.contract.moto_stores import CACHE_LOGS, GATEWAY_LOGS, LEDGER_TABLE, STORE_VARIABLES, LocalAws
from tests.unit.template_document import ROOT, settings_class
from tollgate.adapters.dynamodb.usage import DynamoDBUsage
from tollgate.adapters.system import SystemClock
from tollgate.domain.spans import DAY, day_of
from tollgate.ports.usage import Span
from tollgate.services.usage.export_focus import CAUGHT_UP_DAYS

_VARIABLES = {
    **STORE_VARIABLES,
    "FILE_RETENTION_DAYS": "30",
    "STACK_NAME": "tollgate",
    "ACCOUNT_ID": "123456789012",
    "GATEWAY_LOG_GROUP": GATEWAY_LOGS,
    "CACHE_LOG_GROUP": CACHE_LOGS,
    "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:alarms",
    "CAPACITY_FUNCTION": "tollgate-capacity",
    "REFRESH_FUNCTION": "tollgate-cache",
    **{
        f"{queue}_QUEUE_URL": f"https://sqs.us-east-1.amazonaws.com/1/{queue.lower()}"
        for queue in ("ASYNC", "BATCH", "DEFERRED", "WEBHOOK")
    },
}
_EVENTS = (
    ("sweeper", "schedule"),
    ("batch_dispatch", "schedule"),
    ("capacity", "schedule"),
    ("capacity", "rightsize"),
    ("budget_alarm", "schedule"),
    ("budget_alarm", "cloudwatch_ok"),
    ("cost_reconcile", "usage"),
    ("cost_reconcile", "export"),
)


def _sample(function: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "events" / function / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize(("function", "event"), _EVENTS)
def test_nothing_fails_before_there_is_a_catalogue(aws: LocalAws, function: str, event: str) -> None:
    """With empty tables there is nothing to do, which is no error."""
    if event == "export":
        # One day is closed, the first of those that are caught up with.
        first = day_of(SystemClock().now()) - CAUGHT_UP_DAYS * DAY
        DynamoDBUsage(aws.dynamodb, LEDGER_TABLE).close(Span.DAY, first + DAY)
    app = importlib.import_module(f"functions.{function}.app")
    service = app.build(settings_class(function).load(_VARIABLES))
    app.handle(_sample(function, event), service)
