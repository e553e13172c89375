"""The routes over files, uploads and batches: shapes, owners, scopes, and what is refused."""

import base64
import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.files_batches.app import handle
from local.openapi import file_answers
from tests.fakes.clock import CountingIds, ManualClock
from tests.fakes.files import InMemoryFileBatchStore, InMemoryFileStore
from tests.fakes.gateway import InMemoryIdempotency, proxy_event
from tests.fakes.messages import InMemoryObjectStore, InMemoryQueue
from tests.unit.template_document import ROOT
from tollgate.api.files_routes import FilesApi
from tollgate.api.multipart import FormPart, read_form
from tollgate.api.telemetry import Telemetry
from tollgate.domain.errors import InvalidRequestError, StorageError
from tollgate.domain.file_batches import FileBatchStatus
from tollgate.services.file_batches import FileBatches
from tollgate.services.files import MOST_DIRECT_BYTES, MOST_INLINE_BYTES, Files
from tollgate.services.idempotent import Idempotency
from tollgate.services.uploads import MOST_PARTS, Uploads

SAMPLES = ROOT / "events" / "files_batches"


class _House:
    """The function with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.objects = InMemoryObjectStore(clock=self.clock)
        self.files = InMemoryFileStore()
        self.batches = InMemoryFileBatchStore()
        self.queue = InMemoryQueue()
        telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
        ids = CountingIds()
        files = Files(files=self.files, objects=self.objects, clock=self.clock, ids=ids, kept=timedelta(days=30))
        self.api = FilesApi(
            files=files,
            uploads=Uploads(
                store=self.files,
                files=files,
                objects=self.objects,
                chunked=lambda: self.objects,
                clock=self.clock,
                ids=ids,
            ),
            batches=FileBatches(
                batches=self.batches, files=files, queue=self.queue, telemetry=telemetry, clock=self.clock, ids=ids
            ),
            idempotency=Idempotency(InMemoryIdempotency(), self.clock),
            telemetry=telemetry,
            random_hex=lambda: "a" * 48,
        )

    def ask(self, route: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        answer = handle(proxy_event(route, text, **options), self.api)
        return answer["statusCode"], json.loads(answer["body"] or "null")

    def sample(self, name: str, **path: str) -> tuple[int, Any]:
        event = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
        if path:
            event["pathParameters"] = path
        answer = handle(event, self.api)
        return answer["statusCode"], json.loads(answer["body"] or "null")

    def upload(self, content: bytes = b'{"a": 1}\n', *, purpose: str = "batch") -> dict[str, Any]:
        status, file = self.form({"purpose": purpose}, content)
        assert status == 200, file
        file_answers.File.model_validate(file)
        found: dict[str, Any] = file
        return found

    def part(self, upload_id: str, content: bytes) -> tuple[int, Any]:
        body = (
            b'--x\r\nContent-Disposition: form-data; name="data"; filename="upload"\r\n\r\n'
            + content
            + b"\r\n--x--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        event = proxy_event("POST /v1/uploads/{id}/parts", headers=headers, path={"id": upload_id})
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        answer = handle(event, self.api)
        return answer["statusCode"], json.loads(answer["body"])

    def begin(self, size: int) -> str:
        fields = {"filename": "in.jsonl", "purpose": "batch", "bytes": size, "mime_type": "application/jsonl"}
        status, upload = self.ask("POST /v1/uploads", fields)
        assert status == 200, upload
        return str(upload["id"])

    def complete(self, upload_id: str, **body: Any) -> tuple[int, Any]:
        return self.ask("POST /v1/uploads/{id}/complete", {"part_ids": []} | body, path={"id": upload_id})

    def form(self, fields: dict[str, str], content: bytes | None, *, name: str = "in.jsonl") -> tuple[int, Any]:
        body = b"".join(
            f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        )
        if content is not None:
            head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
            body += head.encode() + content + b"\r\n"
        event = proxy_event("POST /v1/files", headers={"Content-Type": "multipart/form-data; boundary=x"})
        event |= {"body": base64.b64encode(body + b"--x--\r\n").decode(), "isBase64Encoded": True}
        answer = handle(event, self.api)
        return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture
def house() -> _House:
    return _House()


def test_the_samples_make_find_and_delete_a_file(house: _House) -> None:
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


def test_the_samples_make_find_and_cancel_a_batch(house: _House) -> None:
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


def test_a_batch_says_how_long_its_results_are_wanted(house: _House) -> None:
    """Checked as for files, and kept on its record."""
    body = {"input_file_id": house.upload()["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    wanted = {"anchor": "created_at", "seconds": 7_200}
    _, batch = house.ask("POST /v1/batches", body | {"output_expires_after": wanted})
    assert house.batches.batches[batch["id"]].output_seconds == 7_200
    status, refused = house.ask("POST /v1/batches", body | {"output_expires_after": wanted | {"seconds": 10}})
    assert (status, refused["error"]["param"]) == (400, "output_expires_after.seconds")


def test_the_samples_upload_a_large_file_in_two_steps(house: _House) -> None:
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


def test_what_is_put_after_an_upload_is_complete_changes_no_file(house: _House) -> None:
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


def test_the_sample_sends_a_part(house: _House) -> None:
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
    house: _House, size: int, named: list[str], md5: str | None, param: str
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


def test_what_was_put_as_a_whole_is_compared_with_its_checksum(house: _House) -> None:
    """Another one is refused; without one only the size counts."""
    upload = house.begin(5)
    house.objects.put(f"uploads/{upload}/whole", b"first")
    assert house.complete(upload, md5="0" * 32)[1]["error"]["param"] == "md5"
    right = hashlib.md5(b"first", usedforsecurity=False).hexdigest()
    assert house.complete(upload, md5=right)[1]["status"] == "completed"
    empty = house.begin(5)
    assert house.complete(empty, md5=right)[0] == 409


def test_parts_are_refused_that_cannot_belong(house: _House) -> None:
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


def test_an_upload_is_no_file(house: _House) -> None:
    """Not even when it is complete: its file has a name of its own."""
    upload = house.begin(5)
    _, part = house.part(upload, b"first")
    assert house.complete(upload, part_ids=[part["id"]])[0] == 200
    assert house.ask("GET /v1/files/{id}", path={"id": upload})[0] == 404


def test_a_cancelled_upload_is_no_file(house: _House) -> None:
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
    house: _House, fields: dict[str, str], content: bytes | None, param: str
) -> None:
    """Naming the field."""
    status, body = house.form(fields, content)
    assert status == 400
    assert body["error"]["param"].startswith(param)
    assert house.files.files == {}


def test_a_file_may_be_kept_for_less(house: _House) -> None:
    """Then it is gone for its owner, whatever the bucket still has."""
    fields = {"purpose": "batch", "expires_after[seconds]": "3600", "expires_after[anchor]": "created_at"}
    _, file = house.form(fields, b"x")
    assert file["expires_at"] - file["created_at"] == 3_600
    house.clock.advance(3_600)
    assert house.ask("GET /v1/files/{id}", path={"id": file["id"]})[0] == 404
    assert house.ask("GET /v1/files")[1]["data"] == []


def test_a_large_file_is_sent_elsewhere(house: _House) -> None:
    """On the way in by a 413 that says how; on the way out by a redirect, as is one that is no text."""
    status, body = house.form({"purpose": "batch"}, b"x" * (MOST_DIRECT_BYTES + 1))
    assert status == 413
    assert "/v1/uploads" in body["error"]["message"]
    for content in (b"x" * (MOST_INLINE_BYTES + 1), b"\xff\xfe"):
        file = house.upload(content, purpose="user_data")
        answer = handle(proxy_event("GET /v1/files/{id}/content", path={"id": file["id"]}), house.api)
        assert answer["statusCode"] == 302
        assert file["id"] in answer["headers"]["Location"]


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"endpoint": "/v1/images"}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"input_file_id": "file-none"}, 404, "file_id"),
        ({"input_file_id": 7}, 400, "input_file_id"),
        ({"metadata": {"a": 1}}, 400, "metadata.a"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(house: _House, change: dict[str, Any], status: int, param: str) -> None:
    """Naming the field; nothing is written."""
    file = house.upload()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"} | change
    found, said = house.ask("POST /v1/batches", body)
    assert (found, said["error"]["param"]) == (status, param)
    assert house.batches.batches == {}


def test_a_batch_needs_a_file_for_batches(house: _House) -> None:
    """As it does at OpenAI."""
    file = house.upload(purpose="user_data")
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    assert house.ask("POST /v1/batches", body)[1]["error"]["param"] == "input_file_id"


def test_a_batch_whose_message_is_lost_is_there_all_the_same(house: _House) -> None:
    """The sweeper wakes it."""

    class _Down(InMemoryQueue):
        def send(self, message: Any, **_: Any) -> None:
            raise StorageError(f"no queue for {message}")

    file = house.upload()
    house.api._batches._queue = _Down()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    assert house.ask("POST /v1/batches", body)[0] == 200
    assert len(house.batches.open_since(house.clock.now() + timedelta(seconds=1), limit=9)) == 1


def test_an_idempotency_key_makes_one_batch(house: _House) -> None:
    """However often the same call comes."""
    file = house.upload()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    answers = [house.ask("POST /v1/batches", body, headers={"Idempotency-Key": "k"}) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert len(house.batches.batches) == 1


def test_an_ended_batch_cannot_be_cancelled(house: _House) -> None:
    """409, as for a job."""
    file = house.upload()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    _, batch = house.ask("POST /v1/batches", body)
    stored = house.batches.batches[batch["id"]]
    house.batches.change(stored.at(FileBatchStatus.COMPLETED, house.clock.now()))
    assert house.ask("POST /v1/batches/{id}/cancel", path={"id": batch["id"]})[0] == 409


def test_other_tenants_see_nothing(house: _House) -> None:
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
def test_a_key_needs_the_scope(house: _House, route: str, scopes: str) -> None:
    """403 with its name; unknown routes are 404."""
    status, body = house.ask(route, scopes=scopes, path={"id": "x"})
    assert (status, body["error"]["code"]) == (403, "insufficient_scope")
    assert house.ask("GET /v1/nothing")[0] == 404


def test_lists_are_paged_by_the_last_id(house: _House) -> None:
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


@given(content=st.binary(max_size=200), name=st.text(st.characters(min_codepoint=65, max_codepoint=122), min_size=1))
def test_a_forms_file_keeps_every_byte(content: bytes, name: str) -> None:
    """Line breaks, marks of other forms and bytes that are no text included."""
    clean = name.replace("\\", "")
    head = f'--b\r\nContent-Disposition: form-data; name="f"; filename="x{clean}"\r\n\r\n'.encode()
    found = read_form('multipart/form-data; boundary="b"', head + content.replace(b"--b", b"") + b"\r\n--b--")
    assert found["f"] == FormPart(content.replace(b"--b", b""), f"x{clean}")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--b--"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1'),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\n1\r\n--b--"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n--b--'),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytes) -> None:
    """Incomplete, nameless, or something else."""
    with pytest.raises(InvalidRequestError):
        read_form(kind, body)
