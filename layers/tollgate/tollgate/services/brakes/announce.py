"""Notifies people when the brakes change: first the alarm topic, then the owner's webhook."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tollgate.domain.errors import CatalogueError, StorageError
from tollgate.domain.jobs.webhooks import Networks
from tollgate.ports.control import NoticeTopic
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Telemetry
from tollgate.ports.webhooks import WebhookSecrets, WebhookSender
from tollgate.services.budgets.signed_notices import SignedNotices

WEBHOOK_TENANT = "tollgate-brakes"
"""The tenant whose secret signs: ``tollgate webhooks secret --tenant tollgate-brakes`` makes one."""

_ATTEMPTS = 3


class BrakeAnnouncer:
    """The `Announcer` of a stack. The topic must accept the notice; the webhook is tried three times."""

    def __init__(
        self,
        *,
        topic: NoticeTopic,
        sender: WebhookSender,
        secrets: WebhookSecrets,
        catalogues: CatalogueSource,
        telemetry: Telemetry,
        allowed: Networks = (),
    ) -> None:
        self._topic = topic
        self._calls = SignedNotices(sender, secrets, WEBHOOK_TENANT, allowed)
        self._catalogues = catalogues
        self._telemetry = telemetry

    def announce(self, notice: Mapping[str, Any], *, at: datetime) -> None:
        """See `Announcer`."""
        self._topic.publish(f"Tollgate {notice['event']}: {notice['level']} (was {notice['before']})", notice)
        try:
            brakes = self._catalogues.current().brakes
        except (CatalogueError, StorageError) as error:
            # Whether there is a webhook, and where, only the catalogue knows; the topic has been told.
            self._telemetry.log("WARNING", "brake webhook unknown", reason=error.message)
            self._telemetry.count("BrakeWebhookFailed")
            return
        if brakes is None or not brakes.webhook_url:
            return
        for attempt in range(1, _ATTEMPTS + 1):
            reason = self._calls.call(brakes.webhook_url, notice, name=f"brake_{notice['revision']}", at=at)
            if not reason:
                return
            self._telemetry.log("WARNING", "brake webhook failed", attempt=attempt, reason=reason)
        self._telemetry.count("BrakeWebhookFailed")
