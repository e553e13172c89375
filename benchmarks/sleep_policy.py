"""The sleep policy against 14 days of real arrivals, in simulated time: bill, cold starts seen, p99 wait.

Beside it an endpoint that is always up and one that only follows its metric. Reads `traffic/servegen_tenants.csv.gz`
under `TOLLGATE_DATA` (default ../shared/data); absent, it says so. The bill is that of the
instances, start-ups included.
"""

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from idling import serve_idling

from planner.keeping import serve_keeping
from planner.reading import read_trace
from planner.serving import Metric, Scaling, Served, serve
from planner.trace import Trace
from planner.waking import Requests
from planner.world import World
from tollgate.adapters.time_zones import time_zone
from tollgate.domain.places.sleeping import SleepPolicy, WarmHours
from tollgate.domain.places.wake_by_deadline import SleepingEndpoint

_DAYS = 14
_INSTANCE = "ml.g5.2xlarge"
_EPOCH = datetime(2026, 3, 23, tzinfo=UTC)  # a Monday; its second week is in summer time
_QUICK_SECONDS = 1.0
_DEADLINE_SECONDS = 900.0
_OFFICE = WarmHours(frozenset(range(5)), 7 * 60 + 30, 19 * 60, zone="Europe/Berlin")


@dataclass(frozen=True, slots=True)
class Line:
    """One design for one tenant.

    Attributes:
        cold: requests that met a sleeping endpoint and waited for its start; None where requests wait by design.
        late: requests that were answered after their deadline.
    """

    usd: float
    waits: "array[float]"
    starts: int
    cold: int | None
    late: int = 0


def main() -> None:
    """Print each design over all tenants, each with an endpoint of its own."""
    path = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "traffic" / "servegen_tenants.csv.gz"
    if not path.exists():
        print(f"{path} is absent: the sleep policy is not measured.")
        return
    trace, world = read_trace(path), World.of(_INSTANCE)
    print(
        f"{len(trace):,} requests of {len(trace.group_names)} tenants in {_DAYS} days; {_INSTANCE} "
        f"${world.usd_per_hour}/h, {world.concurrency} places, {world.endpoint_startup:.0f} s to start"
    )
    print(f"  {'':44} {'bill':>9} {'saved':>7} {'starts':>7} {'cold':>9} {'p99 wait':>9} {'late':>6}")
    parts = [trace.only(group) for group in range(len(trace.group_names))]
    designs = [_designs(part, world) for part in parts]
    always = sum(found["always on, 1 instance"].usd for found in designs)
    for name in designs[0]:
        _show(name, [found[name] for found in designs], always)


def _designs(trace: Trace, world: World) -> dict[str, Line]:
    arrivals, held, horizon = trace.arrivals, world.held(trace), _DAYS * 86_400.0
    # What one instance does in a minute at 70 % of its places: 500 would be far too many for answers of this length.
    target = 0.7 * world.concurrency * 60 / (sum(held) / len(held))
    follows = Scaling(
        minimum=1,
        maximum=world.largest,
        metric=Metric.INVOCATIONS,
        target=target,
        startup=world.endpoint_startup,
    )

    def up(scaling: Scaling) -> Served:
        return serve(arrivals, held, concurrency=world.concurrency, scaling=scaling, horizon=horizon)

    def idling(policy: SleepPolicy) -> Line:
        found = serve_idling(
            arrivals,
            held,
            concurrency=world.concurrency,
            scaling=follows,
            policy=policy,
            epoch=_EPOCH,
            horizon=horizon,
            zones=time_zone,
        )
        return _line(found.served, arrivals, held, world, cold=found.met_asleep)

    fixed = (up(Scaling(minimum=count, maximum=count)) for count in range(1, world.largest + 1))
    always = next((s for s in fixed if _percentile(_waits(s, arrivals, held), 0.99) <= _QUICK_SECONDS), None)
    always = always or up(Scaling(minimum=world.largest, maximum=world.largest))
    return {
        "always on, 1 instance": _line(up(Scaling(minimum=1, maximum=1)), arrivals, held, world),
        "always on, enough for a p99 wait of 1 s": _line(always, arrivals, held, world),
        "plain autoscaling, 1 to 8": _line(up(follows), arrivals, held, world),
        "sleep after 60 minutes": idling(SleepPolicy(idle_minutes=60)),
        "sleep after 30 minutes": idling(SleepPolicy(idle_minutes=30)),
        "sleep after 10 minutes": idling(SleepPolicy(idle_minutes=10)),
        "sleep after 10, warm mon-fri 07:30-19:00": idling(SleepPolicy(idle_minutes=10, warm_hours=(_OFFICE,))),
        "gather, every request due in 15 minutes": _gathering(arrivals, held, world),
    }


def _gathering(arrivals: "array[float]", held: "array[float]", world: World) -> Line:
    endpoint = SleepingEndpoint(world.endpoint_startup, world.concurrency, world.largest)
    deadlines = array("d", [_DEADLINE_SECONDS]) * len(arrivals)
    served = serve_keeping(Requests(arrivals, held, deadlines), endpoint)
    late = sum(end - came > _DEADLINE_SECONDS for end, came in zip(served.ends, arrivals, strict=True))
    return _line(served, arrivals, held, world, cold=None, late=late)


def _line(
    served: Served, arrivals: "array[float]", held: "array[float]", world: World, *, cold: int | None = 0, late: int = 0
) -> Line:
    usd = served.instance_seconds * world.usd_per_second
    return Line(usd, _waits(served, arrivals, held), served.starts, cold, late)


def _waits(served: Served, arrivals: "array[float]", held: "array[float]") -> "array[float]":
    return array("d", [max(0.0, e - a - h) for e, a, h in zip(served.ends, arrivals, held, strict=True)])


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)] if values else 0.0


def _show(name: str, lines: Sequence[Line], always: float) -> None:
    usd = sum(line.usd for line in lines)
    waits = array("d", [wait for line in lines for wait in line.waits])
    cold = sum(line.cold or 0 for line in lines)
    shown = "by design" if any(line.cold is None for line in lines) else f"{cold:,}"
    print(
        f"  {name:44} {usd:9.2f} {1 - usd / always:7.1%} {sum(line.starts for line in lines):7,} "
        f"{shown:>9} {_percentile(waits, 0.99):7.1f} s {sum(line.late for line in lines):6,}"
    )


if __name__ == "__main__":
    main()
