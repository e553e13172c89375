"""Delivers a job's webhook to the client's URL, with retries until it is accepted or given up."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tollgate.domain.errors import InvalidRequestError, WebhookRefusedError, WebhookUnreachableError
from tollgate.domain.jobs.job import FINAL_STATES, Job
from tollgate.domain.jobs.webhooks import Networks, check_webhook_url, signed_headers, wait_before_next
from tollgate.ports.jobs import JobStore
from tollgate.ports.system import Clock, Telemetry
from tollgate.ports.webhooks import WebhookSecrets, WebhookSender

_GONE = 410

RenderJob = Callable[[Job], Mapping[str, Any]]


class DeliveryState(StrEnum):
    """The outcome of one attempt."""

    DELIVERED = "delivered"
    POSTPONED = "postponed"
    GIVEN_UP = "given_up"
    NOTHING_TO_DO = "nothing_to_do"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt; `wait_seconds` until the next one, if there is one."""

    state: DeliveryState
    wait_seconds: int | None = None


_NOTHING = Delivery(DeliveryState.NOTHING_TO_DO)


class WebhookDelivery:
    """Delivers the webhook of one job, one attempt at a time. The queue triggers the attempts.

    A receiver may be called twice for one job, under the same ``webhook-id``: an attempt is repeated if its answer or
    its record was lost.

    Args:
        render: the job as ``GET /v1/inferences/{id}`` shows it.
        jitter: a new number from 0 to 1 at each call.
        allowed: private networks that webhooks may reach.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        secrets: WebhookSecrets,
        sender: WebhookSender,
        render: RenderJob,
        clock: Clock,
        jitter: Callable[[], float],
        telemetry: Telemetry,
        allowed: Networks = (),
    ) -> None:
        self._jobs = jobs
        self._secrets = secrets
        self._sender = sender
        self._render = render
        self._clock = clock
        self._jitter = jitter
        self._allowed = allowed
        self.telemetry = telemetry

    def deliver(self, job_id: str, attempt: int) -> Delivery:
        """Make attempt number `attempt` (from 1) for this job.

        Raises:
            StorageError: the job or the secret cannot be read or written; the attempt should be made again.
        """
        job = self._jobs.get(job_id)
        if job is None:
            self.telemetry.log("WARNING", "webhook message for an unknown job", job_id=job_id)
            return _NOTHING
        if job.state not in FINAL_STATES or not job.webhook_pending or job.webhook_url is None:
            return _NOTHING
        outcome, reason, retry_after = self._call(job, job.webhook_url)
        if outcome is DeliveryState.POSTPONED:
            wait = wait_before_next(attempt, self._jitter(), retry_after)
            if wait is not None:
                return self._note(job, Delivery(DeliveryState.POSTPONED, wait), attempt, reason)
            outcome = DeliveryState.GIVEN_UP
        self._jobs.change(job._replace(webhook_pending=False), expected=frozenset({job.state}))
        return self._note(job, Delivery(outcome), attempt, reason)

    def _call(self, job: Job, address: str) -> tuple[DeliveryState, str, int | None]:
        """Outcome, reason, and the wait that the receiver asked for."""
        now = self._clock.now()
        body = webhook_body(job, self._render(job), now)
        try:
            url = check_webhook_url(address, self._allowed)
            headers = signed_headers(self._secrets.of(job.owner.tenant), job.job_id, int(now.timestamp()), body)
        except InvalidRequestError:
            return DeliveryState.GIVEN_UP, "url_refused", None
        except ValueError:
            # Somebody may still give the tenant a secret; an unsigned call could not be told from a forged one.
            return DeliveryState.POSTPONED, "no_usable_secret", None
        headers = {"Content-Type": "application/json", "User-Agent": "tollgate-webhooks/1", **headers}
        if job.traceparent:
            headers["traceparent"] = job.traceparent
        try:
            answer = self._sender.send(url, headers, body)
        except WebhookRefusedError:
            return DeliveryState.GIVEN_UP, "address_refused", None
        except WebhookUnreachableError:
            return DeliveryState.POSTPONED, "unreachable", None
        if 200 <= answer.status < 300:
            return DeliveryState.DELIVERED, f"status_{answer.status}", None
        state = DeliveryState.GIVEN_UP if answer.status == _GONE else DeliveryState.POSTPONED
        return state, f"status_{answer.status}", answer.retry_after

    def _note(self, job: Job, delivery: Delivery, attempt: int, reason: str) -> Delivery:
        given_up = delivery.state is DeliveryState.GIVEN_UP
        self.telemetry.log(
            "WARNING" if given_up else "INFO",
            "webhook",
            job_id=job.job_id,
            tenant=job.owner.tenant,
            attempt=attempt,
            outcome=delivery.state.value,
            reason=reason,
            wait_seconds=delivery.wait_seconds,
            traceparent=job.traceparent,
        )
        if given_up:
            self.telemetry.count("WebhooksGivenUp")
        return delivery


def webhook_body(job: Job, document: Mapping[str, Any], now: datetime) -> bytes:
    """The JSON text that is signed and sent: type, time of the end, and the job."""
    ended = (job.finished_at or now).astimezone(UTC)
    payload = {
        "type": f"inference.{job.state.value}",
        "timestamp": ended.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": document,
    }
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")
