"""The routes over files and uploads: shapes, owners, scopes, and what is refused."""

import hashlib
import json
from typing import Any

import pytest

from functions.files_batches.app import handle
from local.openapi import file_answers
from tests.fakes.files_house import SAMPLES, FilesHouse
from tests.fakes.gateway import proxy_event
from tollgate.domain.errors import StorageError
from tollgate.services.batches.files import MOST_DIRECT_BYTES, MOST_INLINE_BYTES
from tollgate.services.batches.uploads import MOST_PARTS


@pytest.fixture
def house() -> FilesHouse:
    return FilesHouse()


def test_the_samples_make_find_and_delete_a_file(house: FilesHouse) -> None:
    """In OpenAI's shapes, with the content as it was sent."""
    status, file = house.sample("file_create")
    assert status == 200
    assert file_answers.File.model_validate(file).filename == "reviews.jsonl"
    assert file["expires_at"] - file["created_at"] == 30 * 86_400
    assert house.sample("file_get", id=file["id"]) == (200, file)
    _, page = house.sample("file_list")
    assert file_answers.FileList.model_validate(page).data[0].id == file["id"]
    event = json.loads((SAMPLES / "file_content.json").read_text("utf-8")) | {"pathParameters": {"id": file["id"]}}
    content = handle(event, house.api)["body"]
    assert len(content) == file["bytes"]
    assert json.loads(content)["custom_id"] == "review-1"
    status, gone = house.sample("file_delete", id=file["id"])
    file_answers.FileDeleted.model_validate(gone)
    assert house.sample("file_get", id=file["id"])[0] == 404
    assert house.objects.objects == {}


def test_the_samples_upload_a_large_file_in_two_steps(house: FilesHouse) -> None:
    """The file is PUT to the bucket; completing twice gives the same file, which can then be used."""
    status, upload = house.sample("upload_create")
    assert status == 200
    file_answers.Upload.model_validate(upload)
    assert (upload["status"], upload["file"]) == ("pending", None)
    key = upload["upload_url"].split(".example/")[1].split("?")[0]
    assert house.sample("upload_complete", id=upload["id"])[0] == 409
    house.objects.put(key, b"x" * 10)
    assert house.sample("upload_complete", id=upload["id"])[0] == 400
    house.objects.objects[key] = b"x" * 90_000_000
    done = house.sample("upload_complete", id=upload["id"])
    assert done == house.sample("upload_complete", id=upload["id"])
    assert done[1]["status"] == "completed"
    assert house.ask("GET /v1/files/{id}", path={"id": done[1]["file"]["id"]})[1]["bytes"] == 90_000_000
    assert len(house.ask("GET /v1/files")[1]["data"]) == 1
    assert house.sample("upload_cancel", id=upload["id"])[0] == 409


def test_what_is_put_after_an_upload_is_complete_changes_no_file(house: FilesHouse) -> None:
    """The URL works for an hour; the file was looked at, and may have been run, before."""
    _, upload = house.ask(
        "POST /v1/uploads", {"filename": "in.jsonl", "purpose": "batch", "bytes": 5, "mime_type": "application/jsonl"}
    )
    key = upload["upload_url"].split(".example/")[1].split("?")[0]
    house.objects.put(key, b"first")
    route, path = "POST /v1/uploads/{id}/complete", {"id": upload["id"]}
    _, done = house.ask(route, {"part_ids": []}, path=path)
    house.objects.put(key, b"other, and longer")
    assert house.ask(route, {"part_ids": []}, path=path) == (200, done)
    event = proxy_event("GET /v1/files/{id}/content", path={"id": done["file"]["id"]})
    assert handle(event, house.api)["body"] == "first"


def test_the_sample_sends_a_part(house: FilesHouse) -> None:
    """Parts come in any order, twice if need be; the file is what is named in the end, in that order."""
    upload = house.begin(20)
    _, last = house.part(upload, b" and last")
    file_answers.UploadPart.model_validate(last)
    assert (last["upload_id"], last["object"]) == (upload, "upload.part")
    _, first = house.part(upload, b"this first,")
    house.part(upload, b"this first,")
    status, done = house.complete(upload, part_ids=[first["id"], last["id"]])
    assert (status, done["status"], done["file"]["bytes"]) == (200, "completed", 20)
    event = proxy_event("GET /v1/files/{id}/content", path={"id": done["file"]["id"]})
    assert handle(event, house.api)["body"] == "this first, and last"
    assert house.complete(upload, part_ids=[first["id"], last["id"]]) == (200, done)
    assert house.part(upload, b"more")[0] == 409
    other = house.begin(200)
    assert house.sample("upload_part", id=other)[0] == 200


@pytest.mark.parametrize(
    ("size", "named", "md5", "param"),
    [
        (8, ["a", "b"], None, "bytes"),
        (10, ["a", "b"], None, "bytes"),
        (9, ["b"], None, "bytes"),
        (9, ["a", "a"], None, "part_ids"),
        (9, ["a", "part_of_nobody"], None, "part_ids"),
        (9, ["a", "../../files/file-1"], None, "part_ids[1]"),
        (9, ["a", "b"], "0" * 32, "md5"),
        (9, ["a", "b"], "no checksum", "md5"),
        (9, ["a"] * (MOST_PARTS + 1), None, "part_ids"),
    ],
)
def test_parts_that_are_not_what_was_announced_make_no_file(
    house: FilesHouse, size: int, named: list[str], md5: str | None, param: str
) -> None:
    """Nothing is stored in the file's place, and the upload can still be completed rightly."""
    upload = house.begin(size)
    parts = {"a": house.part(upload, b"first")[1]["id"], "b": house.part(upload, b"last")[1]["id"]}
    status, body = house.complete(upload, part_ids=[parts.get(name, name) for name in named], md5=md5)
    assert (status, body["error"]["param"]) == (400, param)
    assert not any(key.startswith("files/") for key in house.objects.objects)
    if size == 9:
        right = hashlib.md5(b"firstlast", usedforsecurity=False).hexdigest().upper()
        status, done = house.complete(upload, part_ids=list(parts.values()), md5=right)
        assert (status, done["status"]) == (200, "completed")
        assert not any(key.startswith("uploads/") for key in house.objects.objects)


def test_what_was_put_as_a_whole_is_compared_with_its_checksum(house: FilesHouse) -> None:
    """Another one is refused; without one only the size counts."""
    upload = house.begin(5)
    house.objects.put(f"uploads/{upload}/whole", b"first")
    assert house.complete(upload, md5="0" * 32)[1]["error"]["param"] == "md5"
    right = hashlib.md5(b"first", usedforsecurity=False).hexdigest()
    assert house.complete(upload, md5=right)[1]["status"] == "completed"
    empty = house.begin(5)
    assert house.complete(empty, md5=right)[0] == 409


def test_parts_are_refused_that_cannot_belong(house: FilesHouse) -> None:
    """To others' uploads, empty, larger than the whole, without a field, after an hour."""
    upload = house.begin(5)
    assert house.part("upload_none", b"x")[0] == 404
    assert house.part(upload, b"")[0] == 400
    assert house.part(upload, b"longer")[0] == 413
    event = proxy_event("POST /v1/uploads/{id}/parts", "{}", path={"id": upload})
    assert handle(event, house.api)["statusCode"] == 400
    house.clock.advance(3_601)
    assert house.part(upload, b"late")[0] == 404
    assert house.complete(upload)[0] == 404


def test_an_upload_is_no_file(house: FilesHouse) -> None:
    """Not even when it is complete: its file has a name of its own."""
    upload = house.begin(5)
    _, part = house.part(upload, b"first")
    assert house.complete(upload, part_ids=[part["id"]])[0] == 200
    assert house.ask("GET /v1/files/{id}", path={"id": upload})[0] == 404


def test_a_cancelled_upload_is_no_file(house: FilesHouse) -> None:
    """Neither before nor after."""
    _, upload = house.sample("upload_create")
    assert house.sample("upload_cancel", id=upload["id"])[1]["status"] == "cancelled"
    assert house.sample("upload_complete", id=upload["id"])[0] == 409
    assert house.ask("GET /v1/files")[1]["data"] == []


@pytest.mark.parametrize(
    ("fields", "content", "param"),
    [
        ({"purpose": "batch"}, None, "file"),
        ({}, b"x", "purpose"),
        ({"purpose": "vision"}, b"x", "purpose"),
        ({"purpose": "batch_output"}, b"x", "purpose"),
        ({"purpose": "batch"}, b"", "file"),
        ({"purpose": "batch", "expires_after[seconds]": "60", "expires_after[anchor]": "created_at"}, b"x", "expires"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, b"x", "expires"),
    ],
)
def test_a_form_that_is_wrong_is_refused(
    house: FilesHouse, fields: dict[str, str], content: bytes | None, param: str
) -> None:
    """Naming the field."""
    status, body = house.form(fields, content)
    assert status == 400
    assert body["error"]["param"].startswith(param)
    assert house.files.files == {}


def test_a_file_may_be_kept_for_less(house: FilesHouse) -> None:
    """Then it is gone for its owner, whatever the bucket still has."""
    fields = {"purpose": "batch", "expires_after[seconds]": "3600", "expires_after[anchor]": "created_at"}
    _, file = house.form(fields, b"x")
    assert file["expires_at"] - file["created_at"] == 3_600
    house.clock.advance(3_600)
    assert house.ask("GET /v1/files/{id}", path={"id": file["id"]})[0] == 404
    assert house.ask("GET /v1/files")[1]["data"] == []


def test_a_large_file_is_sent_elsewhere(house: FilesHouse) -> None:
    """On the way in by a 413 that says how; on the way out by a redirect, as is one that is no text."""
    status, body = house.form({"purpose": "batch"}, b"x" * (MOST_DIRECT_BYTES + 1))
    assert status == 413
    assert "/v1/uploads" in body["error"]["message"]
    for content in (b"x" * (MOST_INLINE_BYTES + 1), b"\xff\xfe"):
        file = house.upload(content, purpose="user_data")
        answer = handle(proxy_event("GET /v1/files/{id}/content", path={"id": file["id"]}), house.api)
        assert answer["statusCode"] == 302
        assert file["id"] in answer["headers"]["Location"]


def test_other_tenants_see_nothing(house: FilesHouse) -> None:
    """Neither in lists nor by id, and their batches cannot read it."""
    file = house.upload()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    _, batch = house.ask("POST /v1/batches", body)
    stranger: dict[str, Any] = {"tenant": "other"}
    assert house.ask("GET /v1/files", **stranger)[1]["data"] == []
    assert house.ask("GET /v1/batches", **stranger)[1]["data"] == []
    for route, name in (
        ("GET /v1/files/{id}", file["id"]),
        ("GET /v1/files/{id}/content", file["id"]),
        ("DELETE /v1/files/{id}", file["id"]),
        ("GET /v1/batches/{id}", batch["id"]),
        ("POST /v1/batches/{id}/cancel", batch["id"]),
        ("POST /v1/uploads/{id}/complete", "upload_1"),
    ):
        assert house.ask(route, {"part_ids": []}, path={"id": name}, **stranger)[0] == 404
    assert house.ask("POST /v1/batches", body, **stranger)[0] == 404


@pytest.mark.parametrize(
    ("route", "scopes"),
    [("POST /v1/files", "read cancel"), ("GET /v1/files", "infer"), ("POST /v1/batches/{id}/cancel", "infer read")],
)
def test_a_key_needs_the_scope(house: FilesHouse, route: str, scopes: str) -> None:
    """403 with its name; unknown routes are 404."""
    status, body = house.ask(route, scopes=scopes, path={"id": "x"})
    assert (status, body["error"]["code"]) == (403, "insufficient_scope")
    assert house.ask("GET /v1/nothing")[0] == 404


def test_lists_are_paged_by_the_last_id(house: FilesHouse) -> None:
    """As the SDK's own iteration does."""
    for _ in range(5):
        house.upload()
        house.clock.advance(1)
    _, first = house.ask("GET /v1/files", query={"limit": "2"})
    _, second = house.ask("GET /v1/files", query={"limit": "9", "after": first["last_id"]})
    assert first["has_more"] is True
    assert second["has_more"] is False
    assert len(first["data"] + second["data"]) == 5
    _, oldest = house.ask("GET /v1/files", query={"order": "asc", "limit": "1"})
    assert oldest["data"][0]["id"] == second["last_id"]
    assert house.ask("GET /v1/files", query={"purpose": "nothing"})[1]["data"] == []
    for query in ({"limit": "0"}, {"limit": "x"}, {"after": "none"}, {"order": "up"}):
        assert house.ask("GET /v1/files", query=query)[0] == 400


def test_a_form_that_is_sent_again_makes_one_file(house: FilesHouse) -> None:
    """Clients make up a new boundary each time; with an Idempotency-Key it is the same form all the same."""

    def send(boundary: str, content: str) -> tuple[int, Any]:
        parts = ['name="purpose"\r\n\r\nbatch', f'name="file"; filename="a.jsonl"\r\n\r\n{content}']
        body = "".join(f"--{boundary}\r\nContent-Disposition: form-data; {part}\r\n" for part in parts)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Idempotency-Key": "one"}
        return house.ask("POST /v1/files", f"{body}--{boundary}--\r\n", headers=headers)

    first = send("abc", "{}")
    assert first[0] == 200
    assert send("def", "{}") == first
    assert send("def", "[]")[0] == 422
    assert len(house.ask("GET /v1/files")[1]["data"]) == 1


def test_a_repeated_batch_is_the_first_one_even_if_its_answer_was_not_kept() -> None:
    """The function died after it had written the batch: no second one is made, run and charged, for a day."""
    house = FilesHouse()
    file = house.upload(b'{"a": 1}\n')
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    headers = {"idempotency-key": "k"}

    def nowhere(*_args: Any, **_named: Any) -> None:
        raise StorageError("x")

    house.idempotency.complete = nowhere  # type: ignore[method-assign]  # see above
    made = []
    for wait in (0, 60, 86_400):
        house.clock.advance(wait)
        status, batch = house.ask("POST /v1/batches", body, headers=headers)
        assert status == 200
        made.append(batch["id"])
    assert made[0] == made[1] != made[2]
    assert len(house.batches.batches) == 2
    assert house.ask("POST /v1/batches", body, headers={"idempotency-key": "other"})[1]["id"] not in made
