"""Files and batches with the unmodified `openai` package: uploaded, run, fetched, called off."""

import asyncio
import hashlib
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import Batch

from tests.local_stack import LocalStack

pytestmark = pytest.mark.e2e

PLAIN = {"Content-Type": "application/octet-stream"}
ENDED = {"completed", "failed", "expired", "cancelled"}


@pytest.fixture(scope="module")
def client(local_stack: LocalStack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{local_stack.url}/v1", api_key=local_stack.key, timeout=120) as made:
        yield made


def _line(name: str, text: str, model: str = "echo", **changes: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body | changes}


def _jsonl(*lines: Any) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


def _ended(client: OpenAI, batch: Batch, seconds: float = 90) -> Batch:
    until = time.monotonic() + seconds
    while batch.status not in ENDED and time.monotonic() < until:
        time.sleep(1)
        batch = client.batches.retrieve(batch.id)
    return batch


def _lines(client: OpenAI, file_id: str | None) -> dict[str | None, dict[str, Any]]:
    assert file_id is not None
    found = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    return {line["custom_id"]: line for line in found}


def test_a_batch_from_upload_to_answers(client: OpenAI) -> None:
    """Two models, one of them real, in one file; a bad line is in the error file and fails none of the rest."""
    content = _jsonl(
        _line("first", "one two three"),
        _line("real", "What is a toll booth?", "smollm2", max_tokens=8),
        b"not json",
        _line("unknown", "x", "gpt-none"),
        _line("last", "ä ö"),
    )
    uploaded = client.files.create(file=("night.jsonl", content), purpose="batch")
    assert (uploaded.bytes, uploaded.filename, uploaded.purpose) == (len(content), "night.jsonl", "batch")
    assert client.files.content(uploaded.id).content == content
    batch = client.batches.create(
        input_file_id=uploaded.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"night": "monday"},
    )
    assert batch.status in {"validating", "in_progress"}
    batch = _ended(client, batch)
    assert batch.status == "completed", batch
    assert batch.metadata == {"night": "monday"}
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (5, 3, 2)
    answers = _lines(client, batch.output_file_id)
    said = {name: line["response"]["body"]["choices"][0]["message"]["content"] for name, line in answers.items()}
    assert (said["first"], said["last"]) == ("three two one", "ö ä")
    assert said["real"]
    assert all(float(line["tollgate"]["effective_cost_usd"]) > 0 for line in answers.values())
    errors = _lines(client, batch.error_file_id)
    assert errors["unknown"]["response"]["status_code"] == 404
    assert errors[None]["response"]["body"]["error"]["code"] == "invalid_request"
    assert batch.id in {found.id for found in client.batches.list(limit=3)}
    assert batch.output_file_id in {file.id for file in client.files.list(purpose="batch_output")}


def test_a_batch_of_embeddings(client: OpenAI) -> None:
    """With vectors of a real model."""
    lines = [
        {
            "custom_id": str(n),
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": "minilm", "input": f"text {n}"},
        }
        for n in range(3)
    ]
    file = client.files.create(file=_jsonl(*lines), purpose="batch")
    batch = _ended(
        client, client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    )
    answers = _lines(client, batch.output_file_id)
    assert [len(line["response"]["body"]["data"][0]["embedding"]) for line in answers.values()] == [384] * 3


def test_all_files_of_a_purpose_are_deleted_in_a_loop(client: OpenAI) -> None:
    """The SDK asks for the next page after a file that is gone by then."""
    made = [client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id for n in range(5)]
    for file in client.files.list(purpose="user_data", limit=2, order="desc"):
        if file.id in made:
            assert client.files.delete(file.id).deleted
            made.remove(file.id)
        if not made:
            break
    assert made == []


def test_a_large_file_goes_straight_to_the_bucket_and_comes_from_there(client: OpenAI) -> None:
    """An upload whose `upload_url` takes it; its content is a redirect that the SDK follows."""
    content = _jsonl(*[_line(str(n), "word " * 2_000) for n in range(800)])
    assert len(content) > 6_000_000
    upload = client.uploads.create(
        bytes=len(content), filename="large.jsonl", mime_type="application/jsonl", purpose="batch"
    )
    url = (upload.model_extra or {})["upload_url"]
    with urllib.request.urlopen(urllib.request.Request(url, data=content, headers=PLAIN, method="PUT")) as answer:  # noqa: S310 -- our own server
        assert answer.status == 200
    done = client.uploads.complete(upload.id, part_ids=[])
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).content == content
    assert client.files.delete(done.file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(done.file.id)


def test_a_large_file_goes_up_in_parts(client: OpenAI) -> None:
    """By the SDK's own helper, which reads, cuts, sends and completes; a wrong checksum makes no file."""
    content = _jsonl(*[_line(str(n), "word " * 2_000) for n in range(900)])
    assert len(content) > 9_000_000
    named: dict[str, Any] = {"filename": "parts.jsonl", "mime_type": "application/jsonl", "purpose": "batch"}
    checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
    done = client.uploads.upload_file_chunked(
        file=content, bytes=len(content), part_size=4_000_000, md5=checksum, **named
    )
    assert done.status == "completed"
    assert done.file is not None
    assert (done.file.bytes, done.file.filename) == (len(content), "parts.jsonl")
    assert client.files.content(done.file.id).content == content
    with pytest.raises(openai.BadRequestError) as refused:
        client.uploads.upload_file_chunked(
            file=content[:5_000_000], bytes=5_000_000, part_size=4_000_000, md5=checksum, **named
        )
    assert refused.value.param == "md5"


def test_the_async_client_uploads_in_parts_and_calls_off(local_stack: LocalStack) -> None:
    """Two parts at once, named in their order; what is cancelled takes no more; a part too large is a 413."""

    async def upload() -> tuple[str, int]:
        async with AsyncOpenAI(base_url=f"{local_stack.url}/v1", api_key=local_stack.key, timeout=120) as own:
            begun = await own.uploads.create(bytes=8, filename="a.jsonl", mime_type="x", purpose="user_data")
            last, first = await asyncio.gather(
                own.uploads.parts.create(begun.id, data=b"last"), own.uploads.parts.create(begun.id, data=b"1st ")
            )
            done = await own.uploads.complete(begun.id, part_ids=[first.id, last.id])
            assert done.file is not None
            text = (await own.files.content(done.file.id)).text
            other = await own.uploads.create(bytes=5_000_000, filename="b.jsonl", mime_type="x", purpose="user_data")
            with pytest.raises(openai.APIStatusError) as large:
                await own.uploads.parts.create(other.id, data=b"x" * 4_600_000)
            assert (await own.uploads.cancel(other.id)).status == "cancelled"
            with pytest.raises(openai.ConflictError):
                await own.uploads.parts.create(other.id, data=b"x")
            return text, large.value.status_code

    assert asyncio.run(upload()) == ("1st last", 413)


def test_a_name_that_comes_twice_runs_once(client: OpenAI) -> None:
    """The second line of that name is in the error file, and fails nothing else."""
    file = client.files.create(
        file=_jsonl(_line("a", "one two"), _line("b", "three"), _line("a", "four five")), purpose="batch"
    )
    batch = _ended(
        client,
        client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"),
    )
    assert batch.request_counts is not None
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 2, 1)
    answer = _lines(client, batch.output_file_id)["a"]["response"]["body"]
    assert answer["choices"][0]["message"]["content"] == "two one"
    assert _lines(client, batch.error_file_id)["a"]["response"]["status_code"] == 400


def test_a_batch_is_cancelled(client: OpenAI) -> None:
    """It ends as cancelled, unless it was quicker."""
    file = client.files.create(file=_jsonl(*[_line(str(n), "one two") for n in range(50)]), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert client.batches.cancel(batch.id).status in {"cancelling", "cancelled"}
    assert _ended(client, batch).status == "cancelled"


def test_errors_are_the_sdks_own(client: OpenAI) -> None:
    """A file too large for the request, a file that is not there, a window that nobody offers."""
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=b"x" * 4_500_001, purpose="batch")
    assert caught.value.status_code == 413
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-none", endpoint="/v1/embeddings", completion_window="24h")
    file = client.files.create(file=b"{}\n", purpose="user_data")
    with pytest.raises(openai.BadRequestError) as refused:
        client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    assert refused.value.param == "input_file_id"
