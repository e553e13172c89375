"""Budgets, alarms, the ledger's notices and the schedule -> brakes on, brakes off."""

import time
from functools import cache
from typing import Any

from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.dynamodb.registry.brake_steps import RegistryBrakes
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.dynamodb.registry.webhooks import RegistryWebhookSecrets
from tollgate.adapters.messaging.sns_notices import SnsNotices, SnsTopic
from tollgate.adapters.messaging.webhook_http import HttpWebhookSender
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.api.brake_events import follow
from tollgate.domain.jobs.webhooks import parse_networks
from tollgate.services.brakes.announce import BrakeAnnouncer
from tollgate.services.brakes.steps import BrakeSteps
from tollgate.services.brakes.work import Brakes
from tollgate.services.budgets.announce import BudgetWebhooks
from tollgate.services.budgets.finish_notices import NoticeFinisher
from tollgate.services.budgets.watch_spend import SpendWatch
from tollgate.settings import Settings
from tollgate.wiring.parts import Parts


class BudgetAlarmSettings(Settings):
    """Settings of this function."""

    table_ledger: str
    table_registry: str
    alarm_topic_arn: str
    webhook_allowed_cidrs: str = ""


def build(settings: BudgetAlarmSettings) -> SpendWatch:
    """Wire the service; nothing is connected before the first event."""
    parts = Parts(settings)
    tables, clock, telemetry = parts.tables, parts.clock, parts.telemetry
    registry = settings.table_registry
    catalogues = RegistryCatalogue(tables, registry, clock.monotonic)
    allowed = parse_networks(settings.webhook_allowed_cidrs)
    store = RegistryBrakes(tables, registry)
    sender, secrets = HttpWebhookSender(allowed=allowed), RegistryWebhookSecrets(tables, registry)
    brakes = Brakes(
        store=store,
        steps=BrakeSteps(store=store, endpoints=SageMakerControl(), telemetry=telemetry, clock=clock, pause=time.sleep),
        catalogues=catalogues,
        announcer=BrakeAnnouncer(
            topic=SnsTopic(settings.alarm_topic_arn),
            sender=sender,
            secrets=secrets,
            catalogues=catalogues,
            telemetry=telemetry,
            allowed=allowed,
        ),
        telemetry=telemetry,
        clock=clock,
        ids=parts.ids,
    )
    ledger = DynamoDBLedger(tables, settings.table_ledger)
    notices = NoticeFinisher(
        ledger=ledger, notices=SnsNotices(settings.alarm_topic_arn), telemetry=telemetry, clock=clock
    )
    webhooks = BudgetWebhooks(
        sender=sender, secrets=secrets, catalogues=catalogues, telemetry=telemetry, clock=clock, allowed=allowed
    )
    return SpendWatch(
        brakes=brakes, catalogues=catalogues, ledger=ledger, notices=notices, webhooks=webhooks, clock=clock
    )


def handle(event: dict[str, Any], service: SpendWatch) -> dict[str, Any]:
    """An event of the topic, the schedule's, or an order of the command line."""
    return follow(event, service)


@cache
def _service() -> SpendWatch:
    return build(BudgetAlarmSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
