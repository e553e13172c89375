"""Queue of ended jobs -> the client's own URL, signed."""

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.registry.webhooks import RegistryWebhookSecrets
from tollgate.adapters.messaging.sqs_client import SqsClient
from tollgate.adapters.messaging.sqs_visibility import SqsVisibility
from tollgate.adapters.messaging.webhook_http import HttpWebhookSender
from tollgate.adapters.s3.client import S3Client
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.api.job_rendering import job_document
from tollgate.api.webhook_events import Postponing, deliver_messages
from tollgate.domain.jobs.webhooks import parse_networks
from tollgate.services.jobs.deliver_webhook import WebhookDelivery
from tollgate.services.jobs.queries import JobQueries
from tollgate.settings import Settings
from tollgate.wiring.parts import Parts


class WebhookDeliverySettings(Settings):
    """Settings of this function; `webhook_allowed_cidrs` is a comma list of private networks."""

    table_jobs: str
    table_registry: str
    bucket: str
    webhook_queue_url: str
    webhook_allowed_cidrs: str = ""

    def faults(self) -> tuple[str, ...]:
        """The networks, if one of them is none."""
        try:
            parse_networks(self.webhook_allowed_cidrs)
        except ValueError:
            return ("webhook_allowed_cidrs",)
        return ()


@dataclass(frozen=True, slots=True)
class Services:
    """What one event needs."""

    delivery: WebhookDelivery
    postpone: Postponing


def build(settings: WebhookDeliverySettings) -> Services:
    """Wire the service; nothing is connected before the first message."""
    parts = Parts(settings)
    tables, clock = parts.tables, parts.clock
    allowed = parse_networks(settings.webhook_allowed_cidrs)
    jobs = DynamoDBJobStore(tables, settings.table_jobs)
    objects = S3DirectObjects(S3Client(parts.transport), settings.bucket)
    queries = JobQueries(jobs=jobs, objects=objects, clock=clock)
    delivery = WebhookDelivery(
        jobs=jobs,
        secrets=RegistryWebhookSecrets(tables, settings.table_registry),
        sender=HttpWebhookSender(allowed=allowed),
        render=lambda job: job_document(job, result_url=queries.result_url(job)),
        clock=clock,
        # The system's randomness, for environments restored from one snapshot must not wait alike.
        jitter=random.SystemRandom().random,
        telemetry=parts.telemetry,
        allowed=allowed,
    )
    return Services(delivery, SqsVisibility(SqsClient(parts.transport), settings.webhook_queue_url).hide)


def handle(event: dict[str, Any], service: Services) -> dict[str, Any]:
    """One batch of messages."""
    return deliver_messages(event, service.delivery, service.postpone)


@cache
def _service() -> Services:
    return build(WebhookDeliverySettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
