"""The recommended `models.toml`: entries that `tollgate models apply` accepts, each setting with its reason.

Endpoints carry the names that the template gives to those of a model called `planned`; the owner puts in his own. What
the catalogue cannot say is written as a comment, not as a setting.
"""

from collections.abc import Mapping
from decimal import Decimal

from planner.designs import Design
from planner.outcome import Outcome
from planner.trace import Trace
from planner.world import World
from tollgate.domain.catalogue import BatchPolicy, InferenceType

PROVIDER_KEYS = "/tollgate/providers"
"""Where the settings look for the keys of providers that are called over HTTP."""
_LONGEST_CACHE = 86_400


def catalogue_entries(trace: Trace, design: Design, outcome: Outcome, world: World, instance_type: str) -> list[str]:
    """Lines of TOML; one model, or one for each pool of a design that collects in several."""
    lines: list[str] = []
    by_token = design.by_token and outcome.counts.get("tokens", 0) > 0
    for name, policy, why in _models(design, outcome):
        lines += [*why, f"[models.{name}]"]
        if policy is not None:
            lines.append(
                f"batch = {{ max_records = {policy.max_records}, max_age_seconds = {policy.max_age_seconds} }}"
            )
        if design.cache_ttl:
            lines += [
                f"# Answered {outcome.counts.get('cache', 0):,} repetitions.",
                f"cache = {{ ttl_seconds = {min(_LONGEST_CACHE, int(design.cache_ttl))} }}",
            ]
        if by_token:
            lines += ["", *_provider(name, trace, outcome, world)]
        if not by_token or design.sharing or any(outcome.counts.get(road) for road in ("realtime", "async", "batch")):
            given = _deployment(name, trace, design=design, outcome=outcome, world=world, instance_type=instance_type)
            lines += ["", *given]
        if (outcome.counts.get("async") or design.sharing) and design.asynchronous.minimum == 0:
            lines += ["", *_sleep(name, design, by_token=by_token)]
        lines.append("")
    return [*lines, *_not_settable(outcome)]


def _models(design: Design, outcome: Outcome) -> list[tuple[str, BatchPolicy | None, list[str]]]:
    if not outcome.counts.get("batch") or InferenceType.BATCH not in design.open_roads:
        return [("planned", None, [])]
    pools: Mapping[float, BatchPolicy] = design.batch
    if len(pools) == 1:
        return [("planned", next(iter(pools.values())), [])]
    return [
        (
            "planned" if number == 0 else f"planned-{int(shortest)}s",
            policy,
            [f"# For deadlines from {shortest:,.0f} s: as old as leaves time for a start, the work and the way back."],
        )
        for number, (shortest, policy) in enumerate(sorted(pools.items()))
    ]


def _usual(trace: Trace) -> int:
    written = sorted(trace.output_tokens)
    return written[len(written) // 2]


def on_bedrock(token_model: str) -> bool:
    """Whether the price book's id is one of Bedrock's, which begin with the maker's name and a dot."""
    return token_model.partition(".")[0].isalpha()


def _provider(name: str, trace: Trace, outcome: Outcome, world: World) -> list[str]:
    timing, longest = world.token_timing, max(trace.output_tokens)
    lines = [
        f"# {outcome.counts['tokens']:,} requests are paid by the token: for them it is the cheapest road in time.",
        "# The gateway compares the two deployments for each request: docs/token-backends.md.",
        f"[models.{name}.deployments.provider]",
        'tier = "medium"  # as the other one: its answers are taken to be as good',
        (
            f"timing = {{ base_seconds = {timing.base_seconds:g}, "
            f"seconds_per_input_token = {timing.seconds_per_input_token:g}, "
            f"seconds_per_output_token = {timing.seconds_per_output_token:g}, "
            f"expected_output_tokens = {max(1, _usual(trace))} }}"
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


def _deployment(
    name: str, trace: Trace, *, design: Design, outcome: Outcome, world: World, instance_type: str
) -> list[str]:
    timing, counts = world.timing, outcome.counts
    usual = _usual(trace)
    share = design.used if design.by_token else Decimal(min(1.0, max(0.01, outcome.utilisation)))
    used = f"{share:.2f}"
    road = f"concurrency = {world.concurrency}, startup_seconds = {world.endpoint_startup:g}, utilisation = {used!r}"
    road = road.replace("'", '"')
    lines = [
        f"[models.{name}.deployments.main]",
        'tier = "medium"  # the only one that was planned with',
        'dialect = "messages"  # or what the container speaks: docs/catalogue.md',
        f'instance_type = "{instance_type}"  # ${world.usd_per_hour} an hour, list price',
        f"# The seconds that were planned with; `tollgate calibrate` measures them. Half of the answers have {usual}",
        "# tokens or fewer.",
        (
            f"timing = {{ base_seconds = {max(0.001, timing.base_seconds):g}, "
            f"seconds_per_input_token = {timing.seconds_per_input_token:g}, "
            f"seconds_per_output_token = {timing.seconds_per_output_token:g}, expected_output_tokens = {usual} }}"
        ),
    ]
    if counts.get("realtime"):
        lines += [
            f"# {counts['realtime']:,} requests need an answer sooner than a start-up; {used} of the time is used.",
            f'realtime = {{ endpoint = "tollgate-{name}-realtime", {road} }}',
        ]
    if counts.get("async") or design.sharing or not (counts.get("realtime") or counts.get("batch")):
        lines += [
            (
                _why_gathered(design, counts.get("async", 0))
                if design.by_token
                else f"# {counts.get('async', 0):,} requests can wait; the utilisation is the one that the plan found."
            ),
            f'async = {{ endpoint = "tollgate-{name}-async", {road} }}',
        ]
    if counts.get("batch"):
        lines += [
            f"# {counts['batch']:,} requests go in transform jobs.",
            (
                f'batch = {{ transform_model = "tollgate-{name}", concurrency = {world.concurrency}, '
                f"startup_seconds = {world.job_startup:g} }}"
            ),
        ]
    return lines


def _why_gathered(design: Design, count: int) -> str:
    if design.sharing:
        return f"# {count:,} requests; others waited with them and were handed on. The utilisation lets them wait."
    return f"# {count:,} requests that no other road can take; the utilisation says so."


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
