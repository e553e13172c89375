"""The designs that are compared, and which road each of them gives to a request."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from planner.serving import Metric, Scaling
from planner.trace import CLASSES, Trace
from planner.world import World
from tollgate.domain.batches import RESPONSE_MARGIN_SECONDS
from tollgate.domain.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.catalogue import ROAD_OF_PRIORITY, BatchPolicy, InferenceType
from tollgate.domain.errors import DeadlineImpossibleError
from tollgate.domain.road_estimates import RequestSize
from tollgate.domain.routing import RoutingRequest, route

REFUSED, CACHED, REALTIME, ASYNC, TOKENS, BATCH = range(6)
"""Where a request ends. Pools of batch requests are numbered from `BATCH` on."""

ROAD_CODES: Mapping[InferenceType, int] = {
    InferenceType.REALTIME: REALTIME,
    InferenceType.ASYNC: ASYNC,
    InferenceType.BATCH: BATCH,
}

_BYTES_PER_TOKEN = 4
_ENVELOPE_BYTES = 200
_LARGEST_POOL = 10_000
_LONGEST_WAIT = 86_400
"""The largest `max_records` and `max_age_seconds` that a catalogue takes."""


class Routing(Enum):
    """How a design chooses the road."""

    REALTIME = auto()
    ASYNC = auto()
    PRIORITY = auto()
    DEADLINE = auto()
    TOKENS = auto()


@dataclass(frozen=True, slots=True)
class Design:
    """One way to serve the trace.

    Attributes:
        gateway: False for an endpoint that clients call by themselves: none of the gateway's own parts is paid.
        realtime: instances of the real-time endpoint, which exists only if requests take that road.
        asynchronous: instances of the asynchronous endpoint, likewise.
        batch: when waiting batch requests leave, by the shortest deadline of a pool; a request goes to the last pool
            whose deadline it can afford.
        open_roads: that the catalogue has, for routing by deadline.
        waking: whether the asynchronous endpoint sleeps until a deadline wakes it, instead of following its backlog.
        tokens: whether that endpoint shares its work with the backend that is paid by the token.
        cache_ttl: seconds for which an answer is good for the same whole request; 0 without a cache.
    """

    name: str
    routing: Routing
    realtime: Scaling = field(default_factory=Scaling)
    asynchronous: Scaling = field(default_factory=Scaling)
    batch: Mapping[float, BatchPolicy] = field(default_factory=lambda: {0.0: BatchPolicy()})
    open_roads: frozenset[InferenceType] = frozenset(InferenceType)
    waking: bool = False
    tokens: bool = False
    cache_ttl: float = 0.0
    gateway: bool = True


def standard_designs(world: World, mean_held: float, deadlines: Collection[float]) -> list[Design]:
    """The designs of the table; the first one is the baseline.

    Args:
        world: for its start-up times.
        mean_held: seconds that a request holds its place on average.
        deadlines: of the trace's requests, each once.
    """
    per_minute = world.concurrency * 60.0 / max(mean_held, 1e-6)
    by_calls = Scaling(1, world.largest, Metric.INVOCATIONS, 0.7 * per_minute, startup=world.endpoint_startup)
    # A place's worth of waiting work for every place in use: below, instances come and go for short peaks.
    by_backlog = Scaling(1, world.largest, Metric.BACKLOG, 2.0 * world.concurrency, startup=world.endpoint_startup)
    asleep = replace(by_backlog, minimum=0)
    collected = batch_pools(world, deadlines, mean_held)
    # A real-time endpoint is always up, so that it is only offered where a deadline leaves no other road.
    always_up = {InferenceType.REALTIME} if min(deadlines) < _shortest_wait(world) else set()
    jobs = frozenset({InferenceType.BATCH, *always_up})
    endpoints = frozenset({InferenceType.ASYNC, *always_up})
    designs = [
        Design("always-on real-time", Routing.REALTIME, gateway=False),
        Design("autoscaled real-time", Routing.REALTIME, by_calls, gateway=False),
        Design("async only", Routing.ASYNC, asynchronous=by_backlog),
        Design("priority routing", Routing.PRIORITY, by_calls, by_backlog),
        Design("deadline routing", Routing.DEADLINE, by_calls, by_backlog),
        Design("sleep and wake", Routing.ASYNC, asynchronous=asleep),
        Design("collect in jobs", Routing.DEADLINE, by_calls, asleep, collected, jobs),
        Design("wake for deadlines", Routing.DEADLINE, by_calls, asleep, open_roads=endpoints, waking=True),
        Design("wake + cache", Routing.DEADLINE, by_calls, asleep, open_roads=endpoints, waking=True, cache_ttl=3600.0),
    ]
    if world.tokens is not None:
        shared = Design("wake or tokens", Routing.ASYNC, asynchronous=asleep, waking=True, tokens=True)
        designs += [
            Design("by the token", Routing.TOKENS),
            shared,
            replace(shared, name="wake or tokens + cache", cache_ttl=3600.0),
        ]
    return designs


def design_count(world: World) -> int:
    """How many designs are standard in this world."""
    return len(standard_designs(world, 1.0, {60.0}))


def _shortest_wait(world: World) -> float:
    """A deadline from which on nothing has to be up when the request comes: start-up, margin, rhythm, and the work."""
    return (world.endpoint_startup + world.dispatch_seconds + RESPONSE_MARGIN_SECONDS) / 0.75


def batch_pools(world: World, deadlines: Collection[float], mean_held: float) -> dict[float, BatchPolicy]:
    """Pools that let requests wait for as long as they can: one for deadlines under an hour, one for the others.

    In `models.toml` they are two models with the same deployment. A pool holds as much work as a job does in a quarter
    of its shortest deadline, and leaves early enough for that work, a job's start-up, the scheduler's rhythm and the
    margin. Deadlines too short for that make no pool; their requests take other roads.
    """
    pools: dict[float, BatchPolicy] = {}
    overhead = world.job_startup + world.dispatch_seconds + RESPONSE_MARGIN_SECONDS
    able = sorted(d for d in deadlines if 0.75 * d > overhead)
    for soon in (True, False):
        shortest = next((d for d in able if (d < 3600) is soon), None)
        if shortest is not None:
            bounded = min(shortest, float(_LONGEST_WAIT))
            records = int(bounded / 4 * world.concurrency / max(mean_held, 1e-6))
            pools[shortest] = BatchPolicy(
                max_records=min(_LARGEST_POOL, max(1, records)), max_age_seconds=int(0.75 * bounded - overhead)
            )
    return pools or {0.0: BatchPolicy()}


def roads_of(design: Design, trace: Trace, world: World) -> bytearray:
    """Where each request goes: `REALTIME`, `ASYNC`, `TOKENS`, `BATCH` plus the number of its pool, or `REFUSED`."""
    match design.routing:
        case Routing.REALTIME:
            return bytearray([REALTIME]) * len(trace)
        case Routing.ASYNC:
            return bytearray([ASYNC]) * len(trace)
        case Routing.TOKENS:
            return bytearray([TOKENS]) * len(trace)
        case Routing.PRIORITY:
            codes = [ROAD_CODES[ROAD_OF_PRIORITY[priority]] for priority in CLASSES]
            codes.append(ASYNC)  # a class of -1 takes the default priority, medium
            return bytearray(map(codes.__getitem__, trace.classes))
        case Routing.DEADLINE:
            return _by_deadline(trace, Router(design, world))


class Router:
    """The gateway's own `route`, asked once for all requests of about the same size and deadline.

    Tokens and durations are rounded up, so that a group's answer suits its largest request; three significant bits are
    kept, which is at most an eighth too much.
    """

    def __init__(self, design: Design, world: World) -> None:
        self._known: dict[tuple[int, int, int, float], int] = {}
        self._thresholds = sorted(design.batch)
        self._models = [world.model(design.batch[threshold], design.open_roads) for threshold in self._thresholds]
        self._world = world
        sleeps = design.asynchronous.minimum == 0
        self._asleep = RoadState.ASLEEP if sleeps else RoadState.AWAKE

    def code(self, input_tokens: int, output_tokens: int, duration: float, deadline: float) -> int:
        """Where such a request goes."""
        held = -1 if duration < 0 else round_up(int(duration * 1000) + 1)
        key = round_up(input_tokens), round_up(output_tokens), held, deadline
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._ask(*key)
        return found

    def _ask(self, input_tokens: int, output_tokens: int, held_ms: int, deadline: float) -> int:
        pool = max((n for n, least in enumerate(self._thresholds) if least <= deadline), default=0)
        timed = held_ms >= 0
        measured = held_ms / 1000 if timed else None
        capacity = Capacity(
            {
                (self._world.resource, InferenceType.REALTIME): RoadCapacity(measured_seconds=measured),
                (self._world.resource, InferenceType.ASYNC): RoadCapacity(self._asleep, measured),
                (self._world.resource, InferenceType.BATCH): RoadCapacity(measured_seconds=measured),
            }
        )
        size = RequestSize(
            body_bytes=body_bytes(input_tokens),
            input_tokens=input_tokens,
            output_tokens=None if timed else output_tokens,
        )
        request = RoutingRequest(size=size, deadline_seconds=min(deadline, 1e9))
        try:
            decision = route(request, self._models[pool], capacity, self._world.prices)
        except DeadlineImpossibleError:
            return REFUSED
        code = ROAD_CODES[decision.inference_type]
        return code + pool if code == BATCH else code


def _by_deadline(trace: Trace, router: Router) -> bytearray:
    code: Callable[[int, int, float, float], int] = router.code
    return bytearray(map(code, trace.input_tokens, trace.output_tokens, trace.durations, trace.deadlines))


def body_bytes(input_tokens: int) -> int:
    """Size of the request's body: four bytes a token and the JSON around it."""
    return input_tokens * _BYTES_PER_TOKEN + _ENVELOPE_BYTES


def round_up(value: int) -> int:
    """The next number with three significant bits after the leading one's place, for grouping."""
    shift = value.bit_length() - 4
    return value if shift <= 0 else -(-value >> shift) << shift
