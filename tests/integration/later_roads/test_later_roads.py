"""The asynchronous and the batch road over real wire formats, and the death of SageMaker in the middle of it."""

import json
import time
from decimal import Decimal
from urllib.parse import quote_plus

import pytest

from functions.async_completion import app as async_completion
from functions.batch_dispatch import app as batch_dispatch
from functions.sweeper import app as sweeper
from tests.integration.later_roads.conftest import Roads
from tests.integration.sagemaker_standin.process import until
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import JobState

pytestmark = pytest.mark.integration

_BATCH = InferenceType.BATCH


def _messages(roads: Roads, queue: str) -> list[str]:
    found = roads.sqs.receive_message(QueueUrl=roads.queues[queue], MaxNumberOfMessages=10)
    return [message["Body"] for message in found.get("Messages", ())]


def _dispatch_when_due(roads: Roads) -> None:
    time.sleep(1.2)
    batch_dispatch.handle({"source": "aws.events"}, roads.dispatch)


def test_an_async_request_comes_back(roads: Roads) -> None:
    """Submitted, announced through SNS, settled with a cost; small and large bodies alike."""
    small = roads.add_job("one two three", webhook_url="https://example.com/hook")
    large = roads.add_job("x" * 150_000)
    for job_id in (small, large):
        roads.submit(job_id)
        assert roads.job(job_id).state is JobState.SUBMITTED
    jobs = roads.all_ended([small, large])
    assert [job.state for job in jobs] == [JobState.COMPLETED] * 2
    for job in jobs:
        assert job.effective_cost is not None
        assert job.effective_cost > 0
        assert job.held_seconds is not None
        assert job.started_at is not None
    assert [json.loads(body) for body in _messages(roads, "webhooks")] == [{"job_id": small, "attempt": 1}]


def test_a_container_error_fails_its_async_job(roads: Roads) -> None:
    """With the reason that SageMaker gives."""
    job_id = roads.add_job({"inputs": "x", "_fail": 400})
    roads.submit(job_id)
    [job] = roads.all_ended([job_id])
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.message


def test_a_batch_comes_back_record_by_record(roads: Roads) -> None:
    """One bad record among five: its neighbour in the file is saved by a second run, only it fails."""
    values = [{"inputs": f"text {number}"} | ({"_fail": 400} if number == 2 else {}) for number in range(5)]
    job_ids = [roads.add_job(value, inference_type=_BATCH) for value in values]
    _dispatch_when_due(roads)
    jobs = roads.all_ended(job_ids, 60)
    expected = [JobState.FAILED if number == 2 else JobState.COMPLETED for number in range(5)]
    assert [job.state for job in jobs] == expected
    held = [job.held_seconds for job in jobs if job.held_seconds is not None]
    assert len(held) == 5
    assert all(seconds > 0 for seconds in held)
    assert {job.batch_id for job in jobs if job.state is JobState.FAILED} == {f"{jobs[0].batch_id}-r2"}


@pytest.mark.parametrize("key", ["batch-input/echo/a b+ä.jsonl", "batch-input/echo/2026/plain.jsonl"])
def test_a_dropped_file_comes_back(roads: Roads, key: str) -> None:
    """In its order, with errors in their place and a summary, from the very event that S3 sends."""
    lines = [b'"one"', b'{"id": "mine", "input": "two"}', b"{oops", b'{"inputs": "three", "_fail": 500}', b'"four"']
    roads.s3.put_object(Bucket=roads.bucket, Key=key, Body=b"\n".join(lines))
    told = {"bucket": {"name": roads.bucket}, "object": {"key": quote_plus(key, safe="/"), "sequencer": "0001"}}
    event = {"Records": [{"Sns": {"Message": json.dumps({"Records": [{"s3": told}]})}}]}
    for _ in range(2):
        batch_dispatch.handle(event, roads.dispatch)
    out = key.replace("batch-input", "batch-output")
    roads.pump_until(lambda: roads.read(out.replace(".jsonl", ".summary.json")), 60)
    results = [json.loads(line) for line in (roads.read(out) or b"").splitlines()]
    assert [result.get("line") or result["id"] for result in results] == [1, "mine", 3, 4, 5]
    assert ["error" in result for result in results] == [False, False, True, True, False]
    summary = json.loads(roads.read(out.replace(".jsonl", ".summary.json")) or b"")
    assert (summary["completed"], summary["failed"], summary["invalid"]) == (3, 1, 1)
    assert Decimal(summary["effective_cost_usd"]) > 0


def test_killing_sagemaker_loses_no_job(roads: Roads) -> None:
    """Killed with asynchronous and batch work under way and started again: every job ends well, once."""
    slow = [roads.add_job({"inputs": f"n{number}", "_sleep": 0.3}) for number in range(6)]
    pooled = [roads.add_job({"inputs": f"b{number}", "_sleep": 0.3}, inference_type=_BATCH) for number in range(6)]
    for job_id in slow:
        roads.submit(job_id)
    batch_dispatch.handle({"source": "aws.events"}, roads.dispatch)
    time.sleep(0.6)
    roads.standin.kill()
    roads.standin.start()
    jobs = roads.all_ended(slow + pooled, 60)
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    ended = list(jobs)
    time.sleep(1)
    roads.pump()
    assert list(roads.jobs.get_many(slow + pooled)) == ended


def test_a_lost_notification_is_made_up_for(roads: Roads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads the topic; the sweeper finds the answer in the bucket."""
    job_id = roads.add_job("one two")
    roads.submit(job_id)
    location = roads.job(job_id).output_location
    assert location is not None
    key = location.removeprefix(f"s3://{roads.bucket}/")
    until(lambda: roads.read(key))
    monkeypatch.setattr("tollgate.services.jobs.sweep._FIRST_LOOK", 0.0001)
    sweeper.handle({}, roads.sweeper)
    assert roads.job(job_id).state is JobState.COMPLETED
    ended = roads.job(job_id)
    for body in _messages(roads, "notices"):
        event = {"Records": [{"Sns": {"Message": json.loads(body)["Message"]}}]}
        async_completion.handle(event, roads.completion)
    assert roads.job(job_id) == ended


def test_a_throttled_submission_is_tried_again_at_once(roads: Roads) -> None:
    """SageMaker certainly did not take it, so the lease does not stand in the next message's way."""
    roads.standin.break_(op="invoke_async", kind="error", status=400, code="ThrottlingException", count=3)
    job_id = roads.add_job("x")
    roads.submit(job_id)
    assert roads.job(job_id).state is JobState.QUEUED
    roads.submit(job_id)
    assert roads.job(job_id).state is JobState.SUBMITTED
