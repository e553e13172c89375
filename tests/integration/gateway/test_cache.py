"""The cache over HTTP, on the real template: hits, races, stale answers, jobs, forgetting, and a stranger's tries."""

import subprocess
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.launch import programs
from local.launch.layout import ROOT
from tests.integration.gateway.conftest import Client, Reply
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

MODEL = "echo-cached"


def _key(stack: LocalStack, tenant: str) -> str:
    command = [sys.executable, "-m", "cli", "keys", "create", "--tenant", tenant, "--scopes", "infer,read,cancel"]
    environment = programs.environment(stack.layout)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 -- our own program
    return done.stdout.strip().splitlines()[-1]


@pytest.fixture
def ann(local_stack: LocalStack) -> Client:
    """A tenant of its own for each test."""
    return Client(local_stack, _key(local_stack, f"ann-{uuid.uuid4().hex[:8]}"))


@pytest.fixture
def eve(local_stack: LocalStack) -> Client:
    """Another tenant, who wants to know what the first one asked."""
    return Client(local_stack, _key(local_stack, f"eve-{uuid.uuid4().hex[:8]}"))


def _text() -> str:
    return f"what is {uuid.uuid4().hex}"


def _state(reply: Reply) -> str:
    assert reply.status == 200, reply.text
    return reply.headers["x-tollgate-cache"]


def test_a_hit_is_free_and_says_so(ann: Client) -> None:
    """Miss, then hit with age and cost 0; wishes in header and body are obeyed; a lookup shows the entry."""
    text = _text()
    first, second = ann.infer(MODEL, text), ann.infer(MODEL, text)
    assert (_state(first), _state(second)) == ("miss", "hit")
    assert first.body["output"] == second.body["output"]
    assert second.headers["x-tollgate-cost-usd"] == "0"
    assert float(second.headers["x-tollgate-avoided-cost-usd"]) > 0
    assert int(second.headers["age"]) >= 0
    assert _state(ann.infer(MODEL, text, headers={"Cache-Control": "no-cache"})) == "miss"
    assert _state(ann.infer(MODEL, text, cache={"mode": "bypass"})) == "bypass"
    assert ann.infer(MODEL, _text(), headers={"Cache-Control": "only-if-cached"}).status == 504
    looked = ann.send("POST", "/v1/cache/lookup", {"model": MODEL, "input": text})
    assert (looked.body["cache"], looked.body["output"]) == ("hit", first.body["output"])


def test_many_at_once_run_once(ann: Client) -> None:
    """Sixteen callers of a cold key, over several execution environments: one runs, all get its answer."""
    text = f"{_text()} _sleep=2"
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: ann.infer(MODEL, text), range(16)))
    assert Counter(_state(reply) for reply in replies) == {"miss": 1, "hit": 15}
    assert len({str(reply.body["output"]) for reply in replies}) == 1


def test_equal_jobs_run_once(ann: Client) -> None:
    """Three jobs that ask the same: one is charged, the others are answered by it at cost 0."""
    text = f"{_text()} _sleep=2"
    accepted = [ann.infer(MODEL, text, priority="medium") for _ in range(3)]
    assert [reply.status for reply in accepted] == [202, 202, 202]
    ended = [ann.ended(reply.body["id"]) for reply in accepted]
    assert {job["status"] for job in ended} == {"completed"}
    assert len({str(job["output"]) for job in ended}) == 1
    costs = [float(job["cost"]["effective_cost_usd"]) for job in ended]
    assert sorted(cost > 0 for cost in costs) == [False, False, True]
    assert _state(ann.infer(MODEL, text)) == "hit"


def test_a_stale_answer_is_refreshed_by_an_event(ann: Client) -> None:
    """Given at once although its time is over; the cache function makes it anew, and the next hit is young."""
    text = _text()
    assert _state(ann.infer(MODEL, text, cache={"ttl": 1})) == "miss"
    time.sleep(1.5)
    assert _state(ann.infer(MODEL, text)) == "stale"
    deadline = time.monotonic() + 60
    while (state := _state(ann.infer(MODEL, text))) == "stale" and time.monotonic() < deadline:
        time.sleep(0.5)
    assert state == "hit"


def test_entries_are_forgotten(ann: Client) -> None:
    """By key at once, by model a few seconds later."""
    text = _text()
    ann.infer(MODEL, text)
    key = ann.send("POST", "/v1/cache/lookup", {"model": MODEL, "input": text}).body["key"]
    assert ann.send("DELETE", f"/v1/cache?key={key}").status == 200
    assert _state(ann.infer(MODEL, text)) == "miss"
    assert ann.send("DELETE", f"/v1/cache?model={MODEL}").status == 200
    time.sleep(6)
    assert _state(ann.infer(MODEL, text)) == "miss"


def test_a_clients_own_results(ann: Client, eve: Client) -> None:
    """Kept and read over HTTP, invisible to another tenant, gone when forgotten."""
    place, chunks = f"/v1/cache/chunks/{uuid.uuid4().hex}", [{"text": "a", "score": 0.5}]
    assert ann.send("PUT", place, {"value": chunks, "ttl": 60}).status == 200
    assert ann.send("GET", place).body["value"] == chunks
    assert eve.send("GET", place).status == 404
    assert eve.send("DELETE", place).status == 200
    assert ann.send("GET", place).status == 200
    assert ann.send("DELETE", place).status == 200
    assert ann.send("GET", place).status == 404


def _attacks(text: str, key: str) -> list[tuple[str, dict[str, Any]]]:
    """What a stranger who knows the very words, the key of the entry and the tenant's name could send."""
    body = {"model": MODEL, "input": text}
    return [
        ("the same body", body),
        ("an empty namespace", body | {"cache": {"namespace": None}}),
        ("the key as namespace", body | {"cache": {"namespace": key[:60]}}),
        ("a tenant in the metadata", body | {"metadata": {"tenant": "ann", "tenant_id": "ann"}}),
        ("a shared namespace", body | {"cache": {"namespace": "shared-faq"}}),
        ("any temperature", body | {"cache": {"mode": "always"}}),
    ]


def test_a_stranger_gets_nothing(ann: Client, eve: Client) -> None:
    """No body, header or route brings another tenant's answer, shows that there is one, or forgets it."""
    text = _text()
    assert _state(ann.infer(MODEL, text)) == "miss"
    key = ann.send("POST", "/v1/cache/lookup", {"model": MODEL, "input": text}).body["key"]
    tricks = {"x-tollgate-tenant": "ann", "x-tenant": "ann", "Cache-Control": "only-if-cached, max-stale=99999"}
    for what, body in _attacks(text, key):
        looked = eve.send("POST", "/v1/cache/lookup", body, headers={"x-tollgate-tenant": "ann"})
        assert looked.body["cache"] == "miss", what
        assert looked.body["key"] != key, what
        taken = eve.send("POST", "/v1/inferences", body, headers=tricks)
        assert (taken.status, taken.body["error"]["code"]) == (504, "not_cached"), what
    assert eve.send("DELETE", f"/v1/cache?key={key}").status == 404
    for query in ("all=true", f"model={MODEL}", "namespace=ann"):
        assert eve.send("DELETE", f"/v1/cache?{query}").status == 200
    assert eve.send("DELETE", "/v1/cache?namespace=shared-faq").status == 403
    time.sleep(6)
    assert _state(ann.infer(MODEL, text)) == "hit"


def test_a_shared_namespace_is_shared_by_those_who_name_it(ann: Client, eve: Client) -> None:
    """Both asked for it: the second gets the first one's answer."""
    text, wish = _text(), {"namespace": "shared-faq"}
    assert _state(ann.infer(MODEL, text, cache=wish)) == "miss"
    assert _state(eve.infer(MODEL, text, cache=wish)) == "hit"
    assert _state(eve.infer(MODEL, text)) == "miss"
