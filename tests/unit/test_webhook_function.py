"""The webhook function around its service, on the sample events."""

import json
from pathlib import Path

import pytest

from functions.webhook_delivery.app import Services, WebhookDeliverySettings, handle
from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_job
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.webhooks import InMemoryWebhookSecrets, ScriptedSender
from tollgate.api.job_rendering import job_document
from tollgate.domain.jobs.job import JobState
from tollgate.domain.jobs.webhooks import secret_text
from tollgate.ports.webhooks import WebhookAnswer
from tollgate.services.jobs.deliver_webhook import WebhookDelivery
from tollgate.settings import SettingsError

EVENTS = Path(__file__).parents[2] / "events" / "webhook_delivery"
VARIABLES = {"TABLE_JOBS": "j", "TABLE_REGISTRY": "r", "BUCKET": "b", "WEBHOOK_QUEUE_URL": "http://127.0.0.1/q"}


@pytest.mark.parametrize(("sample", "wait"), [("queue", 5), ("queue_third_try", 80)])
def test_a_sample_is_answered(sample: str, wait: int) -> None:
    """A receiver that fails keeps the message, hidden for longer at each try."""
    event = json.loads((EVENTS / f"{sample}.json").read_text())
    record = event["Records"][0]
    jobs, hidden = InMemoryJobStore(), list[tuple[str, int]]()
    job_id = json.loads(record["body"])["job_id"]
    jobs.add(make_job(job_id, state=JobState.FAILED, webhook_url="https://hooks.example.com/", webhook_pending=True))
    secrets = InMemoryWebhookSecrets()
    secrets.store("acme", secret_text(bytes(32)))
    delivery = WebhookDelivery(
        jobs=jobs,
        secrets=secrets,
        sender=ScriptedSender(WebhookAnswer(500)),
        render=job_document,
        clock=ManualClock(),
        jitter=lambda: 1.0,
        telemetry=RecordingTelemetry(),
    )
    answer = handle(event, Services(delivery, lambda receipt, seconds: hidden.append((receipt, seconds))))
    assert answer == {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]}
    assert hidden == [(record["receiptHandle"], wait)]


def test_a_wrong_network_stops_the_function_from_starting() -> None:
    """A slip in the parameter opens nothing."""
    good = WebhookDeliverySettings.load(VARIABLES | {"WEBHOOK_ALLOWED_CIDRS": "10.0.0.0/8, fd00::/8"})
    assert good.webhook_allowed_cidrs == "10.0.0.0/8, fd00::/8"
    with pytest.raises(SettingsError, match="WEBHOOK_ALLOWED_CIDRS"):
        WebhookDeliverySettings.load(VARIABLES | {"WEBHOOK_ALLOWED_CIDRS": "10.0.0.1/8"})
