"""2,000 requests arrive in a minute: one by one, and several in one invocation. Simulated time, real services.

The endpoint is simulated: four places, first come, first served; an invocation of n texts takes 0.15 s + 0.01 s x n, as
a small embedding model on a processor does. Queue polling is simulated as Lambda does it: up to 50 messages that came
within a second in one event. Everything else is the code of the product, on stores in memory.
"""

import heapq
import itertools
import sys
from copy import replace
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from tests.fakes.async_road import AsyncRoad
from tests.fakes.examples import make_catalogue, make_job
from tests.fakes.timed_endpoint import PLACES, TimedEndpoint
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.jobs.job import JobState, Payload
from tollgate.domain.jobs.micro_batches import MicroBatchPolicy
from tollgate.domain.roads.capacity import Capacity, RoadCapacity

REQUESTS = 2_000
ARRIVE_SECONDS = 60.0
DEADLINE_SECONDS = 300.0
EVENT_SIZE = 50


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
    endpoint = TimedEndpoint(road)
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
            if failures := road.group_submitter().submit_all(event):
                raise SystemExit(f"{len(failures)} requests were not taken.")
        if come == REQUESTS and not endpoint.ends:
            break
    jobs = list(road.jobs.jobs.values())
    if any(job.state is not JobState.COMPLETED for job in jobs):
        raise SystemExit("Some requests were not answered.")
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


def _end(road: AsyncRoad, endpoint: TimedEndpoint, until: datetime) -> None:
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
