"""Described workloads, published rates, instance types side by side, and why a design is above the bound."""

import tomllib
from copy import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.advice import advise
from planner.advice_catalogue import catalogue_entries
from planner.comparison import Comparison, compare
from planner.described import read_workload
from planner.designs import standard_designs
from planner.gap import above_the_bound
from planner.instance_types import SpeedUnknownError, side_by_side, speed_by_shape
from planner.opening import TraceError
from planner.outcome import Outcome
from planner.rates import names, only, read_rates
from planner.strategies import Assumptions, contributions
from planner.tiers import small_speed
from planner.trace import Trace
from planner.workload import ClassMix, Workload, draw_deadlines
from planner.world import World, price_book
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import BatchPolicy, InferenceType, Model, Tier, Timing
from tollgate.domain.errors import PriceUnknownError

WORLD = World.of("ml.g5.2xlarge")
PRICED = "meta.llama3-1-8b-instruct-v1:0"
TOKENS = replace(WORLD, tokens=price_book().tokens[PRICED].rates, token_model=PRICED)


def made(mix: ClassMix = ClassMix(), rate: float = 200.0) -> Trace:  # noqa: B008 - frozen
    trace = Workload([rate, 0.0, 0.0], hours=12.0, burstiness=2.0, repeated=0.3).trace(7)
    draw_deadlines(trace, mix, 1)
    return trace


def test_a_described_workload_makes_its_requests(tmp_path: Path) -> None:
    """Rates by the hour, days and sizes are what the trace then has."""
    path = tmp_path / "workload.toml"
    path.write_text("requests_per_hour = [0, 120]\ndays = 2\ninput_tokens = 500\noutput_tokens = 50\n")
    trace = read_workload(path).trace(3)
    assert 2_500 < len(trace) < 3_260
    assert all(arrival % 7_200 >= 3_600 for arrival in trace.arrivals)
    assert sum(trace.input_tokens) / len(trace) == pytest.approx(500, rel=0.1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("requests_per_hour = -1", "none below 0"),
        ("requests_per_hour = []", "none below 0"),
        ("days = 2", "none below 0"),
        ("requests_per_hour = true", "none below 0"),
        ("requests_per_hour = 5\ndays = 0", "days wants"),
        ("requests_per_hour = 5\nspeed = 3", "'speed' is not known"),
        ("requests_per_hour = 1e9", "can be planned"),
        ("requests_per_hour = ", "workload.toml"),
    ],
)
def test_a_workload_that_makes_no_sense_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    """Each mistake is named."""
    path = tmp_path / "workload.toml"
    path.write_text(text)
    with pytest.raises(TraceError, match=reason):
        read_workload(path)


def test_rates_become_requests_and_are_thinned_where_they_are_too_many(tmp_path: Path) -> None:
    """Two workloads keep their shares; what cannot be read is counted; one alone is thinned less."""
    path = tmp_path / "rates.csv"
    path.write_text("workload,t_s,requests_per_s\na,0,900\nb,600,300\na,600,x\n")
    rates = read_rates(path)
    assert rates is not None
    assert rates.share == pytest.approx(300_000 / 720_000)
    assert list(names(rates)) == ["a", "b"]
    assert only(rates, "b").share == 1.0
    small = replace(rates, share=rates.share / 100)
    trace = small.trace(1)
    assert trace.malformed == {"rate is not a number of 0 or more": 1}
    assert len(trace) == pytest.approx(3_000, rel=0.1)
    assert trace.groups.tolist().count(0) == pytest.approx(3 * trace.groups.tolist().count(1), rel=0.2)
    assert trace.arrivals.tolist() == sorted(trace.arrivals) == small.trace(1).arrivals.tolist()


def test_days_and_hours_are_read_and_requests_are_left_to_the_other_reader(tmp_path: Path) -> None:
    """Tokens of a day are shared by its requests; a file with requests is no file of rates."""
    days, hours, other = (tmp_path / name for name in ("daily.csv", "hours.csv", "trace.csv"))
    days.write_text("day,requests,tokens\n0,1000,800000\n")
    hours.write_text("hour,requests_per_hour\n0,10\n5,0\n6,100\n")
    other.write_text("t_s,input_tokens,output_tokens\n1,2,3\n")
    by_day, by_hour = read_rates(days), read_rates(hours)
    assert by_day is not None
    assert by_hour is not None
    assert by_day.trace(1).tokens / len(by_day.trace(1)) == pytest.approx(800, rel=0.1)
    assert all(a < 3_600 or 21_600 <= a < 25_200 for a in by_hour.trace(1).arrivals)
    assert read_rates(other) is None
    days.write_text("day,requests,tokens\n0,0,0\n")
    with pytest.raises(TraceError, match="above 0"):
        read_rates(days)


def test_a_faster_type_for_less_is_cheaper_and_prices_are_the_book_s() -> None:
    """The planned type comes first; speed is the given one, or that of the data sheets, and says which."""
    trace = made()
    found = side_by_side(
        trace,
        WORLD,
        "ml.g5.2xlarge",
        "us-east-1",
        {"ml.g6.2xlarge": None, "ml.g4dn.2xlarge": 0.5},
        horizon=43_200.0,
    )
    assert [one.instance_type for one in found] == ["ml.g5.2xlarge", "ml.g6.2xlarge", "ml.g4dn.2xlarge"]
    assert [one.measured for one in found] == [True, False, True]
    first, second, third = found
    assert first.always_on == WORLD.usd_per_hour * 12
    assert first.total is not None
    assert second.total is not None
    assert second.speed > 1
    assert second.total < first.total
    assert third.speed == 0.5


def test_types_that_cannot_be_compared_want_a_speed() -> None:
    """A GPU against processors, or an unlisted type, has no speed by data sheet; processors go by their number."""
    assert speed_by_shape("ml.c5.xlarge", "ml.c5.2xlarge") == 2.0
    with pytest.raises(SpeedUnknownError, match=r"ml\.c5\.xlarge"):
        speed_by_shape("ml.g5.2xlarge", "ml.c5.xlarge")
    with pytest.raises(PriceUnknownError):
        side_by_side(made(), WORLD, "ml.g5.2xlarge", "us-east-1", {"ml.none.large": 1.0}, horizon=3_600.0)


@given(st.sampled_from([WORLD, TOKENS]), st.floats(5, 100), st.sampled_from([ClassMix(), ClassMix(0.2, 0.4, 0.4)]))
@settings(max_examples=6, deadline=None)
def test_the_reasons_add_up_to_the_distance_from_the_bound(world: World, rate: float, mix: ClassMix) -> None:
    """For every design of the gateway in time the parts are exactly what its bill has above the bound."""
    comparison = compare(made(mix, rate), world)
    for outcome in comparison.outcomes:
        reasons = above_the_bound(comparison, outcome)
        assert sum((one.usd for one in reasons), Decimal(0)) == outcome.total - comparison.bounds_of(outcome).least
        assert reasons[-2].usd >= -Decimal("0.000001")
        assert reasons[-1].usd >= -Decimal("0.000001")
        watched = comparison.watched.get(outcome.design)
        assert reasons[0].text.startswith("the rhythm") is (watched is not None)
        assert watched is None or reasons[0].usd == outcome.total - watched.total


def test_with_a_provider_the_cheapest_is_recommended() -> None:
    """Thin traffic is paid by the token, and what waits first is no dearer than what `route` decides alone."""
    comparison = compare(made(), TOKENS)
    assert comparison.recommended is not None
    assert comparison.recommended.counts["tokens"]
    assert comparison.bounds_of(comparison.recommended) is comparison.token_bounds


def test_what_waits_for_a_provider_is_written_as_settings() -> None:
    """The entries name the deployment that it is handed on to, and are a catalogue."""
    trace = made(rate=200.0)
    comparison = compare(trace, TOKENS)
    design = next(d for d in standard_designs(TOKENS, 1.0, set(trace.deadlines)) if d.name == "wake or tokens")
    text = catalogue_entries(trace, design, _outcome_of(comparison, design.name), TOKENS, "ml.g5.2xlarge")
    found = tomllib.loads("\n".join(text))["models"]["planned"]["deployments"]
    assert found["main"]["sleep"] == {"gather": True, "idle_minutes": 0, "hand_on_to": "provider"}
    assert found["main"]["async"]["utilisation"] == "0.50"
    read_catalogue("\n".join(text), price_book(), region="us-east-1", architecture="arm64", version=1)


def _outcome_of(comparison: Comparison, design: str) -> Outcome:
    return next(outcome for outcome in comparison.outcomes if outcome.design == design)


def test_without_a_provider_nothing_is_paid_by_the_token() -> None:
    """An owner who names no model gets instances, and their bound."""
    comparison = compare(made(), WORLD)
    assert comparison.token_bounds is None
    assert comparison.recommended is not None
    assert not any(outcome.counts.get("tokens") for outcome in comparison.outcomes)


def test_where_nothing_is_in_time_the_fewest_missed_is_the_best() -> None:
    """Deadlines that nobody meets leave no recommendation, and the best is the design that missed the fewest."""
    trace = made()
    for position in range(len(trace)):
        trace.deadlines[position] = 0.01
    comparison = compare(trace, WORLD)
    assert comparison.recommended is None
    assert comparison.best.missed == min(outcome.missed for outcome in comparison.outcomes)


@pytest.mark.parametrize(("model", "provider"), [(PRICED, "bedrock"), ("gpt-4o-mini", "openai_http")])
def test_the_settings_name_the_provider_that_has_the_model(model: str, provider: str) -> None:
    """Ids with a maker's name in front are Bedrock's; the others are called over HTTP, at an address to fill in."""
    trace, world = made(), replace(TOKENS, token_model=model)
    comparison = compare(trace, world)
    design = next(d for d in standard_designs(world, 1.0, set(trace.deadlines)) if d.name == "by the token")
    text = advise(trace, comparison, design, world, "ml.g5.2xlarge").models
    entry = tomllib.loads(text)["models"]["planned"]["deployments"]["provider"]["tokens"]
    assert (entry["provider"], entry["model"]) == (provider, model)
    assert ("url" in entry) == (provider == "openai_http")
    assert entry["max_output_tokens"] == max(trace.output_tokens)
    read_catalogue(text, price_book(), region="us-east-1", architecture="arm64", version=1)


def test_processes_share_the_work_and_change_nothing() -> None:
    """Two processes find what one finds, and each design and each of the two bounds is reported once."""
    trace = made()
    shared: list[tuple[int, int]] = []
    alone: list[tuple[int, int]] = []
    found = compare(trace, TOKENS, processes=2, progress=lambda *done: shared.append(done))
    assert found == compare(trace, TOKENS, progress=lambda *done: alone.append(done))
    steps = len(found.outcomes) + 2
    assert sorted(shared) == alone == [(done, steps) for done in range(1, steps + 1)]


@pytest.mark.parametrize("mix", [ClassMix(), ClassMix(0.3, 0.3, 0.4)])
def test_the_recommended_models_are_a_catalogue(mix: ClassMix) -> None:
    """`tollgate models apply` reads the entries of every design as they are, with the roads that the design uses."""
    trace = made(mix)
    comparison = compare(trace, TOKENS)
    for outcome in comparison.outcomes:
        design = next(d for d in standard_designs(TOKENS, 1.0, set(trace.deadlines)) if d.name == outcome.design)
        text = advise(trace, comparison, design, TOKENS, "ml.g5.2xlarge").models
        catalogue = read_catalogue(text, price_book(), region="us-east-1", architecture="arm64", version=1)
        deployments = [deployment for model in catalogue.models.values() for deployment in model.deployments]
        roads = {road for deployment in deployments if deployment.tokens is None for road in deployment.roads}
        used = {road for road in InferenceType if outcome.counts.get(road.value)}
        assert used <= roads
        paid = any(deployment.tokens is not None for deployment in deployments)
        assert paid == (design.by_token and outcome.counts.get("tokens", 0) > 0)
        if design.cache_ttl:
            cache = tomllib.loads(text)["models"]["planned"]["cache"]
            assert cache == {"ttl_seconds": int(design.cache_ttl)}


def test_strategies_take_from_the_trace_what_it_shows() -> None:
    """Short inputs alone get the smaller model's speed, long ones alone are cut, and each figure says so."""
    trace = made()
    comparison = compare(trace, WORLD)
    nobody = Assumptions(trim_to=10_000_000, small_tokens=0)
    found = {one.name: one for one in contributions(trace, WORLD, comparison, nobody)}
    assert found["tiering"].factor == found["trimming"].factor == 1
    assert found["tiering"].basis.startswith("measured: 0%")
    everybody = Assumptions(trim_to=1, small_tokens=10_000_000, small_speed=5.0, speed_basis="catalogue")
    found = {one.name: one for one in contributions(trace, WORLD, comparison, everybody)}
    assert found["tiering"].factor < 1
    assert found["trimming"].factor < 1
    assert "measured: 100%" in found["tiering"].basis
    assert "catalogue" in found["tiering"].basis
    assert "repeat an earlier one whole" in found["exact cache"].basis
    assert found["spot instances"].factor == 1


def test_the_smallest_tier_s_speed_comes_from_the_catalogue() -> None:
    """Five times the seconds for each token is nearly five times the time; one tier alone tells nothing."""
    model: Model = WORLD.model(BatchPolicy())
    large = replace(model.deployments[0], tier=Tier.LARGE, timing=Timing(0.2, 0.0005, 0.1))
    speed = small_speed(replace(model, deployments=(large, model.deployments[0])), made())
    assert speed is not None
    assert 4 < speed < 5
    assert small_speed(model, made()) is None
