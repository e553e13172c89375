"""The circuit breaker, the retry budget, and the spread over deployments."""

from copy import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.examples import make_catalogue
from tollgate.domain.catalogue import Deployment, InferenceType, Model
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.health import (
    CLOSED,
    EARNED_PER_REQUEST,
    MOST_TOKENS,
    CallOutcome,
    Circuit,
    Fitness,
    HealthPolicy,
    RetryTokens,
    opened,
    warned,
)
from tollgate.domain.roads.spreading import spread

POLICY = HealthPolicy(slow_seconds=2.0)
REALTIME = InferenceType.REALTIME
BAD = [outcome for outcome in CallOutcome if outcome not in {CallOutcome.OK, CallOutcome.SLOW}]


def _after(outcomes: list[CallOutcome], *, every: float = 1.0, circuit: Circuit = CLOSED) -> tuple[Circuit, float]:
    now = circuit.at
    for outcome in outcomes:
        now += every
        circuit = circuit.after(outcome, now, POLICY)
    return circuit, now


@pytest.mark.parametrize("outcome", BAD)
def test_five_failures_of_any_kind_open_the_circuit(outcome: CallOutcome) -> None:
    """And four do not."""
    four, now = _after([outcome] * 4, every=0.1)
    assert four.fitness(now) is Fitness.FIT
    five, now = _after([outcome] * 5, every=0.1)
    assert five.fitness(now) is Fitness.BROKEN


def test_some_failures_among_many_calls_are_normal() -> None:
    """A third does not open it, two thirds do."""
    third, now = _after([CallOutcome.OK, CallOutcome.OK, CallOutcome.FAILED] * 20)
    assert third.fitness(now) is Fitness.FIT
    most, now = _after([CallOutcome.OK, CallOutcome.FAILED, CallOutcome.FAILED] * 2)
    assert most.fitness(now) is Fitness.BROKEN


def test_the_shares_that_open_it_are_exact() -> None:
    """From half of the calls on if they fail, from four fifths if they are slow; then for ten seconds."""
    ok, failed, slow = CallOutcome.OK, CallOutcome.FAILED, CallOutcome.SLOW
    for outcomes, fitness in (
        ([ok] * 3 + [failed] * 2, Fitness.FIT),
        ([ok] * 3 + [failed] * 3, Fitness.BROKEN),
        ([ok] * 2 + [slow] * 7, Fitness.FIT),
        ([ok] * 2 + [slow] * 8, Fitness.SLOW),
    ):
        circuit, now = _after(outcomes, every=0.0)
        assert circuit.fitness(now) is fitness
        assert circuit.open_until - now == (0.0 if fitness is Fitness.FIT else 10.0)


def test_a_call_counts_half_after_half_a_minute() -> None:
    """The failed ones and the slow ones too."""
    circuit, _ = _after([CallOutcome.FAILED, CallOutcome.SLOW, CallOutcome.OK], every=30.0)
    assert (circuit.calls, circuit.bad, circuit.slow) == (1.75, 0.25, 0.5)


def test_failures_far_apart_never_open_it() -> None:
    """One a minute says nothing about now."""
    circuit, now = _after([CallOutcome.FAILED] * 50, every=60)
    assert circuit.fitness(now) is Fitness.FIT


def test_a_pause_ends_with_a_probe_that_decides() -> None:
    """One good call closes it; a bad one opens it for twice as long, up to two minutes."""
    circuit = opened(1, 100.0, POLICY)
    assert [circuit.fitness(t) for t in (100.0, 109.9, 110.0)] == [Fitness.BROKEN, Fitness.BROKEN, Fitness.PROBING]
    assert circuit.after(CallOutcome.OK, 110.0, POLICY).fitness(110.0) is Fitness.FIT
    again = circuit.after(CallOutcome.TIMED_OUT, 110.0, POLICY)
    assert again.open_until == 130.0
    pauses = []
    for _ in range(8):
        again = again.after(CallOutcome.FAILED, again.open_until, POLICY)
        pauses.append(again.open_until - again.at)
    assert pauses == [40.0, 80.0, 120.0, 120.0, 120.0, 120.0, 120.0, 120.0]


def test_a_call_that_began_before_the_pause_does_not_prolong_it() -> None:
    """Only a probe after the pause counts."""
    circuit = opened(1, 100.0, POLICY)
    assert circuit.after(CallOutcome.FAILED, 105.0, POLICY) == circuit


def test_slow_answers_make_it_slow_and_not_broken() -> None:
    """A deployment that answers is better than none."""
    circuit, now = _after([CallOutcome.SLOW] * 6, every=0.5)
    assert circuit.fitness(now) is Fitness.SLOW


def test_a_warning_from_elsewhere_lets_the_first_call_decide() -> None:
    """One failure is enough then; a good call clears it."""
    circuit = warned(CLOSED, 50.0)
    assert circuit.fitness(50.0) is Fitness.PROBING
    assert circuit.after(CallOutcome.FAILED, 51.0, POLICY).fitness(51.0) is Fitness.BROKEN
    assert circuit.after(CallOutcome.OK, 51.0, POLICY).fitness(51.0) is Fitness.FIT
    paused = opened(3, 50.0, POLICY)
    assert warned(paused, 51.0) == paused


def test_a_good_call_never_opens_it() -> None:
    """Though it is the one that makes them enough to judge by; the next failure does."""
    circuit, now = _after([*[CallOutcome.FAILED] * 4, CallOutcome.OK], every=0.1)
    assert circuit.fitness(now) is Fitness.FIT
    circuit, now = _after([CallOutcome.FAILED], every=0.1, circuit=circuit)
    assert circuit.fitness(now) is Fitness.BROKEN


@given(outcomes=st.lists(st.sampled_from(CallOutcome), max_size=60), gaps=st.floats(0, 30))
def test_whatever_happens_a_circuit_can_be_probed_again(outcomes: list[CallOutcome], gaps: float) -> None:
    """Two minutes after the last call at most, and good calls always close it."""
    circuit, now = _after(outcomes, every=gaps)
    assert circuit.fitness(now + 120.0) in {Fitness.FIT, Fitness.PROBING}
    assert circuit.after(CallOutcome.OK, now + 120.0, POLICY).fitness(now + 120.0) is Fitness.FIT


@given(asks=st.lists(st.booleans(), max_size=500))
def test_second_tries_are_at_most_a_tenth_of_the_requests(asks: list[bool]) -> None:
    """Beyond the token that an environment starts with, in any order of requests and failures."""
    tokens, tries = RetryTokens(), 0
    for failed in asks:
        tokens.earn()
        tries += failed and tokens.take()
        assert 0 <= tokens.tokens <= MOST_TOKENS
    assert tries <= 1 + EARNED_PER_REQUEST * len(asks) + 1e-6


def test_saved_tokens_are_limited() -> None:
    """A quiet day does not allow a storm: ten second tries in a row at most."""
    tokens = RetryTokens()
    for _ in range(100_000):
        tokens.earn()
    assert sum(tokens.take() for _ in range(100)) == MOST_TOKENS
    assert tokens.tokens == pytest.approx(0.0, abs=1e-6)


def _model(**weights: int) -> Model:
    model = make_catalogue().models["echo"]
    (one,) = model.deployments
    deployments = tuple(replace(one, name=name, weight=weight) for name, weight in weights.items())
    return replace(model, deployments=deployments, health=HealthPolicy(fallback=("spare",)))


def _capacity(**roads: RoadCapacity) -> Capacity:
    return Capacity({(f"echo/{name}", REALTIME): road for name, road in roads.items()})


def _shares(model: Model, capacity: Capacity) -> dict[str, int]:
    names = [spread(model, REALTIME, capacity, n / 1000)[0].name for n in range(1000)]
    return {name: names.count(name) for name in dict.fromkeys(names)}


BROKEN, SLOW = RoadCapacity(state=RoadState.BROKEN), RoadCapacity(state=RoadState.SLOW)


def test_weights_alone_decide_while_nothing_is_known() -> None:
    """As they always did, and a spare gets nothing."""
    assert _shares(_model(a=3, b=1, spare=0), Capacity()) == {"a": 750, "b": 250}


def test_waiting_work_lowers_a_share() -> None:
    """One request for each place of `a` halves its weight."""
    shares = _shares(_model(a=1, b=1), _capacity(a=RoadCapacity(backlog=2, instances=2)))
    assert shares == {"a": 334, "b": 666}


def test_work_that_waits_counts_for_each_place() -> None:
    """Four at two instances with two places each halve a weight; the reason says when that changed the choice."""
    model = _model(a=1, b=1)
    two = tuple(
        replace(d, roads={kind: replace(road, concurrency=2) for kind, road in d.roads.items()})
        for d in model.deployments
    )
    model = replace(model, deployments=two)
    busy = _capacity(a=RoadCapacity(backlog=4, instances=2))
    assert spread(model, REALTIME, busy, 0.33) == (two[0], "")
    assert spread(model, REALTIME, busy, 0.34) == (two[1], ";spread=outstanding")
    assert spread(model, REALTIME, busy, 0.51) == (two[1], "")
    without = replace(model, deployments=(replace(two[0], roads={}), two[1]))
    assert spread(without, REALTIME, busy, 0.49)[0].name == "a"


@pytest.mark.parametrize("state", [BROKEN, SLOW])
def test_what_is_not_fit_gets_nothing_while_another_is(state: RoadCapacity) -> None:
    """And the reason says which was avoided."""
    model = _model(a=3, b=1)
    assert _shares(model, _capacity(a=state)) == {"b": 1000}
    assert spread(model, REALTIME, _capacity(a=state), 0.1)[1] == f";a={state.state}"


def test_the_chain_stands_in_when_all_are_broken() -> None:
    """A spare without weight serves then; when it is broken too, a slow one; else weights decide for the router."""
    model = _model(a=1, b=1, spare=0)
    assert _shares(model, _capacity(a=BROKEN, b=SLOW)) == {"spare": 1000}
    assert _shares(model, _capacity(a=BROKEN, b=SLOW, spare=BROKEN)) == {"b": 1000}
    assert _shares(model, _capacity(a=BROKEN, b=BROKEN, spare=BROKEN)) == {"a": 500, "b": 500}


@given(
    states=st.lists(st.sampled_from(RoadState), min_size=3, max_size=3),
    backlogs=st.lists(st.integers(0, 50), min_size=3, max_size=3),
    selector=st.floats(0, 1, exclude_max=True),
)
def test_a_broken_deployment_is_never_chosen_while_one_is_fit(
    states: list[RoadState], backlogs: list[int], selector: float
) -> None:
    """For every mixture of states and work."""
    roads = {n: RoadCapacity(state=s, backlog=b) for n, s, b in zip("abc", states, backlogs, strict=True)}
    found: Deployment = spread(_model(a=1, b=2, c=3), REALTIME, _capacity(**roads), selector)[0]
    if any(state in {RoadState.AWAKE, RoadState.ASLEEP} for state in states):
        assert roads[found.name].state in {RoadState.AWAKE, RoadState.ASLEEP}
