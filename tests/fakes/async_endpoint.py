"""An asynchronous endpoint that works one invocation after the other, each of which it tells the end of."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.fakes.clock import ManualClock
from tests.fakes.crashes import CrashError
from tests.fakes.messages import InMemoryObjectStore
from tollgate.domain.catalogue import Road
from tollgate.ports.backends import AsyncSubmission
from tollgate.services.jobs.async_notice import AsyncNotice

RUN_SECONDS = 2
"""How long it works on an invocation."""


@dataclass
class AsyncEndpoint:
    """An asynchronous endpoint with one place: every call is a run of its own, with a location of its own.

    Attributes:
        deaths: so many of the next submitters die before they hear that their request was taken.
    """

    clock: ManualClock
    objects: InMemoryObjectStore
    waiting: list[tuple[str, bytes, str, datetime]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    poison: str = ""
    deaths: int = 0
    free_at: datetime | None = None

    def submit(
        self,
        road: Road,
        body: bytes,
        content_type: str,
        *,
        inference_id: str,
        request_ttl_seconds: int,
        timeout_seconds: int,
        trace: str,
    ) -> AsyncSubmission:
        """See `AsyncBackend`."""
        assert content_type
        assert trace
        assert request_ttl_seconds > timeout_seconds > 0
        name = f"s3://{self.objects.bucket}/async-output/{road.target}/{len(self.runs):08x}"
        self.runs.append(inference_id)
        self.waiting.append((inference_id, body, name, self.clock.now()))
        if self.deaths:
            self.deaths -= 1
            raise CrashError
        return AsyncSubmission(f"{name}.out", f"{name}-error.out")

    def work(self) -> list[AsyncNotice]:
        """Work through what waits; what it then has to tell."""
        notices = []
        waiting, self.waiting = self.waiting, []
        for inference_id, body, name, received in waiting:
            ended = max(received, self.free_at or received) + timedelta(seconds=RUN_SECONDS)
            self.free_at = ended
            inputs = json.loads(body)["inputs"]
            bad = bool(self.poison) and self.poison in json.dumps(inputs)
            answer = inputs.upper() if isinstance(inputs, str) else [text.upper() for text in inputs]
            location = f"{name}-error.out" if bad else f"{name}.out"
            key = self.objects.key_of(location)
            assert key is not None
            put_as_another(self.objects, key, json.dumps("bad" if bad else answer).encode())
            reason = "ModelError" if bad else None
            notices.append(AsyncNotice(inference_id, not bad, received, ended, location, reason))
        return notices


def put_as_another(objects: InMemoryObjectStore, key: str, body: bytes) -> None:
    """Write as somebody else, whom no fault meets."""
    InMemoryObjectStore.put(objects, key, body)
