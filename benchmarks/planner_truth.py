"""The same trace replayed for real on the local stack, and in the planner: do they agree?

Requests go to the deterministic model, which takes as long as it is told, over the gateway's HTTP interface at the
moments of the trace. A few requests down each road come first; their overhead is what the planner is calibrated with.
The real figures are the gateway's own answers and job records. `TRUTH_SECONDS` sets the length (default 600, ten
minutes); `TOLLGATE_TEST_PORT` names a stack that runs already.
"""

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import replace
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from planner.designs import Design, Routing
from planner.outcome import Outcome, replay
from planner.serving import Scaling, Served
from planner.trace import CLASSES, Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World
from tests.local_stack import LocalStack, running_stack
from tollgate.domain.catalogue import ROAD_OF_PRIORITY, BatchPolicy, InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.costs.pricing import instance_cost
from tollgate.domain.money import seconds

_SECONDS = float(os.environ.get("TRUTH_SECONDS", "600"))
_RATE = 1.0
_PLACES = 16
_INSTANCE = "ml.c5.xlarge"
_BATCH = BatchPolicy(max_records=1000, max_age_seconds=2, records_per_file=50)
_PROBES = 5
_PATIENCE = 120.0
_FINAL = {"completed", "failed", "expired", "cancelled"}


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one real request; seconds from sending, dollars as the gateway recorded them."""

    road: str
    seconds: float
    usd: Decimal


class Caller:
    """Sends requests to the stack."""

    def __init__(self, stack: LocalStack) -> None:
        address = urlsplit(stack.url)
        self._place = address.hostname or "", address.port
        self._headers = {**stack.headers, "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
        """Status, headers in lower case, and the JSON document."""
        connection = HTTPConnection(*self._place, timeout=90)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(text)
        finally:
            connection.close()

    def infer(self, priority: str, held: float) -> Answered:
        """One request to its end.

        Raises:
            RuntimeError: it was refused, failed, or did not end.
        """
        began = time.monotonic()
        text = f"a toll booth _sleep={held:.3f}"
        body = {"model": "echo", "input": {"inputs": text}, "priority": priority}
        status, headers, document = self.call("POST", "/v1/inferences", body)
        if status == 200:
            took = time.monotonic() - began
            return Answered(headers["x-tollgate-inference-type"], took, Decimal(headers["x-tollgate-cost-usd"]))
        if status != 202:
            raise RuntimeError(f"{priority}: {status} {document}")
        return self._ended(str(document["id"]))

    def _ended(self, job_id: str) -> Answered:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            _, _, job = self.call("GET", f"/v1/inferences/{job_id}")
            if job["status"] in _FINAL:
                if job["status"] != "completed":
                    raise RuntimeError(f"{job_id}: {job['status']} {job.get('error')}")
                created, finished = (datetime.fromisoformat(job[name]) for name in ("created_at", "finished_at"))
                cost = Decimal(job["cost"]["effective_cost_usd"])
                return Answered(job["inference_type"], (finished - created).total_seconds(), cost)
            time.sleep(1.0)
        raise RuntimeError(f"{job_id} has not ended")


def made() -> Trace:
    """A trace of a request a second, three parts high, four medium, three low."""
    trace = Workload([_RATE * 3600], hours=_SECONDS / 3600, burstiness=1.0, output_tokens=40).trace(11)
    draw_deadlines(trace, ClassMix(0.3, 0.4, 0.3), 11)
    for position, tokens in enumerate(trace.output_tokens):
        trace.durations[position] = min(3.0, 0.1 + 0.015 * tokens)
    return trace


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a road adds to a request's time on the model: seconds until the answer, and seconds that are billed."""

    seconds: float
    billed: float


def overheads(caller: Caller) -> dict[str, Overhead]:
    """Medians of each road over a few requests, after one that starts its functions."""
    world = World.of(_INSTANCE)
    rates = gateway_rates(world.prices)
    found: dict[str, Overhead] = {}
    for priority in ("high", "medium", "low"):
        caller.infer(priority, 0.1)
        answered = [caller.infer(priority, 0.5) for _ in range(_PROBES)]
        road = InferenceType(answered[0].road)
        places = 1 if road is InferenceType.BATCH else _PLACES  # a transform job of one record pays the whole instance
        spent = statistics.median(one.usd for one in answered) - rates.expected(road, 0, 0.5)
        found[road.value] = Overhead(
            seconds=statistics.median(one.seconds for one in answered) - 0.5,
            billed=float(spent) / world.usd_per_second * places - 0.5,
        )
    return found


def for_real(caller: Caller, trace: Trace) -> list[Answered]:
    """Every request of the trace at its moment."""
    began = time.monotonic()

    def one(position: int) -> Answered:
        time.sleep(max(0.0, began + trace.arrivals[position] - time.monotonic()))
        return caller.infer(CLASSES[trace.classes[position]].value, trace.durations[position])

    with ThreadPoolExecutor(min(400, len(trace))) as pool:
        return list(pool.map(one, range(len(trace))))


def planned(trace: Trace, overhead: dict[str, Overhead]) -> tuple[Outcome, dict[str, Decimal]]:
    """The planner's outcome and bill, with each road's measured overhead.

    The bill is what requests carry: their share of places, the transform jobs, and the gateway's parts; idle time of
    the stand-in's endpoints belongs to nobody.
    """
    roads = [ROAD_OF_PRIORITY[priority].value for priority in CLASSES]
    longer = trace.copy()
    held = 0.0
    for position, duration in enumerate(trace.durations):
        road = roads[trace.classes[position]]
        if road != "batch":
            longer.durations[position] = duration + overhead[road].seconds
            held += duration + overhead[road].billed
    job = max(0.0, overhead["batch"].seconds - _BATCH.max_age_seconds)
    world = replace(World.of(_INSTANCE), concurrency=_PLACES, job_startup=job, dispatch_seconds=1.0)
    design = Design("as the stack is set", Routing.PRIORITY, Scaling(1, 1), Scaling(1, 1), {0.0: _BATCH})
    jobs: list[Served] = []
    outcome = replay(longer, design, world, watch=lambda _, served: jobs.append(served))
    batch = next(served for served in jobs if served.starts)
    billed = batch.instance_seconds + batch.starts * (overhead["batch"].billed - job)
    return outcome, {
        "places": instance_cost(seconds(held / _PLACES), world.usd_per_hour, 1),
        "jobs": instance_cost(seconds(billed), world.usd_per_hour, 1),
        "gateway": outcome.bill["gateway"],
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def main() -> None:
    """Print both sides and how far they are apart."""
    trace = made()
    with running_stack() as stack:
        caller = Caller(stack)
        overhead = overheads(caller)
        real = for_real(caller, trace)
    outcome, parts = planned(trace, overhead)
    bill = sum(parts.values(), Decimal(0))
    counts = Counter(one.road for one in real)
    total = sum((one.usd for one in real), Decimal(0))
    print(f"{len(trace)} requests in {_SECONDS:.0f} s; overhead by road {overhead}")
    agree = dict(counts) == dict(outcome.counts)
    print(f"counts by road: real {dict(counts)}, planned {dict(outcome.counts)}: {'the same' if agree else 'DIFFER'}")
    print("planned parts: " + ", ".join(f"{name} ${amount:.6f}" for name, amount in parts.items()))
    print(f"bill: real ${total:.6f}, planned ${bill:.6f} ({bill / total - 1:+.1%}; goal within 5 %)")
    for percent, expected in ((50, outcome.latency.p50), (95, outcome.latency.p95), (99, outcome.latency.p99)):
        measured = percentile([one.seconds for one in real], percent)
        goal = "; goal within 15 %" if percent == 95 else ""
        print(f"p{percent}: real {measured:.2f} s, planned {expected:.2f} s ({expected / measured - 1:+.1%}{goal})")
    for road in InferenceType:
        mine = [one for one in real if one.road == road.value]
        if mine:
            spent = sum((one.usd for one in mine), Decimal(0))
            late = percentile([one.seconds for one in mine], 95)
            print(f"  {road.value}: {len(mine)} requests, ${spent:.6f}, p95 {late:.2f} s")


if __name__ == "__main__":
    main()
