"""The recommended settings as files: overrides for `samconfig.toml` and an entry for `models.toml`, with reasons.

Both are text that a person reads and pastes. What the gateway cannot be set to yet is said in a comment, not written as
a setting.
"""

import math
from dataclasses import dataclass

from planner.comparison import Comparison
from planner.designs import Design
from planner.outcome import Outcome
from planner.trace import NO_DEADLINE, Trace
from planner.world import World
from tollgate.domain.catalogue import InferenceType

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Advice:
    """Two files.

    Attributes:
        samconfig: lines for `samconfig.toml`.
        models: lines for `models.toml`.
    """

    samconfig: str
    models: str


def advise(trace: Trace, comparison: Comparison, design: Design, world: World, instance_type: str) -> Advice:
    """Settings that make the stack behave like the design, as far as it can.

    Args:
        trace: that was planned.
        comparison: in which the design was recommended.
        design: that was recommended.
        world: that was assumed.
        instance_type: of the world.
    """
    outcome = next(o for o in comparison.outcomes if o.design == design.name)
    reason = (
        f"# {design.name}: ${outcome.total:,.2f} for {comparison.horizon / 3600:,.0f} hours, "
        f"{comparison.saved(outcome):.1%} below one instance that never sleeps; {outcome.missed} deadlines missed."
    )
    return Advice(
        samconfig="\n".join([reason, *_samconfig(trace, design, outcome, world, instance_type)]) + "\n",
        models="\n".join([reason, *_models(trace, design, outcome, world, instance_type)]) + "\n",
    )


def _rush(trace: Trace) -> tuple[int, int]:
    """Most requests in a second, and in a minute."""
    arrivals = trace.arrivals
    most = [0, 0]
    for position, seconds in enumerate((1.0, 60.0)):
        first = 0
        for last, arrival in enumerate(arrivals):
            while arrivals[first] <= arrival - seconds:
                first += 1
            most[position] = max(most[position], last - first + 1)
    return most[0], most[1]


def _samconfig(trace: Trace, design: Design, outcome: Outcome, world: World, instance_type: str) -> list[str]:
    second, minute = _rush(trace)
    rate = max(1, math.ceil(minute / _MINUTE * 1.5))
    burst = max(rate, math.ceil(second * 1.5))
    overrides: list[tuple[str, str, str]] = [
        ("InferRate", str(rate), f"the busiest minute had {minute:,} requests, and half as many again is let through"),
        ("InferBurst", str(burst), f"the busiest second had {second:,}"),
    ]
    roads = outcome.counts
    if roads.get("realtime"):
        scaling = design.realtime
        overrides += [
            ("RealtimeInstanceType", instance_type, "the instance that was planned with"),
            ("RealtimeMinInstances", str(max(1, scaling.minimum)), "a real-time endpoint never sleeps by itself"),
            ("RealtimeMaxInstances", str(max(1, scaling.maximum)), "what the plan could scale to"),
        ]
        if scaling.maximum > scaling.minimum:
            calls = max(1, round(scaling.target))
            overrides.append(
                ("RealtimeInvocationsPerInstance", str(calls), "seven tenths of what an instance serves in a minute")
            )
    if roads.get("async"):
        scaling = design.asynchronous
        most = scaling.maximum if not design.waking else max(1, world.largest)
        overrides += [
            ("AsyncInstanceType", instance_type, "the instance that was planned with"),
            ("AsyncMaxInstances", str(most), "what the plan could start"),
            ("AsyncConcurrencyPerInstance", str(world.concurrency), "places of an instance"),
            ("AsyncBacklogPerInstance", str(max(1, round(scaling.target))), "a waiting request for each place in use"),
        ]
    width = max(len(name) for name, _, _ in overrides)
    lines = [f"#   {name:{width}} {value:>14}  {why}" for name, value, why in overrides]
    joined = " ".join(f"{name}={value}" for name, value, _ in overrides)
    return [*lines, "[prod.deploy.parameters]", f'parameter_overrides = "Stage=prod {joined}"']


def _models(trace: Trace, design: Design, outcome: Outcome, world: World, instance_type: str) -> list[str]:
    timing, counts = world.timing, outcome.counts
    written = sorted(trace.output_tokens)
    usual = written[len(written) // 2]
    lines = [
        "[models.planned.deployments.main]",
        f'instance_type = "{instance_type}"  # ${world.usd_per_hour} an hour, list price',
        "# The seconds that were planned with; `tollgate calibrate` measures them. Half of the answers are as short as",
        f"# {usual} tokens.",
        (
            f"timing = {{ base_seconds = {timing.base_seconds:g}, "
            f"seconds_per_input_token = {timing.seconds_per_input_token:g}, "
            f"seconds_per_output_token = {timing.seconds_per_output_token:g}, expected_output_tokens = {usual} }}"
        ),
    ]
    road = f"concurrency = {world.concurrency}, startup_seconds = {world.endpoint_startup:g}"
    used = f"{min(1.0, max(0.01, outcome.utilisation)):.2f}"
    if counts.get("realtime"):
        lines += [
            f"# {counts['realtime']:,} requests need an answer sooner than a start-up; {used} of the time is used.",
            f'realtime = {{ endpoint = "NAME", {road}, utilisation = "{used}" }}',
        ]
    if counts.get("async"):
        lines += [
            f"# {counts['async']:,} requests can wait; the utilisation is the one that the plan found.",
            f'async = {{ endpoint = "NAME", {road}, utilisation = "{used}" }}',
        ]
    if counts.get("batch"):
        lines += [
            f"# {counts['batch']:,} requests go in transform jobs.",
            (
                f'batch = {{ transform_model = "NAME", concurrency = {world.concurrency}, '
                f"startup_seconds = {world.job_startup:g} }}"
            ),
        ]
        lines += _pools(design)
    lines += _not_yet(trace, design, outcome, world)
    return lines


def _pools(design: Design) -> list[str]:
    lines = ["", "# One model for each pool; clients choose by the deadline that they can afford."]
    for shortest, policy in sorted(design.batch.items()):
        name = f"planned-{int(shortest)}s" if len(design.batch) > 1 else "planned"
        lines += [
            f"# Deadlines from {shortest:,.0f} s: as old as leaves time for a start, the work and the way back.",
            f"[models.{name}]",
            f"batch = {{ max_records = {policy.max_records}, max_age_seconds = {policy.max_age_seconds} }}",
        ]
    return lines


def _not_yet(trace: Trace, design: Design, outcome: Outcome, world: World) -> list[str]:
    lines: list[str] = []
    if design.waking:
        able = [d for d in set(trace.deadlines) if world.endpoint_startup < d < NO_DEADLINE]
        shortest = f"{min(able):,.0f}" if able else "a day of"
        lines += [
            "",
            f"# Asleep unless {shortest} s deadlines call for it: `wake_by_deadline.decide_start` decides from what",
            f"# waits, with startup_seconds = {world.endpoint_startup:g} and {world.concurrency} places.",
        ]
    if design.cache_ttl:
        lines.append(
            f"# An exact cache of {design.cache_ttl:,.0f} s answered {outcome.counts.get('cache', 0):,} requests."
        )
    if outcome.counts.get("tokens"):
        rates = world.tokens
        prices = "" if rates is None else f" at ${rates.input} and ${rates.output} a million"
        lines.append(
            f"# {outcome.counts['tokens']:,} requests are paid by the token{prices}: no start-up is worth them."
        )
    if not outcome.counts.get(InferenceType.REALTIME.value):
        lines.append("# No real-time endpoint: nobody needs an answer sooner than the other roads give it.")
    return lines
