"""The gateway's API over fakes: what every kind of call gets back, and what it leaves behind."""

import json
from decimal import Decimal

import pytest

from tests.fakes.examples import OWNER
from tests.fakes.gateway import TRACEPARENT, FakeGateway, document
from tollgate.domain.catalogue import InferenceType
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


def test_an_endpoint_known_to_sleep_is_not_called(gateway: FakeGateway) -> None:
    """What capacity says is used before the call."""
    gateway.capacity.capacity = Capacity({("echo/small", InferenceType.REALTIME): RoadCapacity(state=RoadState.ASLEEP)})
    answer = gateway.infer(HELLO)
    assert answer.status == 202
    assert "realtime_ruled_out=asleep" in answer.headers["x-tollgate-route-reason"]
    assert gateway.realtime.calls == []


def test_half_a_surrogate_pair_in_an_answer_stays_an_escape(gateway: FakeGateway) -> None:
    """A model may echo what UTF-8 cannot spell; the answer was paid for, so it must reach the caller."""
    gateway.realtime.answer = b'{"label": "\\ud800"}'
    answer = gateway.infer(HELLO)
    assert answer.status == 200
    assert "\\ud800" in answer.body.encode().decode()
    assert document(answer)["output"] == {"label": "\ud800"}


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
