"""2,000 requests arrive in a minute: one by one, and several in one invocation. Simulated time, real services.

The endpoint is simulated: four places, first come, first served; an invocation of n texts takes 0.15 s + 0.01 s x n, as
a small embedding model on a processor does. Queue polling is simulated as Lambda does it: up to 50 messages that came
within a second in one event. Everything else is the code of the product, on stores in memory.
"""

import heapq
import itertools
import json
import sys
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from tests.fakes.async_road import AsyncRoad
from tests.fakes.examples import make_catalogue, make_job
from tollgate.domain.capacity import Capacity, RoadCapacity
from tollgate.domain.catalogue import Catalogue, InferenceType, Road
from tollgate.domain.jobs import JobState, Payload
from tollgate.domain.micro_batches import MicroBatchPolicy
from tollgate.ports.backends import AsyncSubmission
from tollgate.services.async_notice import AsyncNotice

REQUESTS = 2_000
ARRIVE_SECONDS = 60.0
DEADLINE_SECONDS = 300.0
PLACES = 4
EVENT_SIZE = 50
BASE_SECONDS, EACH_SECONDS = 0.15, 0.01


@dataclass
class Endpoint:
    """Places that work on invocations in the order in which they come."""

    road: AsyncRoad
    free: list[datetime] = field(default_factory=list)
    ends: list[tuple[datetime, int, AsyncNotice]] = field(default_factory=list)
    invocations: int = 0
    busy_seconds: float = 0.0

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
        self.busy_seconds += seconds
        return AsyncSubmission(output_location=location, failure_location=None)


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    invocations: int
    late: int
    last_seconds: float
    slowest_seconds: float
    instance_usd: Decimal
    total_usd: Decimal


def _catalogue(policy: MicroBatchPolicy | None) -> Catalogue:
    catalogue = make_catalogue(concurrency=PLACES)
    model = catalogue.model("echo")
    (deployment,) = model.deployments
    changed = replace(model, deployments=(replace(deployment, micro_batch=policy),))
    return replace(catalogue, models={"echo": changed})


def run(policy: MicroBatchPolicy | None) -> Outcome:
    """Let the requests arrive, and time pass until all are done."""
    road = AsyncRoad(_catalogue(policy))
    endpoint = Endpoint(road)
    road.backend = endpoint  # type: ignore[assignment]  # another backend of the same port
    began = road.clock.now()
    arrivals = [began + timedelta(seconds=ARRIVE_SECONDS * n / REQUESTS) for n in range(REQUESTS)]
    for number, at in enumerate(arrivals):
        deadline = at + timedelta(seconds=DEADLINE_SECONDS)
        job = make_job(f"inf_{number}", created_at=at, deadline_at=deadline, input=Payload(inline=f"text {number}"))
        road.jobs.add(job)
    come = 0
    for second in itertools.count(1):
        until = began + timedelta(seconds=second)
        _end(road, endpoint, until)
        road.clock.advance((until - road.clock.now()).total_seconds())
        here = [f"inf_{n}" for n in range(come, REQUESTS) if arrivals[n] <= until]
        come += len(here)
        _observe(road, come)
        for event in itertools.batched(here, EVENT_SIZE, strict=False):
            assert road.group_submitter().submit_all(event) == {}
        if come == REQUESTS and not endpoint.ends:
            break
    jobs = list(road.jobs.jobs.values())
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    waited = [(job.finished_at or began) - job.created_at for job in jobs]
    price = Decimal("0.115") / 3600 / PLACES
    return Outcome(
        invocations=endpoint.invocations,
        late=sum(1 for job in jobs if job.finished_at and job.deadline_at and job.finished_at > job.deadline_at),
        last_seconds=max((job.finished_at or began) - began for job in jobs).total_seconds(),
        slowest_seconds=max(waited).total_seconds(),
        instance_usd=sum(((job.held_seconds or Decimal(0)) * price for job in jobs), Decimal(0)),
        total_usd=sum((job.effective_cost or Decimal(0) for job in jobs), Decimal(0)),
    )


def _end(road: AsyncRoad, endpoint: Endpoint, until: datetime) -> None:
    """Tell of everything that ends by then."""
    while endpoint.ends and endpoint.ends[0][0] <= until:
        ends, _, notice = heapq.heappop(endpoint.ends)
        road.clock.advance(max(0.0, (ends - road.clock.now()).total_seconds()))
        road.completion().notice(notice)


def _observe(road: AsyncRoad, come: int) -> None:
    """What the registry would know: means of what was measured, and how many wait."""
    totals: dict[str, list[float]] = {}
    for resource, _, seconds in road.measurements.durations:
        totals.setdefault(resource, []).append(seconds)
    done = sum(1 for job in road.jobs.jobs.values() if job.state is JobState.COMPLETED)
    road.capacities.capacity = Capacity(
        {
            (resource, InferenceType.ASYNC): RoadCapacity(
                measured_seconds=sum(values) / len(values), backlog=max(0, come - done)
            )
            for resource, values in totals.items()
        }
    )


def main() -> int:
    """Print both, and check what is promised."""
    alone = run(None)
    together = run(MicroBatchPolicy(max_requests=16, max_bytes=100_000, max_seconds=10))
    print(
        f"{REQUESTS:,} requests within {ARRIVE_SECONDS:.0f} s, {PLACES} places, deadline {DEADLINE_SECONDS:.0f} s each"
    )
    print(f"{'':>22}{'one by one':>14}{'together':>14}")
    rows = (
        ("invocations", f"{alone.invocations:,}", f"{together.invocations:,}"),
        ("late", str(alone.late), str(together.late)),
        ("all done after, s", f"{alone.last_seconds:.1f}", f"{together.last_seconds:.1f}"),
        ("slowest request, s", f"{alone.slowest_seconds:.1f}", f"{together.slowest_seconds:.1f}"),
        ("instance share, $", f"{alone.instance_usd:.6f}", f"{together.instance_usd:.6f}"),
        ("with gateway parts, $", f"{alone.total_usd:.6f}", f"{together.total_usd:.6f}"),
    )
    for name, first, second in rows:
        print(f"{name:>22}{first:>14}{second:>14}")
    share = together.invocations / alone.invocations
    print(f"{share:.1%} of the invocations (promised: at most 25 %, none late)")
    return 0 if share <= 0.25 and not together.late else 1


if __name__ == "__main__":
    sys.exit(main())
