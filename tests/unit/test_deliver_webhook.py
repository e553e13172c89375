"""One attempt at a webhook, and what the queue is told about it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_job
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.webhooks import InMemoryWebhookSecrets, ScriptedSender
from tollgate.api.job_rendering import job_document
from tollgate.api.webhook_events import deliver_messages
from tollgate.domain.errors import StorageError, WebhookError, WebhookRefusedError, WebhookUnreachableError
from tollgate.domain.jobs.job import Job, JobFailure, JobState, Payload
from tollgate.domain.jobs.webhooks import MAX_ATTEMPTS, secret_text, signed_headers
from tollgate.ports.webhooks import WebhookAnswer
from tollgate.services.jobs.deliver_webhook import Delivery, DeliveryState, WebhookDelivery

SECRET = secret_text(bytes(range(32)))
URL = "https://hooks.example.com/in"


class Stage:
    """A delivery with everything around it in reach."""

    def __init__(self, *answers: WebhookAnswer | WebhookError, job: Job | None = None) -> None:
        self.clock = ManualClock(datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC))
        self.jobs = InMemoryJobStore()
        self.jobs.add(ended_job() if job is None else job)
        self.secrets = InMemoryWebhookSecrets()
        self.secrets.store("acme", SECRET)
        self.sender = ScriptedSender(*answers)
        self.telemetry = RecordingTelemetry()
        self.service = WebhookDelivery(
            jobs=self.jobs,
            secrets=self.secrets,
            sender=self.sender,
            render=job_document,
            clock=self.clock,
            jitter=lambda: 1.0,
            telemetry=self.telemetry,
        )

    @property
    def pending(self) -> bool:
        return self.jobs.jobs["inf_1"].webhook_pending


def ended_job(**changes: Any) -> Job:
    """A completed job whose webhook is still to be delivered."""
    finished = datetime(2026, 3, 1, 12, 0, 9, 250_000, tzinfo=UTC)
    values: dict[str, Any] = {
        "state": JobState.COMPLETED,
        "webhook_url": URL,
        "webhook_pending": True,
        "finished_at": finished,
        "output": Payload(inline={"text": "Grüße"}),
    }
    return make_job(**values | changes)


def test_a_receiver_that_accepts_ends_it() -> None:
    """Signed with the tenant's secret, in the shape that is promised, and not sent again."""
    stage = Stage(WebhookAnswer(204))
    assert stage.service.deliver("inf_1", 1) == Delivery(DeliveryState.DELIVERED)
    assert not stage.pending
    url, headers, body = stage.sender.calls[0]
    assert (url.host, url.target) == ("hooks.example.com", "/in")
    expected = signed_headers([SECRET], "inf_1", int(stage.clock.now().timestamp()), body)
    assert {name: headers[name] for name in expected} == dict(expected)
    assert headers["Content-Type"] == "application/json"
    payload = json.loads(body)
    assert (payload["type"], payload["timestamp"]) == ("inference.completed", "2026-03-01T12:00:09.250Z")
    assert payload["data"] == job_document(stage.jobs.jobs["inf_1"])
    assert "input" not in payload["data"]
    assert stage.service.deliver("inf_1", 1) == Delivery(DeliveryState.NOTHING_TO_DO)
    assert len(stage.sender.calls) == 1


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED])
def test_every_end_has_its_type(state: JobState) -> None:
    """A failure is told as such, with its reason."""
    stage = Stage(job=ended_job(state=state, failure=JobFailure("model_error", "It broke.")))
    stage.service.deliver("inf_1", 1)
    payload = json.loads(stage.sender.calls[0][2])
    assert payload["type"] == f"inference.{state.value}"
    assert payload["data"]["error"] == {"code": "model_error", "message": "It broke."}


@pytest.mark.parametrize(
    "answer",
    [WebhookAnswer(500), WebhookAnswer(404), WebhookAnswer(302), WebhookAnswer(199), WebhookUnreachableError("no")],
    ids=str,
)
def test_what_may_get_better_is_tried_again(answer: WebhookAnswer | WebhookError) -> None:
    """Anything but 2xx and 410, a redirect too; the job keeps saying that its webhook is pending."""
    stage = Stage(answer)
    assert stage.service.deliver("inf_1", 2) == Delivery(DeliveryState.POSTPONED, 20)
    assert stage.pending


def test_a_receiver_may_ask_for_more_time() -> None:
    """Retry-After makes the wait longer."""
    assert Stage(WebhookAnswer(503, retry_after=900)).service.deliver("inf_1", 1).wait_seconds == 900


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(WebhookAnswer(410), "status_410"), (WebhookRefusedError("no"), "address_refused")],
)
def test_what_will_not_get_better_is_given_up(answer: WebhookAnswer | WebhookError, reason: str) -> None:
    """A receiver that is gone, or that must not be called, is not called again; the operator can see it."""
    stage = Stage(answer)
    assert stage.service.deliver("inf_1", 1) == Delivery(DeliveryState.GIVEN_UP)
    assert not stage.pending
    assert stage.telemetry.counts == {"WebhooksGivenUp": 1}
    assert stage.telemetry.lines[-1][2]["reason"] == reason


def test_a_url_that_was_stored_before_a_rule_changed_is_not_called() -> None:
    """Delivery checks again what admission checked."""
    stage = Stage(job=ended_job(webhook_url="https://10.0.0.1/"))
    assert stage.service.deliver("inf_1", 1).state is DeliveryState.GIVEN_UP
    assert stage.sender.calls == []


def test_the_last_attempt_ends_it() -> None:
    """After the eighth the job stops saying that its webhook is pending."""
    stage = Stage(WebhookAnswer(500))
    assert stage.service.deliver("inf_1", MAX_ATTEMPTS - 1).state is DeliveryState.POSTPONED
    assert stage.service.deliver("inf_1", MAX_ATTEMPTS) == Delivery(DeliveryState.GIVEN_UP)
    assert not stage.pending


@pytest.mark.parametrize("secrets", [None, "whsec_short"])
def test_without_a_usable_secret_nothing_is_sent(secrets: str | None) -> None:
    """It waits for somebody to give the tenant one."""
    stage = Stage()
    stage.service = WebhookDelivery(
        jobs=stage.jobs,
        secrets=(empty := InMemoryWebhookSecrets()),
        sender=stage.sender,
        render=job_document,
        clock=stage.clock,
        jitter=lambda: 1.0,
        telemetry=stage.telemetry,
    )
    if secrets:
        empty.store("acme", secrets)
    assert stage.service.deliver("inf_1", 1).state is DeliveryState.POSTPONED
    assert stage.sender.calls == []
    assert stage.pending


@pytest.mark.parametrize(
    "job",
    [
        ended_job(webhook_pending=False),
        ended_job(webhook_url=None),
        ended_job(state=JobState.SUBMITTED),
        ended_job(job_id="inf_other"),
    ],
    ids=["already told", "nobody to tell", "not ended", "unknown"],
)
def test_messages_that_came_twice_or_early_do_nothing(job: Job) -> None:
    """The job decides, not the message."""
    stage = Stage(job=job)
    assert stage.service.deliver("inf_1", 1) == Delivery(DeliveryState.NOTHING_TO_DO)
    assert stage.sender.calls == []


def test_lines_hold_neither_url_nor_body() -> None:
    """A URL may carry a token, and results are the client's."""
    stage = Stage(WebhookAnswer(500), job=ended_job(webhook_url=URL + "?token=abc"))
    stage.service.deliver("inf_1", 1)
    text = repr(stage.telemetry.lines)
    assert "token" not in text
    assert "Grüße" not in text


def _event(*bodies: str, receives: int = 1) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"m{index}",
                "receiptHandle": f"r{index}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(receives)},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
            for index, body in enumerate(bodies)
        ]
    }


def _message(job_id: str = "inf_1", attempt: int = 1) -> str:
    return json.dumps({"job_id": job_id, "attempt": attempt})


def _failed(answer: dict[str, Any]) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_a_postponed_message_is_hidden_and_stays() -> None:
    """The queue brings it back when its time has come; the attempt number grows with each receipt."""
    stage, hidden = Stage(WebhookAnswer(500)), list[tuple[str, int]]()
    answer = deliver_messages(_event(_message(), receives=3), stage.service, lambda r, s: hidden.append((r, s)))
    assert _failed(answer) == ["m0"]
    assert hidden == [("r0", 80)]


def test_done_messages_leave_and_bad_ones_stay_alone() -> None:
    """A message that is not ours ends in the dead-letter queue without keeping its neighbours."""
    stage, hidden = Stage(), list[tuple[str, int]]()
    event = _event(_message(), "not json", "[]", '{"job_id": "inf_1"}', _message("inf_unknown"))
    answer = deliver_messages(event, stage.service, lambda r, s: hidden.append((r, s)))
    assert _failed(answer) == ["m1", "m2", "m3"]
    assert hidden == []


def test_a_queue_that_cannot_hide_brings_the_message_back_anyway() -> None:
    """Then the queue's own time counts."""

    def broken(receipt_handle: str, seconds: int) -> None:
        assert (receipt_handle, seconds) == ("r0", 5)
        raise StorageError("The queue is away.")

    stage = Stage(WebhookAnswer(500))
    assert _failed(deliver_messages(_event(_message()), stage.service, broken)) == ["m0"]
    assert stage.telemetry.lines[-1][2]["error"] == "The queue is away."


def test_the_whole_series_of_attempts() -> None:
    """A receiver that recovers late is told in the end, with a fresh timestamp under the same id."""
    stage = Stage(*[WebhookUnreachableError("no")] * 5, WebhookAnswer(200))
    attempt = 1
    while (delivery := stage.service.deliver("inf_1", attempt)).wait_seconds is not None:
        stage.clock.advance(delivery.wait_seconds)
        attempt += 1
    assert (delivery.state, attempt) == (DeliveryState.DELIVERED, 6)
    assert {headers["webhook-id"] for _, headers, _ in stage.sender.calls} == {"inf_1"}
    times = [int(headers["webhook-timestamp"]) for _, headers, _ in stage.sender.calls]
    assert timedelta(seconds=times[-1] - times[0]) == timedelta(seconds=5 + 20 + 80 + 320 + 1280)


def test_a_message_for_a_job_that_is_not_there_is_logged_and_dropped() -> None:
    """As on every other queue: nothing is sent, nothing comes back, and the log says which job."""
    stage = Stage()
    assert stage.service.deliver("inf_gone", 1).state is DeliveryState.NOTHING_TO_DO
    assert stage.sender.calls == []
    [(level, message, fields)] = stage.telemetry.lines
    assert (level, message, fields) == ("WARNING", "webhook message for an unknown job", {"job_id": "inf_gone"})
