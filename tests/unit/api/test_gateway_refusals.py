"""Calls of the gateway that cannot be answered: what their callers are told, and what they leave behind."""

import json
import re
from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.gateway import FakeGateway, document, proxy_event
from tollgate.api.http import Answer, Call, read_call
from tollgate.api.problems import answered
from tollgate.api.telemetry import Telemetry
from tollgate.domain.errors import BackendTimeoutError, CapacityError, ModelFailedError, StorageError

HELLO = {"model": "echo", "input": "hello", "priority": "high"}


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def test_no_capacity_falls_to_async(gateway: FakeGateway) -> None:
    """The caller gets a 202 and is told why."""
    gateway.realtime.answer = CapacityError("asleep")
    answer = gateway.infer(HELLO)
    assert answer.status == 202
    assert answer.headers["x-tollgate-inference-type"] == "async"
    assert "async_fallback=no_capacity" in answer.headers["x-tollgate-route-reason"]


def test_no_capacity_without_fallback_is_a_503_with_retry_after() -> None:
    """The catalogue may forbid the fallback."""
    catalogue = make_catalogue()
    model = replace(catalogue.models["echo"], fall_back_to_async=False)
    gateway = FakeGateway(catalogue=replace(catalogue, models={"echo": model}))
    gateway.realtime.answer = CapacityError("asleep", retry_after=30)
    answer = gateway.infer(HELLO)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "30"
    assert document(answer)["error"]["code"] == "no_capacity"
    assert gateway.async_queue.bodies == []


def test_parameters_that_would_fill_a_jobs_record_are_refused(gateway: FakeGateway) -> None:
    """Before anything is held or written: such a job could never be ended, nor charged."""
    large = {**HELLO, "parameters": {"stop": "x" * 64_000}}
    answer = gateway.infer({**large, "priority": "medium"})
    assert (answer.status, document(answer)["error"]["code"]) == (413, "request_too_large")
    assert gateway.jobs.jobs == {}
    assert gateway.infer(large).status == 200


def test_what_cannot_wait_as_a_job_is_told_of_the_capacity(gateway: FakeGateway) -> None:
    """Its size is no fault while the endpoint could take it, so the caller may come again."""
    gateway.realtime.answer = CapacityError("asleep", retry_after=30)
    answer = gateway.infer({**HELLO, "parameters": {"stop": "x" * 64_000}})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")


def test_a_model_error_is_charged_and_explained(gateway: FakeGateway) -> None:
    """The container worked for a while before it failed."""
    gateway.realtime.answer = ModelFailedError("out of memory", original_status=500)
    answer = gateway.infer(HELLO)
    assert answer.status == 502
    assert Decimal(answer.headers["x-tollgate-cost-usd"]) > Decimal("0.2") * Decimal("0.115") / 3600
    assert gateway.metrics[0]["Errors"] == [1]


def test_a_model_that_blames_the_input_is_the_callers_400(gateway: FakeGateway) -> None:
    """A container's 4xx is not a server error."""
    gateway.realtime.answer = ModelFailedError("too long", original_status=400)
    answer = gateway.infer(HELLO)
    assert answer.status == 400
    assert document(answer)["error"]["code"] == "model_rejected_input"


def test_a_timeout_is_a_504(gateway: FakeGateway) -> None:
    """Whether the model ran is unknown, so it is not repeated on another road."""
    gateway.realtime.answer = BackendTimeoutError("no answer")
    assert gateway.infer(HELLO).status == 504
    assert gateway.async_queue.bodies == []


@pytest.mark.parametrize(
    ("raw", "status", "code", "param"),
    [
        ("", 400, "invalid_request", None),
        ("{", 400, "invalid_request", None),
        ("[]", 400, "invalid_request", None),
        ('"text"', 400, "invalid_request", None),
        ('{"model": "echo"}', 400, "invalid_request", "input"),
        ('{"input": 1}', 400, "invalid_request", "model"),
        ('{"model": 5, "input": 1}', 400, "invalid_request", "model"),
        ('{"model": "echo", "input": 1, "priorty": "high"}', 400, "invalid_request", "priorty"),
        ('{"model": "echo", "input": 1, "priority": "urgent"}', 400, "invalid_request", "priority"),
        ('{"model": "echo", "input": 1, "deadline_seconds": -1}', 400, "invalid_request", "deadline_seconds"),
        ('{"model": "echo", "input": 1, "deadline_seconds": "5"}', 400, "invalid_request", "deadline_seconds"),
        ('{"model": "echo", "input": 1, "deadline_seconds": NaN}', 400, "invalid_request", None),
        ('{"model": "echo", "input": 1, "deadline_seconds": 1e999}', 400, "invalid_request", None),
        ('{"model": "echo", "input": 1e999, "priority": "medium"}', 400, "invalid_request", None),
        ('{"model": "echo", "input": ' + "9" * 5000 + "}", 400, "invalid_request", None),
        ('{"model": "echo", "input": 1, "parameters": []}', 400, "invalid_request", "parameters"),
        ('{"model": "echo", "input": 1, "metadata": {"a": 1}}', 400, "invalid_request", "metadata.a"),
        ('{"model": "nope", "input": 1}', 404, "model_not_found", "model"),
        ('{"model": "echo", "input": "\\ud800"}', 400, "invalid_request", "input"),
        ("[" * 100_000, 400, "invalid_request", None),
    ],
)
def test_bad_input_is_refused_and_reaches_nothing(raw: str, status: int, code: str, param: str | None) -> None:
    """Each mistake gets its status, its code and the field; no endpoint, queue or table hears of it."""
    gateway = FakeGateway()
    answer = gateway.call("POST /v1/inferences", raw=raw)
    error = document(answer)["error"]
    assert (answer.status, error["code"], error["param"]) == (status, code, param)
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["x-tollgate-request-id"] == "req-1"
    assert gateway.realtime.calls == []
    assert gateway.async_queue.bodies == gateway.batch_queue.bodies == []
    assert gateway.jobs.list_of(OWNER, state=None, limit=10, after=None).jobs == []


@pytest.mark.parametrize("text", [b'{"score": NaN}', b"[[-Infinity]]", b"1e999"])
def test_an_answer_that_is_no_json_is_the_models_failure(gateway: FakeGateway, text: bytes) -> None:
    """What Python would read and no client could: 502, never a body that is not JSON."""
    gateway.realtime.answer = text
    answer = gateway.infer(HELLO)
    assert (answer.status, document(answer)["error"]["code"]) == (502, "model_error")


def test_an_unknown_model_is_answered_with_the_known(gateway: FakeGateway) -> None:
    """The message says what there is."""
    assert "echo" in document(gateway.infer({"model": "gpt-9", "input": 1}))["error"]["message"]


def test_a_key_without_the_scope_is_refused(gateway: FakeGateway) -> None:
    """403, and nothing runs."""
    answer = gateway.infer(HELLO, scopes="read")
    assert answer.status == 403
    assert gateway.realtime.calls == []


def test_an_impossible_deadline_with_a_priority_is_refused(gateway: FakeGateway) -> None:
    """The message names the roads that would do."""
    answer = gateway.infer({**HELLO, "priority": "low", "deadline_seconds": 5})
    assert answer.status == 422
    assert "realtime" in document(answer)["error"]["message"]
    assert gateway.batch_queue.bodies == []


def test_a_queue_that_fails_does_not_lose_the_job(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is there, so the sweeper will send the message; the promise of the 202 holds."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise StorageError("queue down")

    monkeypatch.setattr(gateway.async_queue, "send", fail)
    answer = gateway.infer({**HELLO, "priority": "medium"})
    assert answer.status == 202
    assert gateway.jobs.get(document(answer)["id"]) is not None


def test_a_table_that_fails_accepts_nothing(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, and no message in the queue."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise StorageError("table down")

    monkeypatch.setattr(gateway.jobs, "add", fail)
    answer = gateway.infer({**HELLO, "priority": "medium"})
    assert answer.status == 503
    assert "Retry-After" in answer.headers
    assert gateway.async_queue.bodies == []


def test_an_unknown_price_is_refused(gateway: FakeGateway) -> None:
    """Never served for nothing."""
    gateway = FakeGateway(catalogue=make_catalogue(usd_per_hour=None))
    answer = gateway.infer({**HELLO, "priority": "medium"})
    assert answer.status == 503
    assert document(answer)["error"]["code"] == "price_unknown"
    assert "echo/small" in document(answer)["error"]["message"]


def test_a_ceiling_is_charged_for_an_unknown_price() -> None:
    """The owner's own figure stands in."""
    gateway = FakeGateway(catalogue=make_catalogue(usd_per_hour=None, ceiling_usd=Decimal("0.01")))
    answer = gateway.infer({**HELLO, "priority": "medium"})
    assert answer.status == 202
    assert Decimal(answer.headers["x-tollgate-cost-usd"]) > Decimal("0.01")


def test_a_bug_is_answered_recorded_and_quotes_nobody() -> None:
    """In the error shape, with the record that usage is made of; its message, which may be a prompt, is in no log."""
    gateway = FakeGateway()
    gateway.realtime.answer = KeyError("my secret prompt")
    answer = gateway.infer({"model": "echo", "input": "hello", "priority": "high"})
    assert (answer.status, document(answer)["error"]["code"]) == (500, "internal_error")
    assert answer.headers["x-should-retry"] == "false"
    assert "secret" not in answer.body + json.dumps(gateway.lines)
    bug, record = (line for line in gateway.lines if "message" in line)
    assert (bug["kind"], bug["request_id"]) == ("KeyError", "req-1")
    assert all(re.fullmatch(r"[\w./-]+\.py:\d+", place) for place in bug["places"])
    assert (record["outcome"], record["status"], record["tenant"]) == ("failed", 500, "acme")


def test_a_bug_elsewhere_quotes_nobody_either() -> None:
    """The other functions answer in the same way."""
    lines: list[str] = []
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lines.append)

    def broken(_call: Call) -> Answer:
        raise KeyError("my secret prompt")

    answer = answered(read_call(proxy_event("GET /v1/files")), broken, telemetry, "files_call")
    assert (answer.status, document(answer)["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.body + "".join(lines)
    assert len(lines) == 2
