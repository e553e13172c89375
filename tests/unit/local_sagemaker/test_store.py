"""The durable queue, as a killed process leaves it and the next one finds it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.sagemaker.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "standin.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


def test_requests_leave_in_the_order_they_came(store: Store) -> None:
    """The queue of an endpoint is first in, first out, and apart from every other endpoint's."""
    for name in ("a", "b", "c"):
        store.enqueue("e", name, 100.0, {"n": name}, name.encode())
    store.enqueue("other", "x", 100.0, {}, None)
    claimed = [store.claim("e") for _ in range(4)]
    assert [request.inference_id if request else None for request in claimed] == ["a", "b", "c", None]
    assert claimed[0] is not None
    assert claimed[0].payload == b"a"
    assert claimed[0].request == {"n": "a"}


def test_a_second_process_finds_what_the_first_left(store: Store, path: Path) -> None:
    """Opening the file of a process that never closed it brings back queued, running and unannounced requests."""
    for name in ("running", "announcing", "done", "queued"):
        store.enqueue("e", name, 100.0, {}, b"x")
    claimed_seqs = []
    for _ in range(3):
        claimed = store.claim("e")
        assert claimed is not None
        claimed_seqs.append(claimed.seq)
    _, announcing, done = claimed_seqs
    store.announce(announcing, {"topic": "t"})
    store.finish(done, "completed")

    second = Store(path)
    unannounced = second.recover()
    assert [(request.seq, request.notice) for request in unannounced] == [(announcing, {"topic": "t"})]
    again = [second.claim("e"), second.claim("e"), second.claim("e")]
    assert [request.inference_id if request else None for request in again] == ["running", "queued", None]
    assert [request.attempts for request in again if request] == [2, 1]
    second.close()


def test_only_what_waited_too_long_expires(store: Store) -> None:
    """Expiry takes queued requests whose time is over, each once, and no running one."""
    store.enqueue("e", "running", 5.0, {}, None)
    store.claim("e")
    store.enqueue("e", "late", 10.0, {}, None)
    store.enqueue("e", "fresh", 20.0, {}, None)
    assert [request.inference_id for request in store.expired(10.0)] == ["late"]
    assert store.expired(10.0) == []
    assert store.backlog() == {"e": {"queued": 1, "running": 2}}


def test_a_deleted_endpoints_queue_is_dropped(store: Store) -> None:
    """What is queued goes with its endpoint; what runs is left to end."""
    store.enqueue("e", "running", 5.0, {}, None)
    store.claim("e")
    store.enqueue("e", "queued", 5.0, {}, None)
    store.drop_queue("e")
    assert store.backlog() == {"e": {"dropped": 1, "running": 1}}


def test_inferences_are_counted_by_outcome(store: Store) -> None:
    """An inference is on record from before the model works; a killed one stays `started`."""
    first = store.begin_inference(1.0, "e", "v", "realtime", "i-1")
    store.begin_inference(2.0, "e", "v", "async", "i-2")
    store.end_inference(3.5, first, "ok")
    assert store.inference_counts() == {"e": {"ok": 1, "started": 1}}
    assert [row["inference_id"] for row in store.inferences(10)] == ["i-1", "i-2"]
    assert [row["inference_id"] for row in store.inferences(1)] == ["i-2"]
    assert store.ended_between(3.0, 4.0) == [("e", "v", "ok", 2.5)]
    assert store.ended_between(3.6, 4.0) == []


def test_a_fresh_start_keeps_only_the_settings(store: Store) -> None:
    """Clearing removes resources, queue and counts; the bucket and topics stay known."""
    store.put("endpoint", "e", {"a": 1})
    store.put("settings", "config", {"bucket": "b"})
    store.enqueue("e", "i", 1.0, {}, None)
    store.begin_inference(1.0, "e", "v", "batch", "i")
    store.clear()
    assert store.every("endpoint") == {}
    assert store.get("settings", "config") == {"bucket": "b"}
    assert store.backlog() == {}
    assert store.inference_counts() == {}
