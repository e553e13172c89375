"""A webhook that could not be delivered is refused before anything is queued."""

import json

import pytest

from functions.gateway import app
from tests.fakes.gateway import FakeGateway
from tollgate.domain.errors import InvalidRequestError

BODY = {"model": "echo", "input": "hi", "priority": "medium"}


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k1"}])
def test_a_private_webhook_is_refused_and_nothing_is_queued(headers: dict[str, str]) -> None:
    """With the field at fault in the answer, with and without an idempotency key."""
    gateway = FakeGateway()
    answer = gateway.infer({**BODY, "webhook_url": "http://169.254.169.254/latest"}, headers=headers)
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["param"] == "webhook_url"
    assert gateway.async_queue.sent == []
    assert gateway.jobs.jobs == {}
    assert gateway.idempotency.items == {}


def test_a_public_webhook_is_kept_with_its_job() -> None:
    """It is called when the job has ended."""
    gateway = FakeGateway()
    answer = gateway.infer({**BODY, "webhook_url": "https://hooks.example.com/in"})
    assert answer.status == 202
    (job,) = gateway.jobs.jobs.values()
    assert job.webhook_url == "https://hooks.example.com/in"


def test_the_operators_networks_count_at_admission_too() -> None:
    """What delivery would reach is let in, the rest is not."""
    app._check_webhook("127.0.0.0/8", "http://127.0.0.1:9000/in")
    with pytest.raises(InvalidRequestError):
        app._check_webhook("", "http://127.0.0.1:9000/in")
