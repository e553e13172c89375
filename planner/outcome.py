"""What a design did to a trace, and what it costs, part by part."""

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import compress

from planner.collecting import Pool, collect
from planner.designs import ASYNC, BATCH, CACHED, HANDED_ON, REALTIME, REFUSED, TOKENS, Design, body_bytes, roads_of
from planner.gateway_share import LONGEST_AT_ONCE, handed_on_parts
from planner.handing_on import Tokens, serve_handing_on
from planner.keeping import serve_keeping
from planner.serving import Served, serve
from planner.trace import Trace
from planner.waking import Requests, serve_waking
from planner.world import World
from tollgate.domain.catalogue import BatchPolicy, InferenceType
from tollgate.domain.costs.gateway_parts import INLINE_INPUT_BYTES, gateway_rates
from tollgate.domain.costs.pricing import instance_cost
from tollgate.domain.money import ZERO, seconds, usd
from tollgate.domain.places.wake_by_deadline import SleepingEndpoint
from tollgate.domain.providers.prices import BucketRates, TokenUsage, token_cost

_CODE_NAMES = {
    REFUSED: "refused",
    CACHED: "cache",
    REALTIME: "realtime",
    ASYNC: "async",
    TOKENS: "tokens",
    HANDED_ON: "tokens",
    BATCH: "batch",
}
_MILLION = 1_000_000
_KEEPER_GB = Decimal("0.25")
"""Memory of the capacity function, which looks every few seconds while an endpoint starts and works."""

_PAID_BY_TOKEN = frozenset((TOKENS, HANDED_ON))


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from arrival to answer."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One design on one trace.

    Attributes:
        counts: requests by where they ended: realtime, async, tokens, batch, cache, refused.
        bill: dollars by part; instance parts by road, then what the gateway itself used.
        missed: answers after their deadline, and refused requests.
        utilisation: share of the billed place-seconds in which a request was served.
        starts: instances and transform jobs that were started.
        instance_seconds: billed.
        place_seconds: in which requests were served.
    """

    design: str
    requests: int
    tokens: int
    counts: Mapping[str, int]
    bill: Mapping[str, Decimal]
    latency: Latency
    missed: int
    utilisation: float
    starts: int
    instance_seconds: float
    place_seconds: float

    @property
    def total(self) -> Decimal:
        """Dollars, all parts together."""
        return sum(self.bill.values(), ZERO)

    @property
    def per_thousand_requests(self) -> Decimal | None:
        """Dollars; None without requests."""
        return usd(self.total * 1000 / self.requests) if self.requests else None

    @property
    def per_million_tokens(self) -> Decimal | None:
        """Dollars; None without tokens."""
        return usd(self.total * _MILLION / self.tokens) if self.tokens else None


def replay(
    trace: Trace,
    design: Design,
    world: World,
    *,
    held: "array[float] | None" = None,
    horizon: float = 0.0,
    watch: "Callable[[array[float], Served], None]" = lambda _arrivals, _served: None,
) -> Outcome:
    """Serve the trace by this design.

    Args:
        trace: in order of arrival.
        design: that serves it.
        world: in which it does.
        held: `world.held(trace)`, where it is already known.
        horizon: seconds for which endpoints that do not sleep are billed; at least to the last arrival.
        watch: given the arrivals of each road and what became of them.
    """
    held = world.held(trace) if held is None else held
    codes = roads_of(design, trace, world)
    if design.cache_ttl > 0:
        _answer_from_cache(trace, codes, design.cache_ttl)
    horizon = max(horizon, trace.seconds)
    tally = _Tally(trace, held, world)
    for code in sorted(set(codes)):
        served = _serve_pool(code, codes, trace, held, (design, world, horizon))
        if any(served.elsewhere):
            moved = _handed_on(served, code, codes)
            tally.add(HANDED_ON, codes, moved)
            watch(_chosen(trace.arrivals, codes, HANDED_ON), moved)
        tally.add(code, codes, served)
        watch(_chosen(trace.arrivals, codes, code), served)
    bill = {
        f"{road} instances": instance_cost(seconds(billed), world.usd_per_hour, 1)
        for road, billed in tally.billed.items()
    }
    if world.tokens is not None and tally.counts["tokens"]:
        bill["tokens"] = _token_bill(trace, codes, world.tokens)
    if design.gateway:
        bill |= _gateway_bill(tally, trace, codes, world)
    billed = sum(tally.billed.values())
    return Outcome(
        design=design.name,
        requests=len(trace),
        tokens=trace.tokens,
        counts=dict(tally.counts),
        bill=bill,
        latency=tally.latency(),
        missed=tally.missed,
        utilisation=tally.place_seconds / (billed * world.concurrency) if billed else 0.0,
        starts=tally.starts,
        instance_seconds=billed,
        place_seconds=tally.place_seconds,
    )


def _chosen(column: "array[float]", codes: bytearray, code: int) -> "array[float]":
    if codes.count(code) == len(codes):
        return column
    return array("d", compress(column, _marked(codes, frozenset((code,)))))


def _marked(codes: bytearray, wanted: frozenset[int]) -> bytearray:
    """1 for each request with one of these codes."""
    return codes.translate(bytes(map(wanted.__contains__, range(256))))


def _serve_pool(
    code: int, codes: bytearray, trace: Trace, held: "array[float]", setting: tuple[Design, World, float]
) -> Served:
    design, world, horizon = setting
    arrivals = _chosen(trace.arrivals, codes, code)
    if code in {REFUSED, CACHED}:
        return Served(ends=arrivals)
    works = _chosen(held, codes, code)
    if code == TOKENS:
        seconds_there = _chosen(world.token_seconds(trace), codes, code)
        return Served(ends=array("d", map(float.__add__, arrivals, seconds_there)))
    if code == ASYNC and design.waking:
        deadlines = _chosen(trace.deadlines, codes, code)
        endpoint = SleepingEndpoint(world.endpoint_startup, world.concurrency, world.largest, world.margin_seconds)
        requests = Requests(arrivals, works, deadlines, None if world.lengths_known else world.expected(works))
        if design.sharing:
            return serve_handing_on(requests, endpoint, _tokens(codes, trace, world, works))
        return serve_keeping(requests, endpoint) if world.rhythm else serve_waking(requests, endpoint)
    if code in {REALTIME, ASYNC}:
        scaling = design.realtime if code == REALTIME else design.asynchronous
        return serve(arrivals, works, concurrency=world.concurrency, scaling=scaling, horizon=horizon)
    policy: BatchPolicy = design.batch[sorted(design.batch)[code - BATCH]]
    pool = Pool(policy, world.job_startup, world.concurrency, sum(works) / len(works))
    deadlines = _chosen(trace.deadlines, codes, code)
    return collect(arrivals, works, deadlines, pool=pool, dispatch_seconds=world.dispatch_seconds)


def _tokens(codes: bytearray, trace: Trace, world: World, works: "array[float]") -> Tokens:
    there = _chosen(world.token_seconds(trace), codes, ASYNC)
    dollars, parts = _chosen(world.token_dollars(trace), codes, ASYNC), handed_on_parts(there, world)
    per_place = world.usd_per_second / world.concurrency
    saved = array("d", [usd + part - work * per_place for usd, part, work in zip(dollars, parts, works, strict=True)])
    return Tokens(saved, there, world.usd_per_second * world.endpoint_startup)


def _handed_on(served: Served, code: int, codes: bytearray) -> Served:
    """What was handed on, taken out of `served`; its requests get a code of their own."""
    flags = iter(served.elsewhere)
    for position, mine in enumerate(codes):
        if mine == code and next(flags):
            codes[position] = HANDED_ON
    ends, taken = served.ends, served.elsewhere
    served.ends, served.elsewhere = array("d", compress(ends, (not one for one in taken))), bytearray()
    return Served(ends=array("d", compress(ends, taken)))


def _answer_from_cache(trace: Trace, codes: bytearray, ttl: float) -> None:
    """A whole request whose answer is there already, and not too old, is answered by the cache.

    The answer to a real-time request counts as there at once: a second caller waits for it on the cache's lease. On
    the other roads it counts as there when it had to be, at the deadline; a repetition before then is served by itself.
    """
    known: dict[int, float] = {}
    columns = zip(trace.arrivals, trace.prompts, trace.deadlines, strict=True)
    for position, (arrival, prompt, deadline) in enumerate(columns):
        if prompt < 0 or codes[position] == REFUSED:
            continue
        there = known.get(prompt, -math.inf)
        if there <= arrival <= there + ttl:
            codes[position] = CACHED
        elif there < arrival:
            known[prompt] = arrival if codes[position] == REALTIME else arrival + deadline


class _Tally:
    def __init__(self, trace: Trace, held: "array[float]", world: World) -> None:
        self._trace, self._held, self._world = trace, held, world
        self._latencies = array("d")
        self.counts: Counter[str] = Counter()
        self.billed: dict[str, float] = {}
        self.missed = 0
        self.starts = 0
        self.place_seconds = 0.0
        self.waited_seconds = 0.0
        self.token_jobs = 0
        self.handed_on = 0
        self.followed_seconds = 0.0
        self.token_job_seconds = 0.0

    def add(self, code: int, codes: bytearray, served: Served) -> None:
        """Take in what became of the requests with this code."""
        name = _CODE_NAMES[min(code, BATCH)]
        self.counts[name] += len(served.ends)
        if code == REFUSED:
            self.missed += len(served.ends)
            return
        arrivals = _chosen(self._trace.arrivals, codes, code)
        deadlines = _chosen(self._trace.deadlines, codes, code)
        latencies = array("d", [end - arrival for end, arrival in zip(served.ends, arrivals, strict=True)])
        self.missed += sum(map(float.__gt__, latencies, deadlines))
        self._latencies.extend(latencies)
        if code in _PAID_BY_TOKEN:
            self._add_tokens(code, _chosen(self._world.token_seconds(self._trace), codes, code))
            return
        if code == REALTIME:
            self.waited_seconds += sum(latencies)
        if code != CACHED:
            self.billed[name] = self.billed.get(name, 0.0) + served.instance_seconds
            self.place_seconds += sum(_chosen(self._held, codes, code))
            self.starts += served.starts
            self.followed_seconds += served.followed_seconds

    def _add_tokens(self, code: int, there: "array[float]") -> None:
        at_once = sum(seconds_there for seconds_there in there if code == TOKENS and seconds_there <= LONGEST_AT_ONCE)
        quick = sum(code == TOKENS and seconds_there <= LONGEST_AT_ONCE for seconds_there in there)
        self.waited_seconds += at_once
        self.token_jobs += len(there) - quick
        self.token_job_seconds += sum(there) - at_once
        if code == HANDED_ON:
            self.handed_on += len(there)

    def latency(self) -> Latency:
        """Percentiles by nearest rank over the answered requests; zeros when there are none."""
        ordered = sorted(self._latencies)
        count = len(ordered)
        if not count:
            return Latency(0.0, 0.0, 0.0, 0.0)
        p50, p95, p99 = (ordered[max(0, -(-count * percent // 100) - 1)] for percent in (50, 95, 99))
        return Latency(sum(ordered) / count, p50, p95, p99)


def _gateway_bill(tally: _Tally, trace: Trace, codes: bytearray, world: World) -> dict[str, Decimal]:
    """The sum of `GatewayRates.expected` over all requests, which is linear in counts and seconds.

    Answers from the cache are priced as real-time requests that take no time; refused ones as rejected. Requests that
    are paid by the token are real-time ones, or jobs if they were handed on or take too long for a caller to wait; a
    function waits for the provider either way. The capacity function's looks are added where it has any.
    """
    rates = gateway_rates(world.prices)
    jobs = {road: rates.by_road[road] * tally.counts[road.value] for road in (InferenceType.ASYNC, InferenceType.BATCH)}
    alone, shared = rates.invocation(1), rates.invocation(world.together) / world.together
    jobs[InferenceType.ASYNC] -= (alone - shared) * tally.counts["async"]
    token_jobs = (rates.by_road[InferenceType.ASYNC] + rates.token_job) * tally.token_jobs
    token_jobs += rates.waiting(tally.token_job_seconds) - rates.waiting(0.0) + rates.handed_on() * tally.handed_on
    quick = tally.counts["realtime"] + tally.counts["cache"] + tally.counts["tokens"] - tally.token_jobs
    per_request = rates.expected(InferenceType.REALTIME, 0, 0.0)
    waiting = rates.expected(InferenceType.REALTIME, 0, tally.waited_seconds) - per_request
    largest_inline = bisect_right(range(INLINE_INPUT_BYTES), INLINE_INPUT_BYTES, key=body_bytes) - 1
    stored = sum(
        1
        for code, tokens in zip(codes, trace.input_tokens, strict=True)
        if (code == ASYNC or code >= BATCH) and tokens > largest_inline
    )
    return {
        "gateway": usd(
            sum(jobs.values(), token_jobs)
            + per_request * quick
            + waiting
            + rates.stored_input * stored
            + rates.rejected * tally.counts["refused"]
            + world.prices.lambda_gb_second * _KEEPER_GB * seconds(tally.followed_seconds)
        )
    }


def _token_bill(trace: Trace, codes: bytearray, rates: BucketRates) -> Decimal:
    """The domain's price of all tokens together, which is the sum over the requests."""
    by_token = _marked(codes, _PAID_BY_TOKEN)
    usage = TokenUsage(
        input=sum(compress(trace.input_tokens, by_token)), output=sum(compress(trace.output_tokens, by_token))
    )
    return token_cost(usage, rates) or ZERO
