"""A client of the running stack."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.local_stack import LocalStack

FINAL = {"completed", "failed", "expired", "cancelled"}


@dataclass(frozen=True)
class Reply:
    """An answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        """The JSON document."""
        return json.loads(self.text)


@dataclass(frozen=True)
class Client:
    """Speaks plain HTTP, so that tests see exactly what goes over the wire."""

    stack: LocalStack
    key: str | None

    def send(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Reply:
        """One call; `body` is sent as JSON, `raw` as it is."""
        address = urlsplit(self.stack.url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=90)
        sent = {"Content-Type": "application/json", **headers}
        if self.key is not None:
            sent["Authorization"] = f"Bearer {self.key}"
        try:
            payload = raw if raw is not None else (None if body is None else json.dumps(body).encode())
            connection.request(method, path, payload, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)
        finally:
            connection.close()

    def infer(self, model: str, value: Any, **more: Any) -> Reply:
        """``POST /v1/inferences``."""
        headers = more.pop("headers", {})
        return self.send("POST", "/v1/inferences", {"model": model, "input": value, **more}, headers=headers)

    def job(self, job_id: str) -> Any:
        """The job's document."""
        reply = self.send("GET", f"/v1/inferences/{job_id}")
        assert reply.status == 200, reply.text
        return reply.body

    def ended(self, job_id: str, *, within: float = 240) -> Any:
        """The job's document once it is final."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            document = self.job(job_id)
            if document["status"] in FINAL:
                return document
            time.sleep(0.5)
        raise AssertionError(f"job {job_id} is still {document['status']}: {document}")


@pytest.fixture
def client(local_stack: LocalStack) -> Client:
    """With the admin key."""
    return Client(local_stack, local_stack.key)


@pytest.fixture
def nobody(local_stack: LocalStack) -> Client:
    """Without a key."""
    return Client(local_stack, None)
