"""The designs that are compared, and which road each of them gives to a request."""

from collections.abc import Callable, Collection, Mapping
from copy import replace
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto

from planner.serving import Metric, Scaling
from planner.trace import CLASSES, Trace
from planner.world import World
from tollgate.domain.catalogue import ROAD_OF_PRIORITY, BatchPolicy, InferenceType, Model
from tollgate.domain.errors import DeadlineImpossibleError
from tollgate.domain.jobs.batches import RESPONSE_MARGIN_SECONDS
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.estimates import RequestSize
from tollgate.domain.roads.routing import RoutingRequest, route

REFUSED, CACHED, REALTIME, ASYNC, TOKENS, HANDED_ON, BATCH = range(7)
"""Where a request ends; `HANDED_ON` from the asynchronous endpoint to the tokens. Pools of batch requests are numbered
from `BATCH` on."""

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
_PATIENT = 3_600.0
"""Seconds from which on a deadline is worth a pool of its own."""
_SHARED = Decimal("0.5")
"""A `utilisation` as of an endpoint that works for half of its paid time: whoever would save money on such a one waits
for it, and is handed on where it does not come about."""
_LAST_RESORT = Decimal("0.01")
"""A `utilisation` so small that the endpoint is woken for nothing that another road can do."""


class Routing(Enum):
    """How a design chooses the road."""

    REALTIME = auto()
    ASYNC = auto()
    PRIORITY = auto()
    DEADLINE = auto()


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
        used: share of its paid time in which the asynchronous endpoint works; `route` compares costs by it.
        by_token: whether the model has a deployment that is paid by the token, which `route` may prefer.
        waking: whether the asynchronous endpoint sleeps until a deadline wakes it, instead of following its backlog.
        sharing: whether that endpoint hands on, to the deployment that is paid by the token, what is not worth a start.
        cache_ttl: seconds for which an answer is good for the same whole request; 0 without a cache.
    """

    name: str
    routing: Routing
    realtime: Scaling = field(default_factory=Scaling)
    asynchronous: Scaling = field(default_factory=Scaling)
    batch: Mapping[float, BatchPolicy] = field(default_factory=lambda: {0.0: BatchPolicy()})
    open_roads: frozenset[InferenceType] = frozenset(InferenceType)
    used: Decimal = Decimal("0.8")
    by_token: bool = False
    waking: bool = False
    sharing: bool = False
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
    always_up = {InferenceType.REALTIME} if min(deadlines) < shortest_wait(world) else set()
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
        by_token = Design(
            "by the token",
            Routing.DEADLINE,
            asynchronous=asleep,
            open_roads=frozenset({InferenceType.ASYNC}),
            used=_LAST_RESORT,
            by_token=True,
            waking=True,
        )
        jobs_or_tokens = replace(
            by_token,
            name="jobs or tokens",
            batch={d: policy for d, policy in collected.items() if d >= _PATIENT} or {0.0: BatchPolicy()},
            open_roads=frozenset({InferenceType.ASYNC, InferenceType.BATCH}),
        )
        sharing = replace(jobs_or_tokens, name="wake or tokens", used=_SHARED, sharing=True)
        designs += [
            by_token,
            jobs_or_tokens,
            sharing,
            replace(sharing, name="wake or tokens + cache", cache_ttl=3600.0),
        ]
    return designs


def designs_for(trace: Trace, world: World) -> dict[str, Design]:
    """The designs of the table by name, the baseline first, as they suit this trace, which is not empty."""
    held = world.held(trace)
    return {design.name: design for design in standard_designs(world, sum(held) / len(held), set(trace.deadlines))}


def shortest_wait(world: World) -> float:
    """A deadline from which on nothing has to be up when the request comes: start-up, margin, rhythm, and the work."""
    return (world.endpoint_startup + world.dispatch_seconds + RESPONSE_MARGIN_SECONDS) / 0.75


def batch_pools(world: World, deadlines: Collection[float], mean_held: float) -> dict[float, BatchPolicy]:
    """Pools that let requests wait for as long as they can: one for deadlines under an hour, one for the others.

    In `models.toml` they are two models with the same deployment. A pool holds as much work as a job does in a quarter
    of its shortest deadline, at most, and leaves early enough for its work, a job's start-up, the scheduler's rhythm
    and the margin. Deadlines too short for that make no pool; their requests take other roads.
    """
    pools: dict[float, BatchPolicy] = {}
    overhead = world.job_startup + world.dispatch_seconds + RESPONSE_MARGIN_SECONDS
    able = sorted(d for d in deadlines if 0.75 * d > overhead)
    for soon in (True, False):
        shortest = next((d for d in able if (d < _PATIENT) is soon), None)
        if shortest is not None:
            bounded, each = min(shortest, float(_LONGEST_WAIT)), max(mean_held, 1e-6) / world.concurrency
            records = min(_LARGEST_POOL, max(1, int(bounded / 4 / each)))
            # Twice the mean work of a full pool: its requests may be longer than others.
            age = bounded - overhead - min(bounded / 4, 2 * records * each)
            pools[shortest] = BatchPolicy(max_records=records, max_age_seconds=int(age))
    return pools or {0.0: BatchPolicy()}


def roads_of(design: Design, trace: Trace, world: World) -> bytearray:
    """Where each request goes: `REALTIME`, `ASYNC`, `TOKENS`, `BATCH` plus the number of its pool, or `REFUSED`."""
    match design.routing:
        case Routing.REALTIME:
            return bytearray([REALTIME]) * len(trace)
        case Routing.ASYNC:
            return bytearray([ASYNC]) * len(trace)
        case Routing.PRIORITY:
            codes = [ROAD_CODES[ROAD_OF_PRIORITY[priority]] for priority in CLASSES]
            codes.append(ASYNC)  # a class of -1 takes the default priority, medium
            return bytearray(map(codes.__getitem__, trace.classes))
        case Routing.DEADLINE:
            return _by_deadline(trace, Router(design, world))


class Router:
    """The gateway's own `route`, asked once for all requests of about the same size and deadline.

    Tokens and durations are rounded up, so that a group's answer suits its largest request; three significant bits are
    kept, which is at most an eighth too much. What that would refuse is asked for as it is.
    """

    def __init__(self, design: Design, world: World) -> None:
        self._known: dict[tuple[int, int, int, float], int] = {}
        self._design, self._world = design, world
        self._thresholds = sorted(design.batch)
        self._models = [self._model(threshold) for threshold in self._thresholds]
        sleeps = design.asynchronous.minimum == 0
        asleep = RoadCapacity(RoadState.ASLEEP if sleeps else RoadState.AWAKE)
        self._capacity = Capacity({(world.resource, InferenceType.ASYNC): asleep})

    def code(self, input_tokens: int, output_tokens: int, duration: float, deadline: float) -> int:
        """Where such a request goes."""
        held = -1 if duration < 0 else round_up(int(duration * 1000) + 1)
        key = round_up(input_tokens), round_up(output_tokens), held, deadline
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._ask(*key)
        if found == REFUSED and self._may_do(input_tokens, output_tokens, duration, deadline):
            return self._ask(input_tokens, output_tokens, held if duration < 0 else int(duration * 1000) + 1, deadline)
        return found

    def _may_do(self, read: int, written: int, duration: float, deadline: float) -> bool:
        """Whether a request takes less than its deadline, though the largest of its group does not."""
        world = self._world
        alone = world.timing.expected_seconds(read, written) if duration < 0 else duration
        by_token = self._design.by_token and world.token_timing.expected_seconds(read, written) <= deadline
        return by_token or alone <= deadline

    def _model(self, threshold: float, duration: float | None = None) -> Model:
        design = self._design
        return self._world.model(
            design.batch[threshold], design.open_roads, used=design.used, by_token=design.by_token, duration=duration
        )

    def _ask(self, input_tokens: int, output_tokens: int, held_ms: int, deadline: float) -> int:
        pool = max((n for n, least in enumerate(self._thresholds) if least <= deadline), default=0)
        model = self._models[pool] if held_ms < 0 else self._model(self._thresholds[pool], held_ms / 1000)
        size = RequestSize(body_bytes(input_tokens), input_tokens, output_tokens)
        request = RoutingRequest(size=size, deadline_seconds=min(deadline, 1e9))
        try:
            decision = route(request, model, self._capacity, self._world.prices)
        except DeadlineImpossibleError:
            return REFUSED
        if decision.deployment.tokens is not None:
            return TOKENS
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
