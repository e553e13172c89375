"""Calling an owner's own URL with a notice, signed as the webhooks of jobs are."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tollgate.domain.errors import InvalidRequestError, StorageError, WebhookError
from tollgate.domain.jobs.webhooks import Networks, check_webhook_url, signed_headers
from tollgate.ports.webhooks import WebhookSecrets, WebhookSender


class SignedNotices(NamedTuple):
    """Calls under one secret.

    Attributes:
        tenant: whose secret signs.
        allowed: private networks that may be called.
    """

    sender: WebhookSender
    secrets: WebhookSecrets
    tenant: str
    allowed: Networks

    def call(self, address: str, notice: Mapping[str, Any], *, name: str, at: datetime) -> str:
        """Call the URL once, with `name` as the `webhook-id`; why it failed, empty if it did not."""
        body = json.dumps({"type": notice["event"], "timestamp": at.isoformat(), "data": notice}).encode()
        try:
            url = check_webhook_url(address, self.allowed)
            headers = signed_headers(self.secrets.of(self.tenant), name, int(at.timestamp()), body)
            answer = self.sender.send(url, {"Content-Type": "application/json", **headers}, body)
        except (InvalidRequestError, WebhookError, StorageError) as error:
            return error.message
        except ValueError:
            return f"no secret to sign with; give '{self.tenant}' one"
        return "" if 200 <= answer.status < 300 else f"status {answer.status}"
