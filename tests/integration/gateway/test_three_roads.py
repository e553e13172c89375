"""The deployed template over HTTP: each road from the request to its answer and its cost."""

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.gateway.conftest import Client

pytestmark = pytest.mark.integration

HEADERS = ("request-id", "inference-type", "deployment", "route-reason", "cost-usd", "avoided-cost-usd")


def test_high_priority_answers_now(client: Client) -> None:
    """200 with the container's answer, the costs in body and headers."""
    reply = client.infer("echo", "one two three", priority="high")
    assert reply.status == 200, reply.text
    assert reply.body["output"][0]["generated_text"] == "three two one"
    assert reply.body["inference_type"] == "realtime"
    assert Decimal(reply.body["cost"]["effective_cost_usd"]) > 0
    assert all(f"x-tollgate-{name}" in reply.headers for name in HEADERS)


def test_medium_priority_runs_through_the_async_endpoint(client: Client) -> None:
    """202, then completed with output, cost and the times of every step."""
    reply = client.infer("echo", "one two three", priority="medium", metadata={"ticket": "7"})
    assert reply.status == 202, reply.text
    assert reply.headers["location"] == f"/v1/inferences/{reply.body['id']}"
    assert "retry-after" in reply.headers
    job = client.ended(reply.body["id"])
    assert job["status"] == "completed", job
    assert job["output"][0]["generated_text"] == "three two one"
    assert job["metadata"] == {"ticket": "7"}
    assert Decimal(job["cost"]["effective_cost_usd"]) > 0
    times = [job[name] for name in ("created_at", "submitted_at", "started_at", "finished_at")]
    assert all(times)
    assert times == sorted(times)


def test_low_priority_runs_in_one_transform_job(client: Client) -> None:
    """Requests that wait together leave together; each gets its own answer, the bad one its own error."""
    inputs: list[Any] = [f"a{i} b{i}" for i in range(6)]
    inputs.insert(3, {"inputs": {"_fail": 400}})
    ids = [client.infer("echo", value, priority="low").body["id"] for value in inputs]
    jobs = [client.ended(job_id, within=300) for job_id in ids]
    assert [job["status"] for job in jobs] == ["completed"] * 3 + ["failed"] + ["completed"] * 3
    good = [job["output"][0]["generated_text"] for job in jobs if job["status"] == "completed"]
    assert good == [f"b{i} a{i}" for i in range(6)]
    assert all(Decimal(job["cost"]["effective_cost_usd"]) > 0 for job in jobs)
    assert jobs[3]["error"]["message"]


def test_a_deadline_chooses_the_road(client: Client) -> None:
    """Cheapest in time, by the durations measured so far; the decision alone runs nothing."""
    tight = client.send("POST", "/v1/route", {"model": "echo", "input": "x", "deadline_seconds": 0.9}).body
    loose = client.send("POST", "/v1/route", {"model": "smollm2", "input": "x", "deadline_seconds": 3600}).body
    assert tight["inference_type"] == "realtime"
    cheapest = min(loose["roads"], key=lambda road: Decimal(road["loaded_cost_usd"]))
    assert loose["inference_type"] == cheapest["inference_type"]
    assert {road["inference_type"] for road in loose["roads"]} == {"realtime", "async", "batch"}


def test_an_input_over_128_kb_travels_through_the_bucket(client: Client) -> None:
    """Nothing is cut off on the way."""
    words = [f"w{i}" for i in range(30_000)]
    more = {"parameters": {"max_new_tokens": 40_000}}
    reply = client.infer("echo", " ".join(words), priority="medium", **more)
    job = client.ended(reply.body["id"])
    assert job["status"] == "completed", job
    output = job.get("output") or _download(job["output_url"])
    assert output[0]["generated_text"].split() == words[::-1]


def test_a_large_result_is_behind_a_url(client: Client) -> None:
    """A presigned URL that anybody who holds it can open."""
    reply = client.infer("echo", {"inputs": {"_size": 600_000}}, priority="medium")
    job = client.ended(reply.body["id"])
    assert job["status"] == "completed", job
    assert "output" not in job
    assert len(json.dumps(_download(job["output_url"]))) >= 600_000


def test_a_file_dropped_in_the_bucket_is_answered_beside_it(client: Client) -> None:
    """Line by line and in order, with a summary."""
    s3 = client.stack.aws("s3")
    bucket = client.stack.outputs["BucketName"]
    lines = ['"a b"', '{"id": "x1", "input": "c d"}', "not json", '{"input": "e f", "parameters": {}}']
    s3.put_object(Bucket=bucket, Key="batch-input/echo/my file+1.jsonl", Body="\n".join(lines).encode())
    summary = json.loads(_object(s3, bucket, "batch-output/echo/my file+1.summary.json"))
    results = [json.loads(line) for line in _object(s3, bucket, "batch-output/echo/my file+1.jsonl").splitlines()]
    assert [result.get("id", result.get("line")) for result in results] == [1, "x1", 3, 4]
    assert "error" in results[2]
    assert [r["output"][0]["generated_text"] for r in results if "output" in r] == ["b a", "d c", "f e"]
    assert summary["records"] == 4 or summary.get("counts"), summary


def test_jobs_are_listed_newest_first_and_in_pages(client: Client) -> None:
    """Each exactly once."""
    made = [client.infer("echo", f"list {i}", priority="medium").body["id"] for i in range(5)]
    seen: list[str] = []
    after = ""
    for _ in range(20):
        page = client.send("GET", f"/v1/inferences?limit=2{after}").body
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"] or set(made) <= set(seen):
            break
        after = f"&after={page['after']}"
    assert len(seen) == len(set(seen))
    assert [job_id for job_id in seen if job_id in made] == made[::-1]


def test_a_waiting_job_can_be_called_off_and_a_finished_one_cannot(client: Client) -> None:
    """200 for what has not started, 409 for what has."""
    waiting = client.infer("smollm2", "never said", priority="low", deadline_seconds=3000).body["id"]
    reply = client.send("DELETE", f"/v1/inferences/{waiting}")
    if reply.status == 200:
        assert reply.body["status"] == "cancelled"
        assert client.ended(waiting)["status"] == "cancelled"
    else:
        assert reply.status == 409
    done = client.infer("echo", "said", priority="medium").body["id"]
    client.ended(done)
    refused = client.send("DELETE", f"/v1/inferences/{done}")
    assert refused.status == 409
    assert refused.body["error"]["code"] == "conflict"


def test_an_idempotency_key_pays_once(client: Client) -> None:
    """The repetition gets the same job or the same answer."""
    headers = {"Idempotency-Key": f"key-{time.time_ns()}"}
    first = client.infer("echo", "once", priority="medium", headers=headers)
    second = client.infer("echo", "once", priority="medium", headers=headers)
    assert first.body["id"] == second.body["id"]
    assert second.headers["x-tollgate-idempotent-replay"] == "true"
    assert client.infer("echo", "twice", priority="medium", headers=headers).status == 422


def test_realtime_without_capacity_becomes_a_job(client: Client) -> None:
    """The stand-in refuses; the caller gets a 202 and, later, the answer."""
    fault = {"op": "invoke", "kind": "error", "endpoint": "tollgate-echo-realtime", "status": 503}
    _standin(client, "PUT", "/_standin/faults", [{**fault, "code": "ServiceUnavailable", "count": 5}])
    try:
        reply = client.infer("echo", "later then", priority="high")
        assert reply.status == 202, reply.text
        assert "async_fallback=no_capacity" in reply.headers["x-tollgate-route-reason"]
        assert client.ended(reply.body["id"])["output"][0]["generated_text"] == "then later"
    finally:
        _standin(client, "DELETE", "/_standin/faults", None)


def test_the_models_error_is_told(client: Client) -> None:
    """A container's 400 is the caller's 400, its 500 a 502."""
    assert (
        client.infer("echo", {"inputs": {"_fail": 400}}, priority="high").body["error"]["code"]
        == "model_rejected_input"
    )
    assert client.infer("echo", {"inputs": {"_fail": 500}}, priority="high").status == 502


def test_every_example_model_goes_down_every_road(client: Client) -> None:
    """With real weights."""
    inputs = {"smollm2": "Say hello.", "minilm": "a sentence", "langid": "Wo ist der Bahnhof?"}
    accepted: list[str] = []
    for model, value in inputs.items():
        more = {"parameters": {"max_tokens": 8}} if model == "smollm2" else {}
        now = client.infer(model, value, priority="high", **more)
        assert now.status in {200, 202}, now.text
        accepted += [client.infer(model, value, priority=p, **more).body["id"] for p in ("medium", "low")]
    for job_id in accepted:
        job = client.ended(job_id, within=300)
        assert job["status"] == "completed", job


def _download(url: str) -> Any:
    from urllib.request import urlopen

    with urlopen(url, timeout=30) as answer:  # noqa: S310 -- the URL that the stack itself gave
        return json.load(answer)


def _object(s3: Any, bucket: str, key: str, *, within: float = 240) -> str:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        if any(entry["Key"] == key for entry in found):
            return str(s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())
        time.sleep(0.5)
    raise AssertionError(f"{key} did not appear")


def _standin(client: Client, method: str, path: str, body: Any) -> None:
    from urllib.request import Request, urlopen

    data = None if body is None else json.dumps(body).encode()
    request = Request(client.stack.standin_url + path, data=data, method=method)  # noqa: S310 -- our own stand-in
    with urlopen(request, timeout=10):  # noqa: S310 -- as above
        return
