"""The settings that a plan writes, read by the product itself, mean what was replayed."""

from collections.abc import Mapping
from copy import replace

import pytest

from planner.advice import advise
from planner.comparison import Comparison, compare
from planner.designs import (
    ASYNC,
    BATCH,
    REALTIME,
    REFUSED,
    TOKENS,
    Routing,
    body_bytes,
    designs_for,
    roads_of,
    round_up,
    shortest_wait,
)
from planner.trace import Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World, price_book
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Catalogue, InferenceType, Model
from tollgate.domain.errors import DeadlineImpossibleError
from tollgate.domain.places.standing import places_of
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.estimates import RequestSize
from tollgate.domain.roads.routing import RoutingRequest, route

_PRICED = "meta.llama3-1-8b-instruct-v1:0"
_ALONE = World.of("ml.g5.2xlarge")
_BESIDE = replace(_ALONE, tokens=price_book().tokens[_PRICED].rates, token_model=_PRICED)
_NAMES: Mapping[int, str] = {REFUSED: "refused", REALTIME: "realtime", ASYNC: "async", TOKENS: "tokens"}


def _traffic(mix: ClassMix, output_tokens: float = 200.0) -> Trace:
    trace = Workload([120.0, 0.0, 15.0], hours=9.0, burstiness=3.0, output_tokens=output_tokens).trace(5)
    draw_deadlines(trace, mix, 1)
    return trace


def _written(trace: Trace, comparison: Comparison, design: str, world: World) -> Catalogue:
    text = advise(trace, comparison, designs_for(trace, world)[design], world, "ml.g5.2xlarge").models
    return read_catalogue(text, price_book(), region="us-east-1", architecture="arm64", version=1)


def _road(sizes: tuple[int, int], deadline: float, model: Model, capacity: Capacity, world: World) -> str:
    read, written = sizes
    request = RoutingRequest(size=RequestSize(body_bytes(read), read, written), deadline_seconds=deadline)
    try:
        decision = route(request, model, capacity, world.prices)
    except DeadlineImpossibleError:
        return "refused"
    return "tokens" if decision.deployment.tokens is not None else decision.inference_type.value


@pytest.mark.parametrize("world", [_ALONE, _BESIDE], ids=["instances", "tokens beside"])
@pytest.mark.parametrize("mix", [ClassMix(), ClassMix(0.1, 0.3, 0.6), ClassMix(0.5, 0.5, 0.0)])
def test_requests_take_the_roads_that_were_replayed(world: World, mix: ClassMix) -> None:
    """The gateway's router, on the written catalogue, sends each design's requests the same way."""
    trace = _traffic(mix)
    comparison = compare(trace, world)
    for design in designs_for(trace, world).values():
        if design.routing is not Routing.DEADLINE:
            continue
        catalogue = _written(trace, comparison, design.name, world)
        models = list(catalogue.models.values())
        state = RoadState.AWAKE if design.asynchronous.minimum else RoadState.ASLEEP
        resources = {(f"{m.name}/{d.name}", InferenceType.ASYNC) for m in models for d in m.deployments}
        capacity = Capacity(dict.fromkeys(resources, RoadCapacity(state)))
        pools = sorted(design.batch)
        codes = roads_of(design, trace, world)
        for position, code in enumerate(codes):
            deadline = trace.deadlines[position]
            pool = sum(least <= deadline for least in pools[1:])
            quick = models[0].name == "planned-at-once" and deadline >= shortest_wait(world)
            model = models[min(pool + quick, len(models) - 1)]
            exact = trace.input_tokens[position], trace.output_tokens[position]
            # Sizes are rounded up for the replay, but for those that would be refused.
            found = _road((round_up(exact[0]), round_up(exact[1])), deadline, model, capacity, world)
            if found == "refused":
                found = _road(exact, deadline, model, capacity, world)
            assert found == ("batch" if code >= BATCH else _NAMES[code]), design.name


@pytest.mark.parametrize("mix", [ClassMix(), ClassMix(0.2, 0.3, 0.5)])
def test_only_what_was_asleep_sleeps_and_nothing_stands_twice(mix: ClassMix) -> None:
    """The policy of sleep holds for a deployment's two endpoints, so that one which is always up has its own."""
    trace = _traffic(mix)
    comparison = compare(trace, _BESIDE)
    for outcome in comparison.outcomes:
        catalogue = _written(trace, comparison, outcome.design, _BESIDE)
        assert len(places_of(catalogue)) == len({place.kind for place in places_of(catalogue)}), outcome.design
        for model in catalogue.models.values():
            for deployment in model.deployments:
                if InferenceType.REALTIME in deployment.roads and deployment.tokens is None:
                    assert deployment.sleep is None, outcome.design


@pytest.mark.parametrize(("longer", "written"), [(0.0, 8.0), (90_000.0, 3_600.0)])
def test_a_trace_of_durations_gives_the_router_seconds(longer: float, written: float) -> None:
    """Where requests tell how long they take, the written timing says that, up to what the catalogue takes."""
    trace = Trace(group_names=["all"])
    for number in range(50):
        trace.append(number * 60.0, 0, 0, duration=longer + 7.0 + number % 3)
    draw_deadlines(trace, ClassMix(), 1)
    comparison = compare(trace, _ALONE)
    catalogue = _written(trace, comparison, comparison.best.design, _ALONE)
    assert catalogue.models["planned"].deployments[0].timing.expected_seconds(0, 0) == pytest.approx(written)
