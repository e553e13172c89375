"""The functions behind the gateway, with the sample events of their triggers and services made of fakes."""

import json
from collections.abc import Callable
from copy import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.batch import exceptions as powertools_exceptions
from pydantic import ValidationError

from functions.async_completion import app as async_completion
from functions.async_submit import app as async_submit
from functions.batch_completion import app as batch_completion
from functions.batch_dispatch import app as batch_dispatch
from functions.sweeper import app as sweeper
from tests.fakes.async_road import AsyncRoad
from tests.fakes.batch_road import RESOURCE, BatchRoad
from tests.fakes.examples import OWNER, make_job
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.errors import CapacityError, InvalidRequestError, StorageError
from tollgate.domain.jobs.file_batches import COMPLETION_WINDOW, FileBatch, FileBatchStatus
from tollgate.domain.jobs.job import JobState
from tollgate.settings import RoadSettings, SettingsError

_EVENTS = Path(__file__).parents[3] / "events"
_FIRST = "inf_01kb3x8h5v2m9q4r7t1w6y0z3c"
_SECOND = "inf_01kb3x8h9a4n7s2d5f8g1j6k0p"


def _event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_EVENTS / f"{name}.json").read_text())
    return found


def _named(catalogue: Catalogue, model: str, deployment: str) -> Catalogue:
    """The example's only model under another name."""
    example = catalogue.model("echo")
    renamed = replace(example.deployments[0], name=deployment, model=model)
    return replace(catalogue, models={model: replace(example, name=model, deployments=(renamed,))})


def test_every_message_submits_its_job() -> None:
    """Two messages, two submissions, nothing to come back."""
    road = AsyncRoad()
    for job_id in (_FIRST, _SECOND):
        road.jobs.add(make_job(job_id))
    assert async_submit.handle(_event("async_submit/queue"), road.group_submitter()) == {"batchItemFailures": []}
    assert [submission[0] for submission in road.backend.submitted] == [_FIRST, _SECOND]


def test_a_test_notification_is_about_no_job() -> None:
    """SageMaker sends one whenever an endpoint is made, changed or scaled; as an error each would be an alarm."""
    road = AsyncRoad()
    road.jobs.add(make_job(_FIRST))
    async_completion.handle(_event("async_completion/test_notification"), road.completion())
    assert road.jobs.jobs[_FIRST].state is JobState.QUEUED
    assert not road.telemetry.lines


def test_a_bad_message_comes_back_alone() -> None:
    """The good one beside it is done with; the bad one ends in the dead-letter queue, and the log says why."""
    road = AsyncRoad()
    road.jobs.add(make_job(_FIRST))
    event = _event("async_submit/queue_one_bad")
    response = async_submit.handle(event, road.group_submitter())
    assert response == {"batchItemFailures": [{"itemIdentifier": event["Records"][1]["messageId"]}]}
    assert len(road.backend.submitted) == 1
    [line] = [line[2] for line in road.telemetry.lines if line[1] == "message comes back later"]
    assert (line["error_type"], line["error"]) == ("MessageError", "not JSON")


@pytest.mark.parametrize("body", ["[]", "{}", '{"job_id": 7}', '{"job_id": ""}'])
def test_a_message_of_another_shape_comes_back(body: str) -> None:
    """Nothing is submitted for it."""
    road = AsyncRoad()
    event = _event("async_submit/queue")
    event["Records"] = [event["Records"][0] | {"body": body}]
    assert len(async_submit.handle(event, road.group_submitter())["batchItemFailures"]) == 1


def test_a_whole_batch_that_fails_comes_back_without_an_error() -> None:
    """An error of the function would count as one, and bring back messages that succeeded."""
    road = AsyncRoad()
    road.backend.errors = [CapacityError("x"), CapacityError("x")]
    for job_id in (_FIRST, _SECOND):
        road.jobs.add(make_job(job_id))
    try:
        response = async_submit.handle(_event("async_submit/queue"), road.group_submitter())
    except powertools_exceptions.BatchProcessingError:
        pytest.fail("the batch as a whole was raised")
    assert len(response["batchItemFailures"]) == 2
    assert {line[2]["error_type"] for line in road.telemetry.lines} == {"CapacityError"}


def test_a_success_notice_completes_its_job() -> None:
    """The output is read from where the notice says."""
    road = AsyncRoad()
    road.objects.bucket = "tollgate-bucket-example"
    road.jobs.add(make_job(_FIRST))
    road.objects.put("async-output/smollm2/0b9d8c7e-6f5a-4b3c-8d2e-1f0a9b8c7d6e.out", b'"hi"')
    async_completion.handle(_event("async_completion/success"), road.completion())
    job = road.jobs.jobs[_FIRST]
    assert job.output.inline == "hi"
    assert str(job.held_seconds) == "2.379000"


@pytest.mark.parametrize("name", ["failure", "failure_without_response"])
def test_a_failure_notice_fails_its_job(name: str) -> None:
    """With SageMaker's reason, whether or not there is an output location."""
    road = AsyncRoad()
    road.jobs.add(make_job(_FIRST))
    async_completion.handle(_event(f"async_completion/{name}"), road.completion())
    job = road.jobs.jobs[_FIRST]
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert "Error" in job.failure.message


def test_a_notice_that_cannot_be_settled_is_raised() -> None:
    """SNS and Lambda bring it back: the announced answer is not there."""
    road = AsyncRoad()
    road.jobs.add(make_job(_FIRST))
    with pytest.raises(StorageError):
        async_completion.handle(_event("async_completion/success"), road.completion())


def test_a_notice_of_another_shape_is_raised() -> None:
    """It ends in the dead-letter queue, where it can be looked at."""
    event = _event("async_completion/success")
    event["Records"][0]["Sns"]["Message"] = '{"invocationStatus": "Maybe"}'
    with pytest.raises(ValidationError):
        async_completion.handle(event, AsyncRoad().completion())


def _dispatch(road: BatchRoad) -> batch_dispatch.BatchDispatch:
    return batch_dispatch.BatchDispatch(
        pools=road.dispatcher(), drops=road.drops, file_batches=road.file_batch_runner, bucket="tollgate-bucket-example"
    )


def test_messages_wake_their_pools() -> None:
    """Each pool once a batch, however many messages name it."""
    road = BatchRoad(_named(BatchRoad().catalogues.catalogue, "langid", "main"))
    road.add_jobs(4, model="langid", deployment="main")
    event = _event("batch_dispatch/queue")
    event["Records"] += event["Records"]
    assert batch_dispatch.handle(event, _dispatch(road)) == {"batchItemFailures": []}
    assert len(road.backend.started) == 1


def test_the_schedule_wakes_every_pool() -> None:
    """Without any message."""
    road = BatchRoad()
    road.add_jobs(4)
    assert batch_dispatch.handle(_event("batch_dispatch/schedule"), _dispatch(road)) is None
    assert len(road.backend.started) == 1


def test_a_dropped_file_is_run() -> None:
    """Its model is in its key."""
    road = BatchRoad(_named(BatchRoad().catalogues.catalogue, "langid", "main"))
    road.objects.put("batch-input/langid/reviews-2026-11.jsonl", b'"one"\n')
    for _ in range(2):
        batch_dispatch.handle(_event("batch_dispatch/file_dropped"), _dispatch(road))
    [run] = road.batches.runs.values()
    assert run.source == "batch-input/langid/reviews-2026-11.jsonl"
    assert len(road.backend.started) == 1


def _drop_event(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The sample with its record changed."""
    event = _event("batch_dispatch/file_dropped")
    message = json.loads(event["Records"][0]["Sns"]["Message"])
    change(message["Records"][0]["s3"])
    event["Records"][0]["Sns"]["Message"] = json.dumps(message)
    return event


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("batch-input/langid/a+b c.jsonl", "batch-input/langid/a%2Bb+c.jsonl"),
        ("batch-input/langid/%41.jsonl", "batch-input/langid/%2541.jsonl"),
        ("batch-input/langid/ä💡.jsonl", "batch-input/langid/%C3%A4%F0%9F%92%A1.jsonl"),
    ],
)
def test_a_dropped_file_is_found_by_its_encoded_key(stored: str, told: str) -> None:
    """S3 encodes keys in its notifications like the values of a form."""
    road = BatchRoad(_named(BatchRoad().catalogues.catalogue, "langid", "main"))
    road.objects.put(stored, b'"one"\n')
    batch_dispatch.handle(_drop_event(lambda found: found["object"].update(key=told)), _dispatch(road))
    [run] = road.batches.runs.values()
    assert run.source == stored


def test_what_another_bucket_tells_is_passed_over() -> None:
    """The topic lets all buckets of the account in, for it was there before the stack's own."""
    road = BatchRoad(_named(BatchRoad().catalogues.catalogue, "langid", "main"))
    road.objects.put("batch-input/langid/reviews-2026-11.jsonl", b'"one"\n')
    assert batch_dispatch.handle(_drop_event(lambda found: found["bucket"].update(name="b")), _dispatch(road)) is None
    assert not road.batches.runs


def test_a_test_of_the_topic_is_about_no_file() -> None:
    """S3 sends one when it is told of the topic; as an error it would be a dead letter, and that an alarm."""
    road = BatchRoad()
    assert batch_dispatch.handle(_event("batch_dispatch/test_notification"), _dispatch(road)) is None
    assert not road.batches.runs


def test_a_dropped_file_without_a_version_is_a_dead_letter() -> None:
    """Nothing would tell a second notification from a second file."""
    event = _drop_event(lambda found: found.update(object={"key": found["object"]["key"]}))
    with pytest.raises(InvalidRequestError, match="version"):
        batch_dispatch.handle(event, _dispatch(BatchRoad()))
    event["Records"][0]["Sns"]["Message"] = "[]"
    with pytest.raises(ValidationError):
        batch_dispatch.handle(event, _dispatch(BatchRoad()))


def test_a_batch_of_a_file_is_taken_on_its_way() -> None:
    """As far as it can go: a batch without its file has failed."""
    road = BatchRoad()
    now = road.clock.now()
    road.file_batches.add(FileBatch("batch_1", OWNER, "/v1/embeddings", "file-1", now, now + COMPLETION_WINDOW))
    event = _event("batch_dispatch/queue_file_batch")
    assert batch_dispatch.handle(event, _dispatch(road)) == {"batchItemFailures": []}
    assert road.file_batches.batches["batch_1"].status is FileBatchStatus.FAILED


@pytest.mark.parametrize("name", ["completed", "failed", "stopped"])
def test_the_end_of_a_transform_job_ends_its_run(name: str) -> None:
    """The instance time comes from the event's own times: 135 s over four records."""
    event = _event(f"batch_completion/{name}")
    road = BatchRoad()
    road.add_jobs(4)
    run = road.pooled().begin(event["detail"]["TransformJobName"], RESOURCE, sorted(road.jobs.jobs))
    assert run is not None
    road.pooled().prepare(run)
    road.run_transform(run.batch_id)
    batch_completion.handle(event, road.collector())
    jobs = list(road.jobs.jobs.values())
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    assert {job.held_seconds for job in jobs} == {Decimal("33.75")}


def test_every_function_says_what_its_environment_lacks() -> None:
    """Names, not values."""
    for settings in (
        async_submit.AsyncSubmitSettings,
        async_completion.AsyncCompletionSettings,
        batch_dispatch.BatchDispatchSettings,
        batch_completion.BatchCompletionSettings,
        sweeper.SweeperSettings,
    ):
        with pytest.raises(SettingsError, match="TABLE_JOBS"):
            settings.load({"BUCKET": "secret-name"})


@pytest.mark.parametrize(
    "settings",
    [async_completion.AsyncCompletionSettings, batch_completion.BatchCompletionSettings, sweeper.SweeperSettings],
)
def test_whoever_ends_jobs_is_told_where_answers_are_kept(settings: type[RoadSettings]) -> None:
    """A job that led others gives its lease back, or its answer, whichever function ends it."""
    assert not hasattr(settings, "table_cache"), "it has no default"
    assert {"table_cache", "refresh_function"} <= settings.fields().keys()


def test_the_sample_catalogue_has_the_roads() -> None:
    """The tests above lean on it."""
    roads = BatchRoad().catalogues.catalogue.model("echo").deployments[0].roads
    assert {InferenceType.ASYNC, InferenceType.BATCH} <= roads.keys()
