"""The gateway's API over fakes: what every kind of call gets back, and what it leaves behind."""

import json
import re
from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.gateway import TRACEPARENT, FakeGateway, document, proxy_event
from tollgate.api.http import Answer, Call, read_call
from tollgate.api.problems import answered
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import BackendTimeoutError, CapacityError, ModelFailedError, StorageError
from tollgate.domain.jobs.job import JobState
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState

HELLO = {"model": "echo", "input": "hello", "priority": "high"}


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def test_high_priority_is_answered_at_once_with_its_cost(gateway: FakeGateway) -> None:
    """A real-time request gets the output, the usage and three costs in body and headers."""
    answer = gateway.infer(HELLO)
    body = document(answer)
    assert answer.status == 200
    assert body["object"] == "inference"
    assert body["status"] == "completed"
    assert body["inference_type"] == "realtime"
    assert body["output"] == {"label": "en"}
    assert body["usage"] == {"input_tokens": None, "output_tokens": None, "total_tokens": None}
    assert answer.headers["x-tollgate-request-id"] == "req-1"
    assert answer.headers["x-tollgate-inference-type"] == "realtime"
    assert answer.headers["x-tollgate-deployment"] == "echo/small"
    assert answer.headers["x-tollgate-route-reason"] == "priority=high"
    assert answer.headers["x-tollgate-cost-usd"] == body["cost"]["effective_cost_usd"]
    assert answer.headers["x-tollgate-avoided-cost-usd"] == body["cost"]["avoided_cost_usd"]
    assert gateway.jobs.list_of(OWNER, state=None, limit=10, after=None).jobs == []


def test_effective_cost_is_instance_time_and_gateway_parts(gateway: FakeGateway) -> None:
    """0.2 s on an instance of $0.115 an hour, and a little for the gateway."""
    body = document(gateway.infer(HELLO))
    instance = Decimal("0.2") * Decimal("0.115") / 3600
    effective = Decimal(body["cost"]["effective_cost_usd"])
    assert instance < effective < instance + Decimal("0.00001")
    # The same endpoint is the baseline, so only the gateway's own cost was added.
    assert Decimal(body["cost"]["avoided_cost_usd"]) == pytest.approx(instance - effective, abs=Decimal("1e-11"))


def test_medium_priority_becomes_a_job_in_the_async_queue(gateway: FakeGateway) -> None:
    """202 with a place to look, the job written down, one small message with the trace."""
    answer = gateway.infer({**HELLO, "priority": "medium", "metadata": {"ticket": "7"}})
    body = document(answer)
    assert answer.status == 202
    assert body["status"] == "queued"
    assert answer.headers["Location"] == f"/v1/inferences/{body['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert body["cost"]["effective_cost_usd"] is None
    job = gateway.jobs.get(body["id"])
    assert job is not None
    assert job.state is JobState.QUEUED
    assert job.input.inline == "hello"
    assert job.metadata == {"ticket": "7"}
    assert gateway.async_queue.bodies == [{"kind": "job", "job_id": body["id"], "resource": "echo/small"}]
    assert gateway.async_queue.sent[0].trace == answer.headers["traceparent"]
    assert gateway.realtime.calls == []


def test_low_priority_waits_for_a_batch(gateway: FakeGateway) -> None:
    """The batch queue is told, nothing else."""
    body = document(gateway.infer({**HELLO, "priority": "low"}))
    assert body["inference_type"] == "batch"
    assert gateway.batch_queue.bodies[0]["job_id"] == body["id"]
    assert gateway.async_queue.bodies == []


def test_the_trace_goes_on_with_a_new_span(gateway: FakeGateway) -> None:
    """The caller's trace id is kept, our span is our own."""
    traceparent = gateway.infer(HELLO).headers["traceparent"]
    assert traceparent.split("-")[1] == TRACEPARENT.split("-")[1]
    assert traceparent.split("-")[2] != TRACEPARENT.split("-")[2]


def test_one_log_line_and_one_metric_record_per_request(gateway: FakeGateway) -> None:
    """Neither holds the input; the metric has exactly the promised dimensions."""
    gateway.infer({**HELLO, "input": "a secret prompt"})
    assert len(gateway.lines) == 2
    assert "a secret prompt" not in json.dumps(gateway.lines)
    record = gateway.metrics[0]
    assert record["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["InferenceType", "Model", "Deployment"]]
    assert record["InferenceType"] == "realtime"
    assert record["Requests"] == [1]
    assert record["Errors"] == [0]
    assert record["EffectiveCostUSD"][0] > 0


def test_an_accepted_job_is_not_counted_before_it_ends(gateway: FakeGateway) -> None:
    """Otherwise each job would be two requests in the metrics."""
    gateway.infer({**HELLO, "priority": "medium"})
    assert gateway.metrics == []


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


def test_an_endpoint_known_to_sleep_is_not_called(gateway: FakeGateway) -> None:
    """What capacity says is used before the call."""
    gateway.capacity.capacity = Capacity({("echo/small", InferenceType.REALTIME): RoadCapacity(state=RoadState.ASLEEP)})
    answer = gateway.infer(HELLO)
    assert answer.status == 202
    assert "realtime_ruled_out=asleep" in answer.headers["x-tollgate-route-reason"]
    assert gateway.realtime.calls == []


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


def test_half_a_surrogate_pair_in_an_answer_stays_an_escape(gateway: FakeGateway) -> None:
    """A model may echo what UTF-8 cannot spell; the answer was paid for, so it must reach the caller."""
    gateway.realtime.answer = b'{"label": "\\ud800"}'
    answer = gateway.infer(HELLO)
    assert answer.status == 200
    assert "\\ud800" in answer.body.encode().decode()
    assert document(answer)["output"] == {"label": "\ud800"}


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


def test_a_deadline_alone_takes_the_cheapest_road_in_time(gateway: FakeGateway) -> None:
    """Real-time carries its idle hours, so async is cheaper as soon as it is quick enough."""
    assert document(gateway.infer({"model": "echo", "input": 1, "deadline_seconds": 20}))["inference_type"] == "async"
    assert document(gateway.infer({"model": "echo", "input": 1, "deadline_seconds": 1}))["inference_type"] == "realtime"


def test_large_bodies_never_go_realtime(gateway: FakeGateway) -> None:
    """Numbers may grow on their way to the model; over 6 MB of them become a job whose input lies in the bucket."""
    numbers = ",".join(["1e5"] * 800_000)
    answer = gateway.call("POST /v1/inferences", raw=f'{{"model":"echo","priority":"high","input":[{numbers}]}}')
    body = document(answer)
    assert answer.status == 202
    assert "realtime_ruled_out=body_too_large" in answer.headers["x-tollgate-route-reason"]
    job = gateway.jobs.get(body["id"])
    assert job is not None
    assert job.input.inline is None
    assert job.input.key is not None
    assert len(gateway.objects.get(job.input.key) or b"") > 6_291_456


def test_a_body_that_no_function_could_be_handed_is_refused(gateway: FakeGateway) -> None:
    """On AWS it would not arrive; the local stack, which hands it on, says the same."""
    most = 6_291_456 - len(json.dumps({**HELLO, "input": ""}))
    assert gateway.infer({**HELLO, "input": "x" * most}).status == 200
    answer = gateway.infer({**HELLO, "input": "x" * (most + 1)})
    assert (answer.status, document(answer)["error"]["code"]) == (413, "request_too_large")
    assert "batch-input" in document(answer)["error"]["message"]


def test_expected_duration_rules_realtime_out(gateway: FakeGateway) -> None:
    """Measured durations decide, not hope."""
    gateway.capacity.capacity = Capacity({("echo/small", InferenceType.REALTIME): RoadCapacity(measured_seconds=75.0)})
    assert document(gateway.infer(HELLO))["inference_type"] == "async"


def test_route_decides_and_runs_nothing(gateway: FakeGateway) -> None:
    """Every road with time and cost."""
    answer = gateway.call("POST /v1/route", HELLO)
    body = document(answer)
    assert answer.status == 200
    assert [road["inference_type"] for road in body["roads"]] == ["realtime", "async", "batch"]
    assert Decimal(body["estimated_cost_usd"]) > 0
    assert gateway.realtime.calls == []
    assert gateway.async_queue.bodies == []


def test_models_are_listed(gateway: FakeGateway) -> None:
    """In OpenAI's list shape."""
    body = document(gateway.call("GET /v1/models"))
    assert body["object"] == "list"
    assert body["data"][0]["id"] == "echo"


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
