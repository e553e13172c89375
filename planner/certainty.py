"""How sure the figures are: the same design under other seeds, and under other assumptions."""

from collections.abc import Callable, Sequence
from copy import replace
from dataclasses import dataclass
from decimal import Decimal

from planner.designs import designs_for
from planner.outcome import Outcome, replay
from planner.trace import Trace
from planner.world import World
from tollgate.domain.catalogue import Timing


@dataclass(frozen=True, slots=True)
class Variation:
    """One thing changed, everything else as planned.

    Attributes:
        saved: share of the unchanged world's always-on bill.
        missed: deadlines.
    """

    name: str
    saved: float
    missed: int


@dataclass(frozen=True, slots=True)
class Certainty:
    """What the recommendation rests on.

    Attributes:
        low: least share saved over the seeds.
        high: greatest.
        seeds: that were drawn.
        missed: most deadlines missed by one of them.
        sensitive: the changes with the greatest effect, greatest first.
    """

    low: float
    high: float
    seeds: int
    missed: int
    sensitive: Sequence[Variation]


def certainty(
    redrawn: Callable[[int], Trace],
    world: World,
    planned: Outcome,
    *,
    horizon: float,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    shown: int = 3,
) -> Certainty:
    """Replay one design again and again.

    Args:
        redrawn: the trace with everything that was drawn drawn anew, from a seed.
        world: as planned.
        planned: what the design does with the first seed, in this world.
        horizon: seconds that are billed.
        seeds: of which the first one is the plan's own.
        shown: how many of the assumptions.
    """
    trace, design = redrawn(seeds[0]), planned.design
    always = world.usd_per_hour * Decimal(horizon) / 3600
    drawn = [planned, *(_replayed(redrawn(seed), world, design, horizon) for seed in seeds[1:])]
    saved = [_saved(outcome, always) for outcome in drawn]
    pairs = []
    for variants in _variants(world):
        results = [
            Variation(name, _saved(outcome, always), outcome.missed)
            for name, outcome in ((n, _replayed(trace, w, design, horizon)) for n, w in variants)
        ]
        effect = max(abs(result.saved - saved[0]) for result in results)
        pairs.append((any(result.missed for result in results), effect, results))
    pairs.sort(key=lambda pair: pair[:2], reverse=True)
    return Certainty(
        low=min(saved),
        high=max(saved),
        seeds=len(seeds),
        missed=max(outcome.missed for outcome in drawn),
        sensitive=[variation for _, _, results in pairs[:shown] for variation in results],
    )


def _variants(world: World) -> list[list[tuple[str, World]]]:
    def slower(factor: float) -> World:
        timing = world.timing
        return replace(
            world,
            timing=Timing(
                timing.base_seconds * factor,
                timing.seconds_per_input_token * factor,
                timing.seconds_per_output_token * factor,
            ),
        )

    def starting(factor: float) -> World:
        return replace(world, endpoint_startup=world.endpoint_startup * factor, job_startup=world.job_startup * factor)

    return [
        [("start-up half as long", starting(0.5)), ("start-up half as long again", starting(1.5))],
        [("requests a third shorter", slower(2 / 3)), ("requests half as long again", slower(1.5))],
        [
            ("half the places", replace(world, concurrency=max(1, world.concurrency // 2))),
            ("twice the places", replace(world, concurrency=world.concurrency * 2)),
        ],
        [("length of answers unknown beforehand", replace(world, lengths_known=False))],
        [("looked at all the time, served in the order of deadlines", replace(world, rhythm=False))],
    ]


def _replayed(trace: Trace, world: World, design: str, horizon: float) -> Outcome:
    return replay(trace, designs_for(trace, world)[design], world, horizon=horizon)


def _saved(outcome: Outcome, always: Decimal) -> float:
    return float(1 - outcome.total / always)
