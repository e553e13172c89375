"""What each saving strategy does alone and all together, on the same traffic.

Alone means: added to the endpoint that is woken by deadlines, except for waking itself, which is measured against one
instance that never sleeps. Strategies act on different factors of the bill, so that they nearly multiply; the product
of the factors is given beside what the replay of all together found.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from planner.designs import Design, standard_designs
from planner.outcome import Outcome, replay
from planner.trace import Trace
from planner.world import World
from tollgate.domain.catalogue import Timing


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the strategies are taken to do; the owner's own measurements belong here.

    Attributes:
        trim_to: tokens of input that trimming leaves at most.
        small_share: of the requests that a smaller model can answer.
        small_speed: how many times as fast it is.
        batched: small requests that share one invocation, and with it the fixed part of their time.
    """

    trim_to: int = 2_048
    small_share: float = 0.4
    small_speed: float = 3.0
    batched: int = 8


@dataclass(frozen=True, slots=True)
class Contribution:
    """One strategy.

    Attributes:
        factor: dollars with it for each dollar without it.
        missed: deadlines missed with it.
    """

    name: str
    factor: Decimal
    missed: int


_Change = Callable[[Trace, World, Design], tuple[Trace, World, Design]]


def contributions(
    trace: Trace, world: World, baseline: Outcome, *, horizon: float, assumed: Assumptions | None = None
) -> list[Contribution]:
    """Each strategy alone, their product, and all of them together.

    Args:
        trace: with deadlines.
        world: with or without a backend that is paid by the token.
        baseline: the instance that never sleeps, replayed.
        horizon: seconds that are billed.
        assumed: what trimming, tiering and micro-batching do.
    """
    assumed = assumed or Assumptions()
    mean = baseline.place_seconds / max(1, baseline.requests)
    designs = {design.name: design for design in standard_designs(world, mean, set(trace.deadlines))}
    waking = designs["wake for deadlines"]
    changes: dict[str, _Change] = {
        "exact cache": lambda t, w, d: (t, w, replace(d, cache_ttl=3600.0)),
        "tiering": lambda t, w, d: (_tiered(t, w, assumed), w, d),
        "trimming": lambda t, w, d: (_trimmed(t, assumed.trim_to), w, d),
        "micro-batching": lambda t, w, d: (t, _batched(w, assumed.batched), d),
    }
    if world.tokens is not None:
        shared = designs["wake or tokens"]
        changes["token-priced"] = lambda t, w, d: (t, w, replace(shared, cache_ttl=d.cache_ttl))
    woken = replay(trace, waking, world, horizon=horizon)
    found = [_contribution("sleep and wake", woken, baseline)]
    together = trace, world, waking
    for name, change in changes.items():
        changed, other, design = change(trace, world, waking)
        found.append(_contribution(name, replay(changed, design, other, horizon=horizon), woken))
        together = change(*together)
    product = Decimal(1)
    for one in found:
        product *= one.factor
    all_of_them = replay(together[0], together[2], together[1], horizon=horizon)
    return [
        *found,
        Contribution("product of the factors", product, 0),
        _contribution("together", all_of_them, baseline),
    ]


def _contribution(name: str, outcome: Outcome, against: Outcome) -> Contribution:
    return Contribution(name, outcome.total / against.total if against.total else Decimal(1), outcome.missed)


def _trimmed(trace: Trace, most: int) -> Trace:
    changed = trace.copy()
    for position, tokens in enumerate(changed.input_tokens):
        changed.input_tokens[position] = min(tokens, most)
    return changed


def _tiered(trace: Trace, world: World, assumed: Assumptions) -> Trace:
    """Every n-th request so that the share is met, evenly over time; its time is given, its tokens stay."""
    changed = trace.copy()
    held = world.held(trace)
    owed = 0.0
    for position, seconds in enumerate(held):
        owed += assumed.small_share
        if owed >= 1:
            owed -= 1
            changed.durations[position] = seconds / assumed.small_speed
    return changed


def _batched(world: World, together: int) -> World:
    timing = world.timing
    shared = Timing(
        timing.base_seconds / together,
        timing.seconds_per_input_token,
        timing.seconds_per_output_token,
        timing.expected_output_tokens,
    )
    return replace(world, timing=shared)
