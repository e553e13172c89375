"""Bad input over HTTP: the right status, a message that says what to do, and nothing in any queue."""

from typing import Any

import pytest

from tests.integration.gateway.conftest import Client, Reply

pytestmark = pytest.mark.integration


def _error(reply: Reply) -> Any:
    error = reply.body["error"]
    assert set(error) == {"message", "type", "param", "code"}, reply.text
    assert error["message"]
    assert reply.headers.get("x-tollgate-request-id"), reply.headers
    return error


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, "invalid_request"),
        (b"{", 400, "invalid_request"),
        (b"[1]", 400, "invalid_request"),
        (b"\xff\xfe", 400, "invalid_request"),
        (b'{"model": "echo"}', 400, "invalid_request"),
        (b'{"model": "echo", "input": 1, "priority": "asap"}', 400, "invalid_request"),
        (b'{"model": "echo", "input": 1, "prioritty": "low"}', 400, "invalid_request"),
        (b'{"model": "echo", "input": 1, "priority": "low", "deadline_seconds": 0.01}', 422, "deadline_impossible"),
        (b'{"model": "nope", "input": 1}', 404, "model_not_found"),
        (
            b'{"model": "echo", "input": 1, "priority": "medium", "webhook_url": "http://10.0.0.1/"}',
            400,
            "invalid_request",
        ),
        (
            b'{"model": "echo", "input": 1, "priority": "medium", "webhook_url": "ftp://example.com/"}',
            400,
            "invalid_request",
        ),
    ],
)
def test_bad_bodies(client: Client, raw: bytes, status: int, code: str) -> None:
    """Each mistake its own answer."""
    reply = client.send("POST", "/v1/inferences", raw=raw)
    assert (reply.status, _error(reply)["code"]) == (status, code)


def test_an_unknown_model_names_the_known(client: Client) -> None:
    """So that a typing mistake mends itself."""
    message = _error(client.infer("eccho", "x"))["message"]
    assert all(name in message for name in ("echo", "langid", "minilm", "smollm2"))


def test_no_key_and_a_bad_key(nobody: Client) -> None:
    """401 for both, and no hint which it was."""
    assert nobody.send("GET", "/v1/models").status in {401, 403}
    bad = Client(nobody.stack, "tg_" + "x" * 43)
    reply = bad.send("GET", "/v1/models")
    assert reply.status in {401, 403}
    _error(reply)


def test_unknown_jobs_and_odd_ids(client: Client) -> None:
    """404, whatever the id looks like."""
    for job_id in ("inf_00000000000000000000000000", "tollgate-batch-1", "%2e%2e%2fetc", "x" * 500):
        reply = client.send("GET", f"/v1/inferences/{job_id}")
        assert reply.status == 404, (job_id, reply.text)


def test_a_method_or_path_that_does_not_exist(client: Client) -> None:
    """API Gateway's own answers have the same shape."""
    for method, path in (("PATCH", "/v1/inferences"), ("GET", "/v1/nothing"), ("POST", "/v2/inferences")):
        reply = client.send(method, path, {})
        assert reply.status in {403, 404, 405}, (method, path, reply.status)
        _error(reply)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "status=odd", "after=nonsense"])
def test_bad_questions_about_jobs(client: Client, query: str) -> None:
    """400, naming the parameter."""
    reply = client.send("GET", f"/v1/inferences?{query}")
    assert reply.status == 400
    assert _error(reply)["param"] == query.partition("=")[0]


def test_nothing_refused_reaches_a_queue(client: Client) -> None:
    """All dead-letter queues are empty after the refusals above, and no job was made."""
    sqs = client.stack.aws("sqs")
    for name in ("AsyncQueueUrl", "BatchQueueUrl", "WebhookQueueUrl"):
        url = client.stack.outputs[name]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
        assert "RedrivePolicy" in attributes


def test_another_tenants_job_does_not_exist(client: Client) -> None:
    """404 for look and cancel, and it is in no list."""
    other = Client(client.stack, _other_key(client))
    mine = client.infer("echo", "private", priority="medium").body["id"]
    assert other.send("GET", f"/v1/inferences/{mine}").status == 404
    assert other.send("DELETE", f"/v1/inferences/{mine}").status == 404
    assert mine not in other.send("GET", "/v1/inferences?limit=100").text


def test_a_key_without_the_scope_is_told_which(client: Client) -> None:
    """403, and reading still works."""
    reader = Client(client.stack, _other_key(client, scopes="read"))
    reply = reader.infer("echo", "x", priority="high")
    assert reply.status == 403
    assert "infer" in _error(reply)["message"]
    assert reader.send("GET", "/v1/models").status == 200


def _other_key(client: Client, *, scopes: str = "infer,read,cancel") -> str:
    import subprocess
    import sys

    from local.launch import programs
    from local.launch.layout import ROOT

    command = [sys.executable, "-m", "cli", "keys", "create", "--tenant", "other", "--scopes", scopes]
    environment = programs.environment(client.stack.layout)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip().splitlines()[-1]
