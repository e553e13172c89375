"""The routes over batches of files: shapes, what is refused, and what must not happen twice."""

import json
from datetime import timedelta
from typing import Any

import pytest

from functions.files_batches.app import handle
from local.openapi import file_answers
from tests.fakes.files_house import SAMPLES, FilesHouse
from tests.fakes.messages import InMemoryQueue
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.file_batches import FileBatchStatus


@pytest.fixture
def house() -> FilesHouse:
    return FilesHouse()


def test_the_samples_make_find_and_cancel_a_batch(house: FilesHouse) -> None:
    """It is written down before anybody is woken for it."""
    file = house.upload()
    event = json.loads((SAMPLES / "batch_create.json").read_text("utf-8"))
    body = json.loads(event["body"]) | {"input_file_id": file["id"]}
    answer = handle(event | {"body": json.dumps(body)}, house.api)
    batch = json.loads(answer["body"])
    file_answers.Batch.model_validate(batch)
    assert (batch["status"], batch["metadata"]) == ("validating", {"night": "monday"})
    assert batch["expires_at"] - batch["created_at"] == 86_400
    assert house.queue.bodies == [{"kind": "file_batch", "file_batch": batch["id"]}]
    assert house.sample("batch_get", id=batch["id"]) == (200, batch)
    _, page = house.sample("batch_list")
    assert file_answers.BatchList.model_validate(page).data[0].id == batch["id"]
    status, cancelled = house.sample("batch_cancel", id=batch["id"])
    assert (status, cancelled["status"]) == (200, "cancelling")
    assert cancelled["cancelling_at"] == batch["created_at"]
    assert house.sample("batch_cancel", id=batch["id"])[1]["status"] == "cancelling"


def test_a_batch_says_how_long_its_results_are_wanted(house: FilesHouse) -> None:
    """Checked as for files, and kept on its record."""
    body = {"input_file_id": house.upload()["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    wanted = {"anchor": "created_at", "seconds": 7_200}
    _, batch = house.ask("POST /v1/batches", body | {"output_expires_after": wanted})
    assert house.batches.batches[batch["id"]].output_seconds == 7_200
    status, refused = house.ask("POST /v1/batches", body | {"output_expires_after": wanted | {"seconds": 10}})
    assert (status, refused["error"]["param"]) == (400, "output_expires_after.seconds")


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"endpoint": "/v1/images"}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"input_file_id": "file-none"}, 404, "input_file_id"),
        ({"input_file_id": 7}, 400, "input_file_id"),
        ({"metadata": {"a": 1}}, 400, "metadata.a"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(house: FilesHouse, change: dict[str, Any], status: int, param: str) -> None:
    """Naming the field; nothing is written."""
    file = house.upload()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"} | change
    found, said = house.ask("POST /v1/batches", body)
    assert (found, said["error"]["param"]) == (status, param)
    assert house.batches.batches == {}


def test_a_batch_needs_a_file_for_batches(house: FilesHouse) -> None:
    """As it does at OpenAI."""
    file = house.upload(purpose="user_data")
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    assert house.ask("POST /v1/batches", body)[1]["error"]["param"] == "input_file_id"


def test_a_batch_whose_message_is_lost_is_there_all_the_same(house: FilesHouse) -> None:
    """The sweeper wakes it."""

    class _Down(InMemoryQueue):
        def send(self, message: Any, **_: Any) -> None:
            raise StorageError(f"no queue for {message}")

    file = house.upload()
    house.api._batches._queue = _Down()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    assert house.ask("POST /v1/batches", body)[0] == 200
    assert len(house.batches.open_since(house.clock.now() + timedelta(seconds=1), limit=9)) == 1


def test_an_idempotency_key_makes_one_batch(house: FilesHouse) -> None:
    """However often the same call comes."""
    file = house.upload()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    answers = [house.ask("POST /v1/batches", body, headers={"Idempotency-Key": "k"}) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert len(house.batches.batches) == 1


def test_an_ended_batch_cannot_be_cancelled(house: FilesHouse) -> None:
    """409, as for a job."""
    file = house.upload()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    _, batch = house.ask("POST /v1/batches", body)
    stored = house.batches.batches[batch["id"]]
    house.batches.change(stored.at(FileBatchStatus.COMPLETED, house.clock.now()))
    assert house.ask("POST /v1/batches/{id}/cancel", path={"id": batch["id"]})[0] == 409
