"""What SageMaker says of an invocation ends its job once, whatever the order."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.async_road import AsyncRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import make_catalogue, make_job
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.job import FINAL_STATES, Job, JobState
from tollgate.services.jobs.async_notice import AsyncNotice

_RECEIVED = make_job().created_at + timedelta(seconds=1)


def _road(**changes: Any) -> AsyncRoad:
    road = AsyncRoad()
    road.jobs.add(make_job(**changes))
    road.submitter().submit("inf_1")
    return road


def _success(road: AsyncRoad, body: bytes = b'{"text": "hi"}', job_id: str = "inf_1") -> AsyncNotice:
    return AsyncNotice(
        inference_id=job_id,
        completed=True,
        received_at=_RECEIVED,
        finished_at=_RECEIVED + timedelta(seconds=2),
        output_location=road.answer(job_id, body),
    )


def _failure(job_id: str = "inf_1", reason: str | None = "ClientError: bad input") -> AsyncNotice:
    return AsyncNotice(
        inference_id=job_id,
        completed=False,
        received_at=_RECEIVED,
        finished_at=_RECEIVED + timedelta(seconds=1),
        failure_reason=reason,
    )


def _job(road: AsyncRoad, job_id: str = "inf_1") -> Job:
    found = road.jobs.get(job_id)
    assert found is not None
    return found


def test_an_answer_completes_its_job_with_cost() -> None:
    """Instance share at the road's price, plus the gateway's parts; avoided against the idle baseline."""
    road = _road()
    road.completion().notice(_success(road))
    job = _job(road)
    assert job.state is JobState.COMPLETED
    assert job.output.inline == {"text": "hi"}
    assert job.held_seconds == Decimal(2)
    share = Decimal(2) * Decimal("0.115") / 3600
    assert job.effective_cost is not None
    assert share < job.effective_cost < share + Decimal("0.0001")
    # The baseline serves a quarter of the time, so it costs four times the share.
    assert job.avoided_cost == pytest.approx(4 * share - job.effective_cost, abs=Decimal("1E-11"))
    assert job.finished_at == _RECEIVED + timedelta(seconds=2)
    assert job.started_at == _RECEIVED
    assert [record.outcome for record in road.telemetry.requests] == ["completed"]
    assert road.measurements.durations == [("echo/small", InferenceType.ASYNC, 2.0)]


def test_waiting_for_the_endpoint_is_not_charged() -> None:
    """Two requests at once on one place: each pays for its own seconds."""
    road = _road()
    road.jobs.add(make_job("inf_2"))
    road.submitter().submit("inf_2")
    for job_id in ("inf_1", "inf_2"):
        notice = _success(road, job_id=job_id)
        road.completion().notice(notice)
    assert _job(road, "inf_1").held_seconds == Decimal(2)
    assert _job(road, "inf_2").held_seconds == Decimal(0)


def test_a_failure_says_why() -> None:
    """In SageMaker's words; the container worked, so its time is charged."""
    road = _road()
    road.completion().notice(_failure())
    job = _job(road)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert (job.failure.code, job.failure.message) == ("model_failed", "ClientError: bad input")
    assert job.held_seconds == Decimal(1)
    assert not road.measurements.durations


def test_a_failure_without_a_reason_is_read_from_the_bucket() -> None:
    """SageMaker puts the container's error there; without it the job still ends."""
    road = _road()
    road.objects.put("async-output/tollgate-echo-async/inf_1-error.out", b"CUDA out of memory \xff")
    road.completion().notice(_failure(reason=None))
    failure = _job(road).failure
    assert failure is not None
    assert failure.message.startswith("CUDA out of memory")
    other = _road()
    other.completion().notice(_failure(reason=None))
    assert _job(other).state is JobState.FAILED


@pytest.mark.parametrize("reason", ["ClientError: Bearer sk-abcdefgh1234", None])
def test_a_failure_shows_no_secret(reason: str | None) -> None:
    """Neither SageMaker's reason nor the container's own words."""
    road = _road()
    road.objects.put("async-output/tollgate-echo-async/inf_1-error.out", b"refused Bearer sk-abcdefgh1234")
    road.completion().notice(_failure(reason=reason))
    failure = _job(road).failure
    assert failure is not None
    assert failure.message.endswith(" Bearer ***")


@pytest.mark.parametrize("body", [b"not json", b"", b"[NaN]", b"\xff\xfe"])
def test_an_answer_that_is_none_fails_the_job(body: bytes) -> None:
    """Truthfully, instead of coming back for ever."""
    road = _road()
    road.completion().notice(_success(road, body))
    job = _job(road)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code == "model_answer_invalid"


def test_an_announced_answer_that_is_not_there_comes_back() -> None:
    """The event is retried; nothing is settled."""
    road = _road()
    notice = _success(road)
    road.objects.objects.clear()
    with pytest.raises(StorageError):
        road.completion().notice(notice)
    assert _job(road).state is JobState.SUBMITTED


def test_results_of_others_are_ignored() -> None:
    """Unknown ids and ids of batch jobs, with a metric."""
    road = _road()
    road.jobs.add(make_job("inf_b", inference_type=InferenceType.BATCH))
    for job_id in ("inf_none", "inf_b"):
        road.completion().notice(_success(road, job_id=job_id))
    assert road.telemetry.counts == {"UnknownAsyncResult": 2}
    assert _job(road, "inf_b").state is JobState.QUEUED


def test_a_large_result_lies_in_the_bucket() -> None:
    """And one that would not fit beside a large input, too."""
    road = _road()
    road.completion().notice(_success(road, json.dumps("x" * 200_001).encode()))
    assert _job(road).output.key == "results/inf_1.json"
    assert len(road.objects.objects["results/inf_1.json"]) == 200_003
    beside = AsyncRoad()
    beside.jobs.add(make_job(input=make_job().input.__class__(inline="y" * 190_000)))
    beside.submitter().submit("inf_1")
    beside.completion().notice(_success(beside, json.dumps("x" * 180_000).encode()))
    assert _job(beside).output.inline is None
    assert _job(beside).output.key == "results/inf_1.json"


def test_a_webhook_is_queued_once() -> None:
    """With the job's trace, and only when the client asked for one."""
    road = _road(webhook_url="https://example.com/hook")
    notice = _success(road)
    for _ in range(3):
        road.completion().notice(notice)
    assert road.webhooks.bodies == [{"job_id": "inf_1", "attempt": 1}]
    assert _job(road).webhook_pending
    quiet = _road()
    quiet.completion().notice(_success(quiet))
    assert not quiet.webhooks.sent


def test_an_unknown_price_is_not_zero() -> None:
    """Neither effective nor avoided cost; with a ceiling, the ceiling is charged."""
    road = AsyncRoad(make_catalogue(usd_per_hour=None))
    road.jobs.add(make_job())
    road.submitter().submit("inf_1")
    road.completion().notice(_success(road))
    assert _job(road).effective_cost is None
    assert _job(road).avoided_cost is None
    capped = AsyncRoad(make_catalogue(usd_per_hour=None, ceiling_usd=Decimal("0.01")))
    capped.jobs.add(make_job())
    capped.submitter().submit("inf_1")
    capped.completion().notice(_success(capped))
    effective = _job(capped).effective_cost
    assert effective is not None
    assert effective > Decimal("0.01")


def test_a_job_whose_deployment_left_the_catalogue_still_ends() -> None:
    """Failed, because its answer cannot be read any more, with an unknown cost and a metric."""
    road = _road()
    catalogue = make_catalogue()
    road.catalogues.catalogue = type(catalogue)(
        version=2, region="us-east-1", models={}, gateway_prices=catalogue.gateway_prices
    )
    road.completion().notice(_success(road))
    assert _job(road).state is JobState.FAILED
    assert _job(road).effective_cost is None
    assert road.telemetry.counts["UnknownCost"] == 1


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_death_at_any_step_settles_once(step: int, before: bool) -> None:
    """The event comes back; job and cost are as if nothing had happened, and the webhook is still pending."""
    undisturbed = _road(webhook_url="https://example.com/hook")
    undisturbed.completion().notice(_success(undisturbed, json.dumps("x" * 200_001).encode()))
    road = _road(webhook_url="https://example.com/hook")
    notice = _success(road, json.dumps("x" * 200_001).encode())
    with pytest.raises(CrashError):
        road.completion(CrashPoint(step, before=before)).notice(notice)
    road.completion().notice(notice)
    assert _job(road) == _job(undisturbed)
    assert len(road.webhooks.sent) <= 1


@settings(deadline=None)
@given(
    order=st.lists(st.sampled_from(["submit", "success", "failure", "sweep"]), min_size=1, max_size=8),
)
def test_any_order_of_events_ends_the_job_once(order: list[str]) -> None:
    """Submission, answers and failures in any order and number: the first final word stays."""
    road = AsyncRoad()
    road.jobs.add(make_job())
    first_end: Job | None = None
    for event in order:
        match event:
            case "submit":
                road.submitter().submit("inf_1")
            case "success":
                road.completion().notice(_success(road))
            case "failure":
                road.completion().notice(_failure())
            case _:
                road.completion().found_in_bucket(_job(road))
        present = _job(road)
        if first_end is not None:
            assert present == first_end
        elif present.state in FINAL_STATES:
            first_end = present
    assert len(road.telemetry.requests) == (first_end is not None)
    assert len(road.backend.submitted) <= 1


def test_a_result_that_nobody_announced_is_found() -> None:
    """Answer and failure alike; a job without either is left alone."""
    road = _road()
    assert not road.completion().found_in_bucket(_job(road))
    road.clock.advance(30)
    road.answer("inf_1", b'"late"')
    assert road.completion().found_in_bucket(_job(road))
    assert _job(road).output.inline == "late"
    assert _job(road).held_seconds == Decimal(30)
    failed = _road()
    failed.objects.put("async-output/tollgate-echo-async/inf_1-error.out", b"boom")
    assert failed.completion().found_in_bucket(_job(failed))
    assert _job(failed).state is JobState.FAILED
