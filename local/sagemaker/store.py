"""What must survive a sudden death, in one SQLite file: resources, the async queue, jobs, inferences.

SQLite's write-ahead log keeps every committed change when the process is killed; only a power cut could lose
the last ones, which is of no interest here.
"""

import json
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.sagemaker.wire import Json

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, name));
CREATE TABLE IF NOT EXISTS async_requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, inference_id TEXT NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, expires_at REAL NOT NULL,
    request TEXT NOT NULL, payload BLOB, notice TEXT);
CREATE INDEX IF NOT EXISTS async_by_state ON async_requests (endpoint, state, seq);
CREATE TABLE IF NOT EXISTS inferences (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, endpoint TEXT NOT NULL, variant TEXT NOT NULL,
    road TEXT NOT NULL, inference_id TEXT NOT NULL, outcome TEXT NOT NULL, ended_at REAL);
CREATE INDEX IF NOT EXISTS inferences_by_end ON inferences (ended_at);
CREATE INDEX IF NOT EXISTS inferences_by_endpoint ON inferences (endpoint, seq);
"""

OPEN_STATES = ("queued", "running", "announcing")


@dataclass(frozen=True, slots=True)
class AsyncRequest:
    """One accepted asynchronous request.

    Attributes:
        state: `queued`, `running`, `announcing` (the result is in S3, the message is not out), then
            `completed`, `failed`, `expired` or `dropped` (with its endpoint).
        request: content type, accept, locations, time-outs and times, as accepted.
        payload: the inline body; None when the input is in S3.
        notice: the SNS message, once there is one.
    """

    seq: int
    endpoint: str
    inference_id: str
    state: str
    attempts: int
    expires_at: float
    request: Json
    payload: bytes | None
    notice: Json | None


class Store:
    """The file, and every statement sent to it.

    Args:
        path: the SQLite file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    # Resources: models, endpoint configurations, endpoints, components, transform jobs, tags, settings.

    def put(self, kind: str, name: str, document: Json) -> None:
        """Write a document."""
        self._run("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", kind, name, json.dumps(document))

    def get(self, kind: str, name: str) -> Json | None:
        """Read a document; None when absent."""
        rows = self._run("SELECT body FROM documents WHERE kind = ? AND name = ?", kind, name)
        return json.loads(rows[0][0]) if rows else None

    def delete(self, kind: str, name: str) -> None:
        """Remove a document."""
        self._run("DELETE FROM documents WHERE kind = ? AND name = ?", kind, name)

    def every(self, kind: str) -> dict[str, Json]:
        """Return all documents of a kind by name."""
        rows = self._run("SELECT name, body FROM documents WHERE kind = ? ORDER BY name", kind)
        return {name: json.loads(body) for name, body in rows}

    # The async queue.

    def enqueue(self, endpoint: str, inference_id: str, expires_at: float, request: Json, payload: bytes | None) -> int:
        """Accept a request; once this returns it is not forgotten."""
        rows = self._run(
            "INSERT INTO async_requests (endpoint, inference_id, state, expires_at, request, payload) "
            "VALUES (?, ?, 'queued', ?, ?, ?) RETURNING seq",
            endpoint,
            inference_id,
            expires_at,
            json.dumps(request),
            payload,
        )
        return int(rows[0][0])

    def claim(self, endpoint: str) -> AsyncRequest | None:
        """Take the oldest queued request of an endpoint and mark it running."""
        rows = self._run(
            "UPDATE async_requests SET state = 'running', attempts = attempts + 1 WHERE seq = "
            "(SELECT seq FROM async_requests WHERE endpoint = ? AND state = 'queued' ORDER BY seq LIMIT 1) "
            "RETURNING *",
            endpoint,
        )
        return _request(rows[0]) if rows else None

    def expired(self, now: float) -> list[AsyncRequest]:
        """Take every queued request whose time to live is over and mark it running, to be refused."""
        rows = self._run(
            "UPDATE async_requests SET state = 'running' WHERE state = 'queued' AND expires_at <= ? RETURNING *",
            now,
        )
        return [_request(row) for row in rows]

    def announce(self, seq: int, notice: Json) -> None:
        """Record that the result is in S3 and this message is still to be sent."""
        self._run(
            "UPDATE async_requests SET state = 'announcing', payload = NULL, notice = ? WHERE seq = ?",
            json.dumps(notice),
            seq,
        )

    def finish(self, seq: int, state: str) -> None:
        """Close a request as `completed`, `failed` or `expired`."""
        self._run("UPDATE async_requests SET state = ? WHERE seq = ?", state, seq)

    def requeue(self, seq: int) -> None:
        """Put a running request back."""
        self._run("UPDATE async_requests SET state = 'queued' WHERE seq = ?", seq)

    def drop_queue(self, endpoint: str) -> None:
        """Drop what is queued for a deleted endpoint: on AWS its queue goes with it, and nobody is told."""
        self._run("UPDATE async_requests SET state = 'dropped' WHERE endpoint = ? AND state = 'queued'", endpoint)

    def recover(self) -> list[AsyncRequest]:
        """After a restart: requeue what was running, and return what was only waiting to be announced."""
        self._run("UPDATE async_requests SET state = 'queued' WHERE state = 'running'")
        return [_request(row) for row in self._run("SELECT * FROM async_requests WHERE state = 'announcing'")]

    def backlog(self) -> dict[str, dict[str, int]]:
        """Count async requests by endpoint and state."""
        counts: dict[str, dict[str, int]] = {}
        rows = self._run("SELECT endpoint, state, count(*) FROM async_requests GROUP BY endpoint, state")
        for endpoint, state, count in rows:
            counts.setdefault(endpoint, {})[state] = count
        return counts

    # Inferences.

    def begin_inference(self, now: float, endpoint: str, variant: str, road: str, inference_id: str) -> int:
        """Record that a model begins to work, before it does: a killed process leaves `started`."""
        rows = self._run(
            "INSERT INTO inferences (at, endpoint, variant, road, inference_id, outcome) "
            "VALUES (?, ?, ?, ?, ?, 'started') RETURNING seq",
            now,
            endpoint,
            variant,
            road,
            inference_id,
        )
        return int(rows[0][0])

    def end_inference(self, now: float, seq: int, outcome: str) -> None:
        """Record how it ended: `ok`, `timeout`, `abandoned`, or the container's status."""
        self._run("UPDATE inferences SET outcome = ?, ended_at = ? WHERE seq = ?", outcome, now, seq)

    def ended_between(self, start: float, end: float) -> list[tuple[str, str, str, float]]:
        """Return endpoint, variant, outcome and seconds of every inference that ended in `[start, end)`."""
        rows = self._run(
            "SELECT endpoint, variant, outcome, ended_at - at FROM inferences WHERE ended_at >= ? AND ended_at < ?",
            start,
            end,
        )
        return [(endpoint, variant, outcome, seconds) for endpoint, variant, outcome, seconds in rows]

    def inference_counts(self) -> dict[str, dict[str, int]]:
        """Count inferences by endpoint and outcome."""
        counts: dict[str, dict[str, int]] = {}
        rows = self._run("SELECT endpoint, outcome, count(*) FROM inferences GROUP BY endpoint, outcome")
        for endpoint, outcome, count in rows:
            counts.setdefault(endpoint, {})[outcome] = count
        return counts

    def inferences(self, limit: int) -> list[Json]:
        """Return the newest inferences, oldest first."""
        rows = self._run("SELECT * FROM inferences ORDER BY seq DESC LIMIT ?", limit)
        names = ("seq", "at", "endpoint", "variant", "road", "inference_id", "outcome", "ended_at")
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]

    def clear(self) -> None:
        """Forget everything but the settings."""
        self._run("DELETE FROM documents WHERE kind <> 'settings'")
        self._run("DELETE FROM async_requests")
        self._run("DELETE FROM inferences")


def _request(row: tuple[Any, ...]) -> AsyncRequest:
    seq, endpoint, inference_id, state, attempts, expires_at, request, payload, notice = row
    return AsyncRequest(
        seq=seq,
        endpoint=endpoint,
        inference_id=inference_id,
        state=state,
        attempts=attempts,
        expires_at=expires_at,
        request=json.loads(request),
        payload=payload,
        notice=json.loads(notice) if notice else None,
    )
