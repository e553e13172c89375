"""Below the table: commitments, timelines, strategies, certainty, settings and pictures."""

import math
import re
import tomllib
import xml.etree.ElementTree as ET
from array import array
from copy import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.advice import advise
from planner.certainty import certainty
from planner.commitment import advise as commitment
from planner.comparison import Comparison, compare
from planner.designs import designs_for, standard_designs
from planner.outcome import replay
from planner.pictures import cost_against_p99, cost_by_design, frontier, over_time
from planner.strategies import contributions
from planner.timeline import timeline
from planner.trace import Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World, price_book
from tests.unit.template_document import template
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.providers.prices import BucketRates

WORLD = World.of("ml.g5.2xlarge")
PRICED = "meta.llama3-1-8b-instruct-v1:0"
TOKENS = replace(WORLD, tokens=price_book().tokens[PRICED].rates, token_model=PRICED)

DEAR = replace(
    WORLD, tokens=BucketRates(input=Decimal(50), output=Decimal(50))
)  # some wait, some are paid by the token


def made(seed: int = 1) -> Trace:
    trace = Workload([200.0, 0.0, 0.0], hours=12.0, burstiness=2.0, repeated=0.3).trace(7)
    draw_deadlines(trace, ClassMix(), seed)
    return trace


@pytest.fixture(scope="module")
def planned() -> Comparison:
    return compare(made(), TOKENS)


@given(st.lists(st.floats(0, 6), min_size=1, max_size=40), st.integers(0, 90))
def test_a_commitment_never_costs_more_than_none(hours: list[float], percent: int) -> None:
    """On the hours it was advised for it is at most as dear as paying by the hour; its regret is not negative."""
    advice = commitment(hours, Decimal("1.5"), Decimal(percent) / 100)
    assert advice.committed <= advice.uncommitted
    assert advice.regret >= 0
    assert advice.break_even == 1 - Decimal(percent) / 100


def test_a_floor_that_always_runs_is_committed_and_a_peak_is_not() -> None:
    """Two instances all the time and three more in a tenth of the hours: two are committed."""
    advice = commitment([2.0] * 9 + [5.0], Decimal(1), Decimal("0.3"))
    assert advice.instances == 2
    assert advice.committed == Decimal(2) * Decimal("0.7") * 10 + 3
    # Half of it is 9 x 1 + 2.5 by the hour; committed it is 14 + 0.5 for what the last hour uses beyond.
    assert advice.regret == Decimal("14.5") - Decimal("11.5")


def test_a_discount_of_everything_is_refused() -> None:
    """A discount is a share below one."""
    with pytest.raises(ValueError, match="discount"):
        commitment([1.0], Decimal(1), Decimal(1))


@pytest.mark.parametrize(
    "name",
    [
        "wake for deadlines",
        "collect in jobs",
        "always-on real-time",
        "sleep and wake",
        "by the token",
        "wake or tokens",
        "wake or tokens + cache",
    ],
)
def test_the_timeline_holds_the_billed_time_and_little_s_law(name: str) -> None:
    """Instances over time add up to the bill; requests in the system to rate times mean time, in every design."""
    trace = made()
    world = DEAR if "token" in name else WORLD
    held = world.held(trace)
    designs = standard_designs(world, sum(held) / len(held), set(trace.deadlines))
    design = next(d for d in designs if d.name == name)
    horizon = 3 * 86_400.0
    line = timeline(trace, design, world, horizon=horizon, step=100.0)
    outcome = replay(trace, design, world, horizon=horizon)
    assert sum(line.instances) * 100.0 == pytest.approx(outcome.instance_seconds, rel=1e-6)
    answered = len(trace) - outcome.counts.get("refused", 0)
    rate = answered / horizon
    mean_in_system = sum(line.requests) * 100.0 / horizon
    assert mean_in_system == pytest.approx(rate * outcome.latency.mean, rel=1e-6)


def test_strategies_name_themselves_alone_and_together() -> None:
    """Each has a factor, waking saves on thin traffic, and repetition makes the cache save something."""
    trace = made()
    strategies = contributions(trace, TOKENS, compare(trace, TOKENS))
    found = {one.name: one.factor for one in strategies}
    assert list(found)[-3:] == ["product of the factors", "together", "token-priced"]
    assert found["sleep and wake"] < 1
    assert found["exact cache"] <= 1
    assert found["token-priced"] < 1
    assert found["together"] < found["sleep and wake"]
    alone = contributions(trace, WORLD, compare(trace, WORLD))
    assert strategies[:-1] == alone, "what cannot be deployed changes no other figure"


def test_what_is_assumed_is_shown_for_half_and_for_twice() -> None:
    """A figure that rests on an assumption says so and has a range; a measured one has none."""
    trace = made()
    for one in contributions(trace, WORLD, compare(trace, WORLD)):
        assert ("ASSUMED" in one.basis) is (one.if_half is not None) is (one.if_twice is not None)
        if one.name == "micro-batching":
            assert one.if_half is not None
            assert one.if_twice is not None
            assert one.if_half >= one.factor >= one.if_twice


def test_requests_that_share_an_invocation_share_its_price() -> None:
    """Eight together save the gateway what the domain says of one invocation against an eighth of a shared one."""
    trace = made()
    design = next(d for d in standard_designs(WORLD, 1.0, set(trace.deadlines)) if d.name == "wake for deadlines")
    alone, shared = (replay(trace, design, replace(WORLD, together=count)) for count in (1, 8))
    rates = gateway_rates(WORLD.prices)
    saved = (rates.invocation(1) - rates.invocation(8) / 8) * alone.counts["async"]
    assert alone.bill["gateway"] - shared.bill["gateway"] == pytest.approx(saved, abs=Decimal("1E-9"))


def test_the_stack_s_own_rhythm_costs_more_than_looking_all_the_time() -> None:
    """Margin, looks and the function that looks are paid for; nobody is late by either."""
    trace = made()
    design = next(d for d in standard_designs(WORLD, 1.0, set(trace.deadlines)) if d.name == "wake for deadlines")
    kept, watched = (replay(trace, design, replace(WORLD, rhythm=rhythm)) for rhythm in (True, False))
    assert kept.missed == watched.missed == 0
    assert kept.total > watched.total
    assert kept.bill["gateway"] > watched.bill["gateway"]


def test_certainty_brackets_the_plan_and_shows_the_greatest_effects() -> None:
    """The plan's own seed lies within the interval; three assumptions are shown, greatest effect first."""
    trace = made()
    outcome = replay(trace, designs_for(trace, WORLD)["wake for deadlines"], WORLD, horizon=43_200.0)
    sure = certainty(made, WORLD, outcome, horizon=43_200.0, seeds=(1, 2))
    saved = float(1 - outcome.total / (WORLD.usd_per_hour * 12))
    assert sure.low - 1e-9 <= saved <= sure.high + 1e-9
    assert 3 <= len(sure.sensitive) <= 6


def test_settings_are_toml_that_says_why(planned: Comparison) -> None:
    """Both files parse, name the instance, and give a reason with the savings."""
    trace = made()
    for outcome in planned.outcomes:
        design = next(d for d in standard_designs(TOKENS, 1.0, set(trace.deadlines)) if d.name == outcome.design)
        advice = advise(trace, planned, design, TOKENS, "ml.g5.2xlarge")
        overrides = tomllib.loads(advice.samconfig)["prod"]["deploy"]["parameters"]["parameter_overrides"]
        assert "InferRate=" in overrides
        entries = tomllib.loads(advice.models)["models"]["planned"]["deployments"]
        assert all(entry["instance_type"] == "ml.g5.2xlarge" for name, entry in entries.items() if name == "main")
        assert entries.keys() == {"provider"} if outcome.design == "by the token" else "main" in entries
        assert "below one instance that never sleeps" in advice.models.splitlines()[0]


def test_overrides_are_parameters_that_the_template_takes(planned: Comparison) -> None:
    """Every override is one of the template's parameters, with a value that its rules allow."""
    parameters = template()["Parameters"]
    trace = made()
    for design in standard_designs(TOKENS, 1.0, set(trace.deadlines)):
        advice = advise(trace, planned, design, TOKENS, "ml.g5.2xlarge")
        line = tomllib.loads(advice.samconfig)["prod"]["deploy"]["parameters"]["parameter_overrides"]
        for override in line.split():
            name, _, value = override.partition("=")
            rules = parameters[name]
            if rules["Type"] == "Number":
                assert float(value) >= rules.get("MinValue", 0)
                assert float(value) <= rules.get("MaxValue", math.inf)
            assert value in rules.get("AllowedValues", [value])
            assert re.fullmatch(rules.get("AllowedPattern", ".*"), value)


def test_pictures_are_svg_with_every_design(planned: Comparison) -> None:
    """They parse as XML, and the first two name each design."""
    trace = made()
    design = standard_designs(TOKENS, 1.0, set(trace.deadlines))[7]
    line = timeline(trace, design, TOKENS, horizon=43_200.0, step=600.0)
    for picture in (cost_by_design(planned), cost_against_p99(planned)):
        text = "".join(ET.fromstring(picture).itertext())  # noqa: S314 - our own picture
        assert all(outcome.design in text for outcome in planned.outcomes)
        assert 'width="0.0"' not in picture
    assert ET.fromstring(over_time(line, "a & b")).tag.endswith("svg")  # noqa: S314 - our own picture


def test_no_label_of_a_design_lies_on_another_or_below_the_axis(planned: Comparison) -> None:
    """Where many designs cost next to nothing their labels go upwards."""
    cheap = replace(planned, outcomes=tuple(replace(o, bill={"gateway": o.total / 1000}) for o in planned.outcomes))
    dear = replace(planned.outcomes[0], design="dear")
    picture = ET.fromstring(cost_against_p99(replace(cheap, outcomes=(dear, *cheap.outcomes))))  # noqa: S314 - our own picture
    labels = [text for text in picture.iter() if text.tag.endswith("text") and "$" in (text.text or "")]
    places = [(float(one.attrib["x"]), float(one.attrib["y"])) for one in labels if float(one.attrib["x"]) > 70]
    assert len(places) == len(planned.outcomes) + 1
    assert all(14 <= y <= 334 for _, y in places)
    assert all(a[0] != b[0] or abs(a[1] - b[1]) >= 14 for a, b in pairwise(sorted(places)))


def test_the_frontier_rises_in_time_and_falls_in_cost(planned: Comparison) -> None:
    """No design on it is both slower and dearer than another, and the cheapest is on it."""
    best = frontier(planned.outcomes)
    pairs = [(o.latency.p99, o.total) for o in best]
    assert pairs == sorted(pairs)
    assert [cost for _, cost in pairs] == sorted((cost for _, cost in pairs), reverse=True)
    assert min(planned.outcomes, key=lambda o: o.total).total == best[-1].total


def test_unknown_lengths_are_planned_by_what_others_took() -> None:
    """Before anything is seen a second is assumed; later the length that one in a hundred exceeds."""
    blind = replace(WORLD, lengths_known=False)
    expected = blind.expected(array("d", [2.0] * 150 + [40.0] * 50 + [1.0] * 10))
    assert (expected[0], expected[205]) == (1.0, 40.0)
    assert WORLD.expected(expected) is expected
