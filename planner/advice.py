"""The recommended settings as files: overrides for `samconfig.toml` and an entry for `models.toml`, with reasons.

Both are text that a person reads and pastes. What the gateway cannot be set to yet is said in a comment, not written as
a setting.
"""

import math
from dataclasses import dataclass

from planner.advice_catalogue import PROVIDER_KEYS, catalogue_entries, on_bedrock
from planner.comparison import Comparison
from planner.designs import Design
from planner.outcome import Outcome
from planner.trace import Trace
from planner.world import World

_MINUTE = 60
_TO_ADD = "# Add it to your catalogue: a file that is applied by itself takes all other models out of force."


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
        f"# {design.name}: ${outcome.total:,.2f} for {comparison.horizon / 3600:,.0f} h, "
        f"{comparison.saved(outcome):.1%} below one instance that never sleeps; {outcome.missed} deadlines missed."
    )
    return Advice(
        samconfig="\n".join([reason, *_samconfig(trace, design, outcome, world, instance_type)]) + "\n",
        models="\n".join([reason, _TO_ADD, *catalogue_entries(trace, design, outcome, world, instance_type)]) + "\n",
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
        ("InferRate", str(rate), f"requests in the busiest minute: {minute:,}; half as many again is let through"),
        ("InferBurst", str(burst), f"requests in the busiest second: {second:,}"),
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
    if roads.get("tokens") and design.by_token:
        overrides.append(
            ("BedrockModels", f"arn:aws:bedrock:*::foundation-model/{world.token_model}", "may be called by the token")
            if on_bedrock(world.token_model)
            else ("ProviderKeysPath", PROVIDER_KEYS, "below it lies the provider's key")
        )
    width = max(len(name) for name, _, _ in overrides)
    lines = [f"#   {name:{width}} {value:>14}  {why}" for name, value, why in overrides]
    joined = " ".join(f"{name}={value}" for name, value, _ in overrides)
    return [
        *lines,
        "# Add them to the overrides that are there already.",
        "[prod.deploy.parameters]",
        f'parameter_overrides = "Stage=prod {joined}"',
    ]
