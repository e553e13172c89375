"""An asynchronous endpoint that takes its time, on the clock of a test."""

import heapq
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.fakes.async_road import AsyncRoad
from tollgate.domain.catalogue import Road
from tollgate.ports.backends import AsyncSubmission
from tollgate.services.jobs.async_notice import AsyncNotice

PLACES = 4
BASE_SECONDS, EACH_SECONDS = 0.15, 0.01


@dataclass
class TimedEndpoint:
    """Places that work on invocations in the order in which they come."""

    road: AsyncRoad
    free: list[datetime] = field(default_factory=list)
    ends: list[tuple[datetime, int, AsyncNotice]] = field(default_factory=list)
    invocations: int = 0

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
        """As `AsyncBackend`; the answer comes when a place has worked on it."""
        assert road.target
        assert content_type
        assert trace
        assert request_ttl_seconds >= timeout_seconds
        inputs = json.loads(body)["inputs"]
        texts = [inputs] if isinstance(inputs, str) else inputs
        seconds = BASE_SECONDS + EACH_SECONDS * len(texts)
        assert seconds < timeout_seconds
        now = self.road.clock.now()
        begins = max(now, heapq.heappop(self.free)) if len(self.free) == PLACES else now
        ends = begins + timedelta(seconds=seconds)
        heapq.heappush(self.free, ends)
        location = self.road.answer(inference_id, json.dumps([[float(len(text))] for text in texts]).encode())
        notice = AsyncNotice(inference_id, True, now, ends, location)  # noqa: FBT003 -- a field, named in its class
        heapq.heappush(self.ends, (ends, self.invocations, notice))
        self.invocations += 1
        return AsyncSubmission(output_location=location, failure_location=None)
