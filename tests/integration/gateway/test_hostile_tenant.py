"""A tenant with a key of its own who means harm, over HTTP: nothing of others, nothing for nothing, and no failure."""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.gateway.conftest import Client, Reply
from tests.integration.gateway.test_cache import _key
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ERRORS = {"message", "type", "param", "code"}


@pytest.fixture(scope="module")
def ann(local_stack: LocalStack) -> Client:
    """A tenant of these tests alone."""
    return Client(local_stack, _key(local_stack, f"ann-{uuid.uuid4().hex[:8]}"))


@pytest.fixture(scope="module")
def eve(local_stack: LocalStack) -> Client:
    """Another tenant."""
    return Client(local_stack, _key(local_stack, f"eve-{uuid.uuid4().hex[:8]}"))


def _refused(reply: Reply, *statuses: int) -> None:
    assert reply.status in (statuses or (404,)), f"{reply.status}: {reply.text[:300]}"
    assert set(reply.body["error"]) == ERRORS


def _form(client: Client, path: str, name: str, content: bytes, **fields: str) -> Reply:
    parts = [f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a.jsonl"\r\n\r\n'
    body = "".join([*parts, head]).encode() + content + b"\r\n--x--\r\n"
    return client.send("POST", path, raw=body, headers={"Content-Type": "multipart/form-data; boundary=x"})


def _line(custom_id: str = "a", **body: Any) -> dict[str, Any]:
    asked = {"model": "echo", "messages": [{"role": "user", "content": "hello"}], **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": asked}


def _file(client: Client, content: bytes) -> str:
    reply = _form(client, "/v1/files", "file", content, purpose="batch")
    assert reply.status == 200, reply.text
    return str(reply.body["id"])


def _batch(file: str) -> dict[str, str]:
    return {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}


def _upload(client: Client, size: int) -> str:
    fields = {"filename": "a", "purpose": "batch", "bytes": size, "mime_type": "application/jsonl"}
    return str(client.send("POST", "/v1/uploads", fields).body["id"])


def test_a_strangers_ids_lead_nowhere(ann: Client, eve: Client) -> None:
    """Of jobs, responses, files, batches, uploads, parts, runs, values and answers: no look, no change, no hint."""
    job = ann.infer("echo", "mine", priority="medium", headers={"x-tollgate-workflow": "w1"}).body["id"]
    response = ann.send("POST", "/v1/responses", {"model": "echo", "input": "mine", "background": True}).body["id"]
    answered = ann.infer("assistant", {"messages": [{"role": "user", "content": "mine"}]}, priority="high").body["id"]
    file = _file(ann, json.dumps(_line()).encode())
    batch = ann.send("POST", "/v1/batches", _batch(file)).body["id"]
    upload = _upload(ann, 4)
    part = _form(ann, f"/v1/uploads/{upload}/parts", "data", b"mine").body["id"]
    assert ann.send("PUT", "/v1/cache/n/k", {"value": "mine"}).status == 200
    for method, path, body in (
        ("GET", f"/v1/inferences/{job}", None),
        ("DELETE", f"/v1/inferences/{job}", None),
        ("GET", f"/v1/responses/{response}", None),
        ("POST", f"/v1/responses/{response}/cancel", None),
        ("GET", f"/v1/files/{file}", None),
        ("GET", f"/v1/files/{file}/content", None),
        ("DELETE", f"/v1/files/{file}", None),
        ("GET", f"/v1/batches/{batch}", None),
        ("POST", f"/v1/batches/{batch}/cancel", None),
        ("POST", "/v1/batches", _batch(file)),
        ("POST", f"/v1/uploads/{upload}/complete", {"part_ids": [part]}),
        ("POST", f"/v1/uploads/{upload}/cancel", None),
        ("GET", "/v1/workflows/w1", None),
        ("GET", "/v1/cache/n/k", None),
        ("POST", "/v1/feedback", {"inference_id": answered, "model": "assistant", "score": 0}),
        # One kind of thing for another.
        ("GET", f"/v1/files/{batch}", None),
        ("GET", f"/v1/batches/{job}", None),
        ("GET", f"/v1/inferences/{file}", None),
        ("GET", f"/v1/responses/{job}", None),
        ("GET", f"/v1/files/{upload}/content", None),
    ):
        _refused(eve.send(method, path, body))
    _refused(_form(eve, f"/v1/uploads/{upload}/parts", "data", b"hers"))
    # A part of another upload, and one whose name climbs out of its own.
    own = _upload(eve, 4)
    for named in (part, f"../{upload}/{part}", f"part_/../../{upload}/{part}"):
        _refused(eve.send("POST", f"/v1/uploads/{own}/complete", {"part_ids": [named]}), 400)
    # Positions in others' lists.
    cursor = ann.send("GET", "/v1/inferences?limit=1").body["after"]
    _refused(eve.send("GET", f"/v1/files?after={file}"), 400)
    _refused(eve.send("GET", f"/v1/batches?after={batch}"), 400)
    for path in (f"/v1/inferences?after={cursor}", "/v1/inferences", "/v1/files", "/v1/batches", "/v1/usage"):
        reply = eve.send("GET", path)
        assert reply.status in {200, 400}
        assert "mine" not in reply.text
        assert not any(name in reply.text for name in (job, response, file, batch))
    run = {"x-tollgate-workflow": "w1", "x-tollgate-parent": job}
    _refused(eve.infer("echo", "x", priority="medium", headers=run), 400)
    assert ann.send("GET", "/v1/cache/n/k").body["value"] == "mine"
    assert ann.send("GET", f"/v1/files/{file}/content").status == 200
    assert ann.send("POST", f"/v1/uploads/{upload}/complete", {"part_ids": [part]}).status == 200


def test_equal_idempotency_keys_of_two_tenants_are_two_keys(ann: Client, eve: Client) -> None:
    """And one key stands for one body on one route."""
    key = {"Idempotency-Key": uuid.uuid4().hex}
    mine = ann.infer("echo", "mine", priority="medium", headers=key)
    hers = eve.infer("echo", "hers", priority="medium", headers=key)
    assert mine.status == hers.status == 202
    assert mine.body["id"] != hers.body["id"]
    for other in (
        ann.infer("echo", "other", priority="medium", headers=key),
        ann.send("POST", "/v1/responses", {"model": "echo", "input": "mine"}, headers=key),
        ann.send("POST", "/v1/batches", _batch("x"), headers=key),
    ):
        _refused(other, 422)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/..%2F..%2Fuploads",
        "/v1/files/%2e%2e",
        "/v1/files/a%00b",
        "/v1/files/%0d%0aSet-Cookie:%20a=b",
        "/v1/files/%ff%fe",
        "/v1/inferences/inf_1%23counted",
        "/v1/inferences/key%23abc",
        "/v1/batches/" + "x" * 4_000,
        "/v1/models/..%2Fcontrol",
        "/v1/cache/..%2Fx/..%2Fy",
        "/v1/workflows/a%2Fb",
        "/v1/files;a=b",
    ],
)
def test_odd_paths_are_refused(ann: Client, path: str) -> None:
    """By the API or by API Gateway, in the shape of all errors."""
    reply = ann.send("GET", path)
    _refused(reply, 400, 401, 403, 404)
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("number", ["-1", "0", "1e400", "-1e308", "99999999999999999999", "1e9", "1.5", '"1"', "true"])
def test_odd_numbers_are_answered(ann: Client, number: str) -> None:
    """In every numeric field: a refusal, or an answer with a cost that is no less than nothing."""
    chat = '{"model":"echo-cached","messages":[{"role":"user","content":"a"}],"%s":%s}'
    native = '{"model":"echo","input":"a","priority":"high","%s":%s}'
    for path, body, names in (
        ("/v1/chat/completions", chat, ("max_tokens", "max_completion_tokens", "n", "temperature", "seed", "quality")),
        ("/v1/inferences", native, ("deadline_seconds", "quality")),
    ):
        for name in names:
            reply = ann.send("POST", path, raw=(body % (name, number)).encode())
            assert reply.status in {200, 202, 400, 422}, (name, reply.status, reply.text[:300])
            assert float(reply.headers.get("x-tollgate-cost-usd", "0")) >= 0


def _hostile_lines() -> list[bytes]:
    nested = b"[" * 9_900 + b"]" * 9_900
    return [
        json.dumps(_line("good-1")).encode(),
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"custom_id": "nested", "method": "POST", "url": "/v1/chat/completions", "body": ' + nested + b"}",
        json.dumps(_line("deep")).encode().replace(b'"hello"', nested),
        json.dumps(_line("nan", temperature=1)).encode().replace(b": 1}", b": NaN}"),
        json.dumps(_line("huge", max_tokens=1)).encode().replace(b": 1}", b": 1e400}"),
        json.dumps(_line("digits", max_tokens=1)).encode().replace(b": 1}", b": " + b"9" * 5_000 + b"}"),
        b'{"custom_id": "\\ud800", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "echo"}}',
        json.dumps({**_line(), "custom_id": "x" * 100_000}).encode(),
        json.dumps({**_line(), "custom_id": 7}).encode(),
        json.dumps({**_line("other-url"), "url": "/v1/files"}).encode(),
        json.dumps({**_line("get"), "method": "GET"}).encode(),
        json.dumps(_line("no-model", model="../echo")).encode(),
        json.dumps(_line("stranger", model=None)).encode(),
        json.dumps(_line("good-1")).encode(),
        json.dumps(_line("good-2", metadata={"a": "b"})).encode(),
    ]


def test_hostile_lines_spoil_no_batch(ann: Client) -> None:
    """Good lines are answered, each other one has its error, and the batch comes to its end."""
    batch = ann.send("POST", "/v1/batches", _batch(_file(ann, b"\n".join(_hostile_lines())))).body
    until = time.monotonic() + 120
    while batch["status"] not in {"completed", "failed", "expired"} and time.monotonic() < until:
        time.sleep(1)
        batch = ann.send("GET", f"/v1/batches/{batch['id']}").body
    assert batch["status"] == "completed", batch
    assert batch["request_counts"]["completed"] == 2, batch
    good = ann.send("GET", f"/v1/files/{batch['output_file_id']}/content").text.splitlines()
    assert {json.loads(line)["custom_id"] for line in good} == {"good-1", "good-2"}
    bad = [
        json.loads(line) for line in ann.send("GET", f"/v1/files/{batch['error_file_id']}/content").text.splitlines()
    ]
    assert len(bad) == batch["request_counts"]["failed"] >= 15
    assert all(line["error"] or line["response"] for line in bad)


def test_racing_completions_make_one_file(ann: Client) -> None:
    """Of eight calls with the parts in other orders, and calls to cancel between them: one content, which stays."""
    upload = _upload(ann, 8)
    parts = [_form(ann, f"/v1/uploads/{upload}/parts", "data", text).body["id"] for text in (b"1234", b"5678")]

    def step(number: int) -> Reply:
        if number % 4 == 3:
            return ann.send("POST", f"/v1/uploads/{upload}/cancel")
        order = parts if number % 2 else parts[::-1]
        return ann.send("POST", f"/v1/uploads/{upload}/complete", {"part_ids": order})

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(step, range(16)))
    assert {reply.status for reply in replies} <= {200, 409}
    ended = {reply.body["status"] for reply in replies if reply.status == 200}
    assert len(ended) == 1
    if ended == {"completed"}:
        (file,) = {reply.body["file"]["id"] for reply in replies if reply.status == 200}
        content = ann.send("GET", f"/v1/files/{file}/content").text
        assert content in {"12345678", "56781234"}
        assert step(0).status == step(1).status == 200
        assert ann.send("GET", f"/v1/files/{file}/content").text == content
