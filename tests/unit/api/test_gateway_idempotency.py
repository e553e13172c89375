"""Idempotency keys at the gateway: a repeated call gets the first answer, or runs where nothing can have run."""

import pytest

from tests.fakes.gateway import FakeGateway
from tollgate.domain.errors import BackendTimeoutError, ModelFailedError

HELLO = {"model": "echo", "input": "hello", "priority": "high"}


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def test_the_same_idempotency_key_runs_once(gateway: FakeGateway) -> None:
    """The second answer is the first one again, at no cost."""
    headers = {"Idempotency-Key": "k1"}
    first = gateway.infer(HELLO, headers=headers)
    second = gateway.infer(HELLO, headers=headers, request_id="req-2")
    assert second.status == 200
    assert second.body == first.body
    assert second.headers["x-tollgate-request-id"] == "req-2"
    assert second.headers["x-tollgate-cost-usd"] == "0"
    assert second.headers["x-tollgate-idempotent-replay"] == "true"
    assert len(gateway.realtime.calls) == 1


def test_the_same_key_with_another_payload_is_refused(gateway: FakeGateway) -> None:
    """422, as the draft standard says."""
    headers = {"Idempotency-Key": "k1"}
    gateway.infer(HELLO, headers=headers)
    assert gateway.infer({**HELLO, "input": "other"}, headers=headers).status == 422


def test_keys_of_two_tenants_are_two_keys(gateway: FakeGateway) -> None:
    """Nobody gets another tenant's answer."""
    headers = {"Idempotency-Key": "k1"}
    gateway.infer(HELLO, headers=headers)
    assert gateway.infer(HELLO, headers=headers, tenant="other").status == 200
    assert len(gateway.realtime.calls) == 2


def test_a_refused_request_frees_its_key(gateway: FakeGateway) -> None:
    """A repetition after a 503 runs."""
    headers = {"Idempotency-Key": "k1"}
    gateway.realtime.answer = ModelFailedError("busy", original_status=503)
    assert gateway.infer(HELLO, headers=headers).status == 502
    gateway.realtime.answer = b"{}"
    assert gateway.infer(HELLO, headers=headers).status == 200


def test_a_request_of_unknown_outcome_keeps_its_key(gateway: FakeGateway) -> None:
    """A repetition would perhaps run the model twice, so it waits for the lease."""
    headers = {"Idempotency-Key": "k1"}
    gateway.realtime.answer = BackendTimeoutError("no answer")
    assert gateway.infer(HELLO, headers=headers).status == 504
    gateway.realtime.answer = b"{}"
    assert gateway.infer(HELLO, headers=headers).status == 409
    gateway.clock.advance(60)
    assert gateway.infer(HELLO, headers=headers).status == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "ümlaut"])
def test_an_odd_idempotency_key_is_refused(gateway: FakeGateway, key: str) -> None:
    """It has to be printable ASCII of a sane length."""
    assert gateway.infer(HELLO, headers={"Idempotency-Key": key}).status == 400
    assert gateway.realtime.calls == []
