"""Telling people that the brakes have changed: the alarm topic first, then the owner's webhook."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tollgate.domain.errors import CatalogueError, InvalidRequestError, StorageError, WebhookError
from tollgate.domain.webhooks import Networks, check_webhook_url, signed_headers
from tollgate.ports.control import NoticeTopic
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Telemetry
from tollgate.ports.webhooks import WebhookSecrets, WebhookSender

WEBHOOK_TENANT = "tollgate-brakes"
"""Whose secret signs: ``tollgate webhooks rotate --tenant tollgate-brakes`` makes one."""

_ATTEMPTS = 3


class BrakeAnnouncer:
    """The `Announcer` of a stack. The topic has to hear of it; the webhook is tried three times."""

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
        self._sender = sender
        self._secrets = secrets
        self._catalogues = catalogues
        self._telemetry = telemetry
        self._allowed = allowed

    def announce(self, notice: Mapping[str, Any], *, at: datetime) -> None:
        """See `Announcer`."""
        self._topic.publish(f"Tollgate {notice['event']}: {notice['level']} (was {notice['before']})", notice)
        try:
            brakes = self._catalogues.current().brakes
        except (CatalogueError, StorageError):
            return
        if brakes is None or not brakes.webhook_url:
            return
        for attempt in range(1, _ATTEMPTS + 1):
            reason = self._call(brakes.webhook_url, notice, at)
            if not reason:
                return
            self._telemetry.log("WARNING", "brake webhook failed", attempt=attempt, reason=reason)
        self._telemetry.count("BrakeWebhookFailed")

    def _call(self, address: str, notice: Mapping[str, Any], at: datetime) -> str:
        """Why it failed; empty if it did not."""
        body = json.dumps({"type": notice["event"], "timestamp": at.isoformat(), "data": notice}).encode()
        name = f"brake_{notice['revision']}"
        try:
            url = check_webhook_url(address, self._allowed)
            headers = signed_headers(self._secrets.of(WEBHOOK_TENANT), name, int(at.timestamp()), body)
            answer = self._sender.send(url, {"Content-Type": "application/json", **headers}, body)
        except (InvalidRequestError, WebhookError, StorageError) as error:
            return error.message
        except ValueError:
            return f"no secret to sign with; give '{WEBHOOK_TENANT}' one"
        return "" if 200 <= answer.status < 300 else f"status {answer.status}"
