"""The recommended `models.toml`: entries that `tollgate models apply` accepts, each setting with its reason.

Endpoints carry the names that the template gives to those of a model called `planned`; the owner puts in his own. What
the catalogue cannot say is written as a comment, not as a setting.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from planner.designs import Design, Routing, shortest_wait
from planner.outcome import Outcome
from planner.trace import Trace
from planner.world import USED_WHEN_ALWAYS_UP, World
from tollgate.domain.catalogue import BatchPolicy, InferenceType

PROVIDER_KEYS = "/tollgate/providers"
"""Where the settings look for the keys of providers that are called over HTTP."""
_LONGEST_CACHE = 86_400
_PLANNED = "planned"
"""The model's name; where there are several, for different deadlines, all have its endpoints."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A model of the catalogue: name, roads, when its batches leave, and what it is for where there are several."""

    name: str
    roads: frozenset[InferenceType]
    batch: BatchPolicy | None = None
    why: tuple[str, ...] = ()


def catalogue_entries(trace: Trace, design: Design, outcome: Outcome, world: World, instance_type: str) -> list[str]:
    """Lines of TOML; one model, or several where one cannot have all the settings."""
    lines: list[str] = []
    by_token = design.by_token and outcome.counts.get("tokens", 0) > 0
    for entry in _models(design, outcome, world):
        lines += [*entry.why, f"[models.{entry.name}]"]
        if entry.batch is not None:
            lines.append(
                f"batch = {{ max_records = {entry.batch.max_records}, "
                f"max_age_seconds = {entry.batch.max_age_seconds} }}"
            )
        if design.cache_ttl:
            lines += [
                f"# Answered {outcome.counts.get('cache', 0):,} repetitions.",
                f"cache = {{ ttl_seconds = {min(_LONGEST_CACHE, int(design.cache_ttl))} }}",
            ]
        if by_token:
            lines += ["", *_provider(entry.name, trace, outcome, world)]
        if entry.roads or not by_token:
            lines += ["", f"[models.{entry.name}.deployments.main]", *_timed(trace, world, instance_type)]
            lines += _roads(entry.roads, design=design, outcome=outcome, world=world)
        if InferenceType.ASYNC in entry.roads and design.asynchronous.minimum == 0:
            lines += ["", *_sleep(entry.name, design, by_token=by_token)]
        lines.append("")
    return [*lines, *_not_settable(outcome)]


def _models(design: Design, outcome: Outcome, world: World) -> list[_Entry]:
    used = {road for road in InferenceType if outcome.counts.get(road.value)}
    if design.sharing or not (used or outcome.counts.get("tokens")):
        used.add(InferenceType.ASYNC)
    roads, sleeps = frozenset(used), InferenceType.ASYNC in used and design.asynchronous.minimum == 0
    pools = design.batch if InferenceType.BATCH in used and InferenceType.BATCH in design.open_roads else {}
    if sleeps and InferenceType.REALTIME in used:
        least = min(pools.values(), key=lambda policy: policy.max_age_seconds, default=None)
        up = frozenset({InferenceType.REALTIME})
        why = (
            f"# For deadlines under {shortest_wait(world):,.0f} s: clients name this model where somebody waits. It is",
            "# always up; the policy of sleep below would hold for its endpoint too if they were one deployment.",
        )
        return [_Entry(f"{_PLANNED}-at-once", up, None, why), _Entry(_PLANNED, roads - up, least)]
    if len(pools) < 2:
        return [_Entry(_PLANNED, roads, next(iter(pools.values()), None))]
    return [
        _Entry(
            _PLANNED if number == 0 else f"{_PLANNED}-{int(shortest)}s",
            roads,
            policy,
            (f"# For deadlines from {shortest:,.0f} s: as old as leaves time for a start, the work and the way back.",),
        )
        for number, (shortest, policy) in enumerate(sorted(pools.items()))
    ]


def _usual[Number: (int, float)](amounts: Iterable[Number]) -> Number:
    ordered = sorted(amounts)
    return ordered[len(ordered) // 2]


def on_bedrock(token_model: str) -> bool:
    """Whether the price book's id is one of Bedrock's, which begin with the maker's name and a dot."""
    return token_model.partition(".")[0].isalpha()


def _provider(name: str, trace: Trace, outcome: Outcome, world: World) -> list[str]:
    timing, longest = world.token_timing, max(trace.output_tokens)
    lines = [
        f"# Requests paid by the token, for which that is the cheapest road in time: {outcome.counts['tokens']:,}.",
        "# The gateway compares the two deployments for each request: docs/token-backends.md.",
        f"[models.{name}.deployments.provider]",
        'tier = "medium"  # as the other one: its answers are taken to be as good',
        (
            f"timing = {{ base_seconds = {timing.base_seconds:g}, "
            f"seconds_per_input_token = {timing.seconds_per_input_token:g}, "
            f"seconds_per_output_token = {timing.seconds_per_output_token:g}, "
            f"expected_output_tokens = {max(1, _usual(trace.output_tokens))} }}"
        ),
        "",
        f"[models.{name}.deployments.provider.tokens]",
    ]
    if on_bedrock(world.token_model):
        lines.append('provider = "bedrock"  # access to the model has to be granted to the account')
    else:
        lines += [
            'provider = "openai_http"',
            'url = "https://api.example.com/v1"  # the address of the provider\'s API, and where its key lies',
            f'api_key_parameter = "{PROVIDER_KEYS}/planned"',
        ]
    return [
        *lines,
        f'model = "{world.token_model}"',
        f"max_output_tokens = {max(1, longest)}  # the longest answer of the trace",
    ]


def _roads(roads: frozenset[InferenceType], *, design: Design, outcome: Outcome, world: World) -> list[str]:
    counts = outcome.counts
    found = Decimal(min(1.0, max(0.01, outcome.utilisation)))
    by_deadline = design.routing is Routing.DEADLINE
    # `route` compares roads by these; with other figures it would choose others than were replayed.
    up, gathered = (USED_WHEN_ALWAYS_UP, design.used) if by_deadline else (found, found)
    road = f"concurrency = {world.concurrency}, startup_seconds = {world.endpoint_startup:g}"
    lines: list[str] = []
    if InferenceType.REALTIME in roads:
        lines += [
            f"# Requests that need an answer soon: {counts['realtime']:,}; {found:.0%} of the paid time is used.",
            f'realtime = {{ endpoint = "tollgate-{_PLANNED}-realtime", {road}, utilisation = "{up:.2f}" }}',
        ]
    if InferenceType.ASYNC in roads:
        lines += [
            (
                _why_gathered(design, counts.get("async", 0))
                if design.by_token
                else f"# Requests that can wait: {counts.get('async', 0):,}; {found:.0%} of the paid time is used."
            ),
            f'async = {{ endpoint = "tollgate-{_PLANNED}-async", {road}, utilisation = "{gathered:.2f}" }}',
        ]
    if InferenceType.BATCH in roads:
        lines += [
            f"# Requests in transform jobs: {counts['batch']:,}.",
            (
                f'batch = {{ transform_model = "tollgate-{_PLANNED}", concurrency = {world.concurrency}, '
                f"startup_seconds = {world.job_startup:g} }}"
            ),
        ]
    return lines


def _timed(trace: Trace, world: World, instance_type: str) -> list[str]:
    """What a deployment runs on, and how long it takes."""
    timing, usual = world.timing, _usual(trace.output_tokens)
    measured = sorted(seconds for seconds in trace.durations if seconds >= 0)
    if 2 * len(measured) > len(trace):
        why = ["# Half of the requests take so long, by the trace's own durations, or less."]
        seconds = f"base_seconds = {_allowed(measured[len(measured) // 2]):g}"
    else:
        why = [
            "# The seconds that were planned with; `tollgate calibrate` measures them. Half of the answers have",
            f"# {usual} tokens or fewer.",
        ]
        seconds = (
            f"base_seconds = {_allowed(timing.base_seconds):g}, "
            f"seconds_per_input_token = {timing.seconds_per_input_token:g}, "
            f"seconds_per_output_token = {timing.seconds_per_output_token:g}, expected_output_tokens = {usual}"
        )
    return [
        'tier = "medium"  # the only one that was planned with',
        'dialect = "messages"  # or what the container speaks: docs/catalogue.md',
        f'instance_type = "{instance_type}"  # ${world.usd_per_hour} an hour, list price',
        *why,
        f"timing = {{ {seconds} }}",
    ]


def _allowed(base_seconds: float) -> float:
    """What the catalogue takes: an hour at most, which is also an asynchronous request's longest."""
    return min(3600.0, max(0.001, base_seconds))


def _why_gathered(design: Design, count: int) -> str:
    if design.sharing:
        return f"# Requests: {count:,}; others waited with them and were handed on. The utilisation lets them wait."
    return f"# Requests that no other road can take: {count:,}; the utilisation says so."


def _sleep(name: str, design: Design, *, by_token: bool) -> list[str]:
    section = f"[models.{name}.deployments.main.sleep]"
    if not design.waking:
        return [section, "idle_minutes = 1  # nothing waits: nobody pays for idle time"]
    lines = [
        section,
        "# Requests wait together until one of them has to be begun, and the endpoint goes when they are answered.",
        "# Only for an endpoint that nobody but the gateway calls; otherwise idle_minutes = 1.",
        "gather = true",
        "idle_minutes = 0",
    ]
    if design.sharing and by_token:
        lines.append('hand_on_to = "provider"  # gets what is not worth a start when it has to be begun')
    return lines


def _not_settable(outcome: Outcome) -> list[str]:
    lines = []
    if not outcome.counts.get("realtime"):
        lines.append("# No real-time endpoint: nobody needs an answer sooner than the other roads give it.")
    return lines
