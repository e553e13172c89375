"""What each saving strategy does alone and all together, on the same traffic.

Alone means: added to the endpoint that is woken by deadlines, except for waking itself, which is measured against one
instance that never sleeps. Strategies act on different factors of the bill, so that they nearly multiply; the product
of the factors is given beside what the replay of all together found. Each says what it rests on: what the trace shows,
what the price book or the catalogue says, or an assumption.
"""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from decimal import Decimal

from planner.commitment import CommitmentAdvice
from planner.commitment import advise as commitment
from planner.comparison import Comparison
from planner.designs import Design, designs_for
from planner.outcome import Outcome, replay
from planner.timeline import timeline
from planner.trace import Trace
from planner.world import World
from tollgate.domain.catalogue import Timing

_HOUR = 3600.0
ASSUMED = "ASSUMED"
_ASSUMING = frozenset({"tiering", "trimming", "micro-batching"})


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the strategies are taken to do; the owner's own measurements belong here.

    Attributes:
        trim_to: tokens of input that trimming leaves at most.
        small_tokens: requests with so many tokens of input or fewer are answered by a smaller model.
        small_speed: how many times as fast it is.
        speed_basis: where that figure comes from.
        batched: small requests that share one invocation, and with it the fixed part of their time.
        discount: of a year's commitment.
    """

    trim_to: int = 2_048
    small_tokens: int = 512
    small_speed: float = 3.0
    speed_basis: str = ASSUMED
    batched: int = 8
    discount: Decimal = Decimal("0.28")


@dataclass(frozen=True, slots=True)
class Contribution:
    """One strategy.

    Attributes:
        factor: dollars with it for each dollar without it.
        missed: deadlines missed with it.
        basis: what the figure rests on.
        if_half: the factor if what is assumed were half as great; None where nothing of the kind is.
        if_twice: the same for twice as great.
    """

    name: str
    factor: Decimal
    missed: int
    basis: str = ""
    if_half: Decimal | None = None
    if_twice: Decimal | None = None


_Change = Callable[[Trace, World, Design], tuple[Trace, World, Design]]


def contributions(
    trace: Trace, world: World, comparison: Comparison, assumed: Assumptions | None = None
) -> list[Contribution]:
    """Each strategy alone, their product, and all of them together.

    Args:
        trace: with deadlines.
        world: with or without a backend that is paid by the token.
        comparison: of this trace in this world.
        assumed: what trimming, tiering and micro-batching do.
    """
    assumed = assumed or Assumptions()
    baseline, horizon = comparison.baseline, comparison.horizon
    waking = designs_for(trace, world)["wake for deadlines"]
    woken = comparison.outcome(waking.name)
    changes = _changes(trace, assumed)
    halved, doubled = _changes(trace, _scaled(assumed, 0.5)), _changes(trace, _scaled(assumed, 2.0))

    def factor(change: _Change) -> tuple[Decimal, int]:
        changed, other, design = change(trace, world, waking)
        outcome = replay(changed, design, other, horizon=horizon)
        return _share(outcome.total, woken.total), outcome.missed

    found = [_contribution("sleep and wake", woken, baseline, "replayed, against one instance that never sleeps")]
    together = trace, world, waking
    for name, (change, basis) in changes.items():
        share, missed = factor(change)
        ranges: list[Decimal | None] = [None, None]
        if name in _ASSUMING and not (name == "tiering" and assumed.speed_basis != ASSUMED):
            ranges = [factor(halved[name][0])[0], factor(doubled[name][0])[0]]
        found.append(Contribution(name, share, missed, basis, *ranges))
        together = change(*together)
    _, advice = _committed((trace, world, waking), horizon, assumed.discount)
    basis = f"replayed hours: {advice.instances} instances committed at {assumed.discount:.0%} off"
    found.append(Contribution("commitment", _share(woken.total - advice.saved, woken.total), woken.missed, basis))
    found.append(
        Contribution("spot instances", Decimal(1), woken.missed, "SageMaker has none for endpoints and transform jobs")
    )
    product = Decimal(1)
    for one in found:
        product *= one.factor
    all_of_them, advice = _committed(together, horizon, assumed.discount)
    beside: list[Contribution] = []
    if world.tokens is not None:
        by_token = (comparison.outcome(name) for name in ("by the token", "jobs or tokens", "wake or tokens"))
        shared = min(by_token, key=lambda outcome: (outcome.missed, outcome.total))
        basis = f"{shared.design}, against waking for deadlines; {ASSUMED}: its answers are as good. Not above"
        beside.append(_contribution("token-priced", shared, woken, basis))
    return [
        *found,
        Contribution("product of the factors", product, 0, "as if each acted on another factor of the bill"),
        Contribution(
            "together", _share(all_of_them.total - advice.saved, baseline.total), all_of_them.missed, "replayed"
        ),
        *beside,
    ]


def _changes(trace: Trace, assumed: Assumptions) -> dict[str, tuple[_Change, str]]:
    """What each strategy changes, and what its figure rests on."""
    return {
        "exact cache": (lambda t, w, d: (t, w, replace(d, cache_ttl=_HOUR)), _repetitions(trace)),
        "tiering": (lambda t, w, d: (_tiered(t, w, assumed), w, d), _small(trace, assumed)),
        "trimming": (lambda t, w, d: (_trimmed(t, assumed.trim_to), w, d), _long(trace, assumed.trim_to)),
        "micro-batching": (
            lambda t, w, d: (t, _batched(w, assumed.batched), d),
            f"{ASSUMED}: {assumed.batched} share an invocation and the fixed part of their time",
        ),
    }


def _scaled(assumed: Assumptions, factor: float) -> Assumptions:
    """Everything that is assumed, so many times as great; a smaller model is not slower than the planned one."""
    return replace(
        assumed,
        trim_to=max(1, round(assumed.trim_to * factor)),
        small_speed=max(1.0, assumed.small_speed * factor),
        batched=max(1, round(assumed.batched * factor)),
    )


def _committed(
    setting: tuple[Trace, World, Design], horizon: float, discount: Decimal
) -> tuple[Outcome, CommitmentAdvice]:
    """What the design does, and the best commitment for it."""
    trace, world, design = setting
    hours = timeline(trace, design, world, horizon=horizon, step=_HOUR)
    return hours.outcome, commitment(hours.instances, world.usd_per_hour, discount)


def _share(part: Decimal, whole: Decimal) -> Decimal:
    return part / whole if whole else Decimal(1)


def _repetitions(trace: Trace) -> str:
    told = [prompt for prompt in trace.prompts if prompt >= 0]
    if not told:
        return "the trace tells no repetitions"
    return f"measured: {1 - len(set(told)) / len(told):.1%} of requests repeat an earlier one whole"


def _small(trace: Trace, assumed: Assumptions) -> str:
    share = sum(tokens <= assumed.small_tokens for tokens in trace.input_tokens) / max(1, len(trace))
    return (
        f"measured: {share:.0%} of requests have at most {assumed.small_tokens:,} tokens of input; "
        f"{assumed.speed_basis}: a smaller model is {assumed.small_speed:.1f} times as fast"
    )


def _long(trace: Trace, most: int) -> str:
    cut = sum(tokens - most for tokens in trace.input_tokens if tokens > most)
    share = cut / max(1, sum(trace.input_tokens))
    return f"measured: {share:.0%} of the input lies beyond {most:,} tokens; ASSUMED: it is not needed"


def _contribution(name: str, outcome: Outcome, against: Outcome, basis: str) -> Contribution:
    return Contribution(name, _share(outcome.total, against.total), outcome.missed, basis)


def _trimmed(trace: Trace, most: int) -> Trace:
    changed = trace.copy()
    for position, tokens in enumerate(changed.input_tokens):
        changed.input_tokens[position] = min(tokens, most)
    return changed


def _tiered(trace: Trace, world: World, assumed: Assumptions) -> Trace:
    """Short requests take the smaller model's time; it is given, their tokens stay."""
    changed = trace.copy()
    for position, (tokens, seconds) in enumerate(zip(trace.input_tokens, world.held(trace), strict=True)):
        if tokens <= assumed.small_tokens:
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
    return replace(world, timing=shared, together=together)
