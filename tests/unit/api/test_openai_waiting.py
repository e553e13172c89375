"""OpenAI's service tiers over fakes: who waits for a job, how long, and with what."""

import json
from copy import replace

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.openai_calls import GENERATED, chat, finish_jobs, openai_gateway
from tollgate.domain.catalogue import InferenceType, Priority
from tollgate.domain.errors import BackendTimeoutError, CapacityError, StorageError
from tollgate.domain.jobs.job import JobFailure, JobState, Payload


def test_flex_waits_for_its_job() -> None:
    """The answer has the job's own cost and tier; the metrics are left to the job's end."""
    gateway = openai_gateway()
    finish_jobs(gateway)
    answer = chat(gateway, service_tier="flex")
    body = document(answer)
    assert answer.status == 200
    assert body["choices"][0]["message"]["content"] == "there hello"
    assert body["service_tier"] == "flex"
    assert answer.headers["x-tollgate-inference-type"] == "async"
    assert answer.headers["x-tollgate-job-id"].startswith("inf_")
    assert "Location" not in answer.headers
    assert gateway.metrics == []
    assert len(gateway.async_queue.sent) == 1


def test_flex_is_accepted_for_those_who_prefer_it() -> None:
    """202 with a place to look, as RFC 7240 has it."""
    gateway = openai_gateway()
    answer = chat(gateway, headers={"Prefer": "wait=5, respond-async"}, service_tier="flex")
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == f"/v1/inferences/{document(answer)['id']}"


def test_a_wait_that_runs_out_names_the_job_and_stops_the_sdk_from_sending_again() -> None:
    """The job goes on; a second one would only cost a second time."""
    gateway = openai_gateway()
    answer = chat(gateway, service_tier="flex")
    error = document(answer)["error"]
    (job,) = gateway.jobs.jobs.values()
    assert answer.status == 504
    assert error["code"] == "job_not_finished"
    assert job.job_id in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["Location"] == f"/v1/inferences/{job.job_id}"
    assert job.state is JobState.QUEUED
    assert 26 < gateway.clock.monotonic() < 27


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [
        (JobState.FAILED, "model_failed", 502),
        (JobState.FAILED, "invalid_request", 400),
        (JobState.EXPIRED, "expired", 504),
        (JobState.CANCELLED, "cancelled", 409),
    ],
)
def test_a_job_that_ends_badly_ends_the_wait(state: JobState, code: str, status: int) -> None:
    """With a status that says whose fault it is, and no second try by the SDK."""
    gateway = openai_gateway()
    finish_jobs(gateway, state=state, failure=JobFailure(code, "the reason"), output=Payload())
    answer = chat(gateway, service_tier="flex")
    assert answer.status == status
    assert answer.headers["x-should-retry"] == "false"
    if state is not JobState.CANCELLED:
        assert document(answer)["error"]["message"] == "the reason"


def test_an_answer_that_does_not_fit_is_fetched_from_its_job() -> None:
    """Where it lies, and without a second job; quotation marks count twice, as they do on the wire."""
    gateway = openai_gateway()
    finish_jobs(gateway, output=Payload(GENERATED | {"text": '"' * 1_600_000}))
    answer = chat(gateway, service_tier="flex")
    assert answer.status == 502
    assert document(answer)["error"]["code"] == "answer_too_large"
    assert answer.headers["Location"].startswith("/v1/inferences/inf_")
    assert answer.headers["x-should-retry"] == "false"
    finish_jobs(gateway, output=Payload(GENERATED | {"text": "x" * 5_900_000}))
    assert chat(gateway, service_tier="flex").status == 200


def test_a_large_answer_without_a_job_is_refused_too() -> None:
    """It would end as API Gateway's 502, which the SDK repeats and pays for again."""
    gateway = openai_gateway()
    gateway.realtime.answer = json.dumps([{"generated_text": "x" * 6_000_000}]).encode()
    answer = chat(gateway)
    assert answer.status == 502
    assert answer.headers["x-should-retry"] == "false"
    assert float(answer.headers["x-tollgate-cost-usd"]) > 0


def test_a_model_that_takes_too_long_is_not_run_again_by_the_sdk() -> None:
    """It may have run, and will hardly be quicker the next time."""
    gateway = openai_gateway()
    gateway.realtime.answer = BackendTimeoutError("too slow")
    answer = chat(gateway)
    assert answer.status == 504
    assert answer.headers["x-should-retry"] == "false"


def test_a_record_that_cannot_be_read_does_not_start_a_second_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK is told not to try again, and where the job is."""
    gateway = openai_gateway()

    def fail(_job_id: str) -> None:
        raise StorageError("The table failed.")

    monkeypatch.setattr(gateway.jobs, "get", fail)
    answer = chat(gateway, service_tier="flex")
    assert answer.status == 503
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["Location"].startswith("/v1/inferences/inf_")


def test_nobody_waits_for_a_batch() -> None:
    """A model whose default is the batch road serves chats asynchronously, unless the client does not wait."""
    gateway = openai_gateway(default_priority=Priority.LOW)
    finish_jobs(gateway)
    waited = chat(gateway, service_tier="auto")
    accepted = chat(gateway, headers={"Prefer": "respond-async"}, service_tier="auto")
    assert waited.headers["x-tollgate-inference-type"] == "async"
    assert accepted.headers["x-tollgate-inference-type"] == "batch"


def test_a_batch_that_could_not_be_avoided_is_not_waited_for() -> None:
    """The job is named at once; waiting for a transform job to start would only cost."""
    gateway = openai_gateway()
    (model,) = gateway.catalogue.models.values()
    (deployment,) = model.deployments
    roads = {InferenceType.BATCH: deployment.roads[InferenceType.BATCH]}
    models = {"echo": replace(model, deployments=(replace(deployment, roads=roads),))}
    gateway = FakeGateway(catalogue=replace(gateway.catalogue, models=models))
    answer = chat(gateway, service_tier="flex")
    assert document(answer)["error"]["code"] == "job_not_finished"
    assert answer.headers["x-tollgate-inference-type"] == "batch"
    assert gateway.clock.monotonic() == 0


def test_priority_without_capacity_waits_on_the_async_road() -> None:
    """The caller sees an answer, and which tier it really was."""
    gateway = openai_gateway()
    gateway.realtime.answer = CapacityError("full")
    finish_jobs(gateway)
    answer = chat(gateway)
    assert answer.status == 200
    assert document(answer)["service_tier"] == "flex"
    assert "no_capacity" in answer.headers["x-tollgate-route-reason"]


def test_an_idempotency_key_joins_the_job_of_the_first_call() -> None:
    """Also when the first caller was told that the wait is over; the repetition costs nothing."""
    gateway = openai_gateway()
    key = {"Idempotency-Key": "k1"}
    assert chat(gateway, headers=key, service_tier="flex").status == 504
    finish_jobs(gateway)
    again = chat(gateway, headers=key, service_tier="flex")
    assert again.status == 200
    assert again.headers["x-tollgate-idempotent-replay"] == "true"
    assert again.headers["x-tollgate-cost-usd"] == "0"
    assert len(gateway.jobs.jobs) == 1
