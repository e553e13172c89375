"""How signals become a level: twice, late, out of order, dismissed, and from one period to the next."""

from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.examples import make_catalogue
from tollgate.domain.brakes.braking import braked
from tollgate.domain.brakes.level import (
    NO_CONTROL,
    BrakeLevel,
    BrakePolicy,
    BrakeStep,
    Control,
    Signal,
    dismissed,
    heard,
    lowered,
    raised,
    stops,
)
from tollgate.domain.brakes.plan import GATEWAY, brake_plan, saving
from tollgate.domain.catalogue import Catalogue, Tier
from tollgate.domain.places.standing import Place, PlaceKind, Standing, StandStatus

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MONTH_END = datetime(2026, 4, 1, tzinfo=UTC)
LEVELS = (BrakeLevel.WARN, BrakeLevel.DOWNGRADE, BrakeLevel.DEFER, BrakeLevel.STOP)
POLICY = BrakePolicy(
    steps=tuple(BrakeStep(Decimal(p), level) for p, level in zip((80, 90, 95, 100), LEVELS, strict=True)),
    alarms=(("billing-*", BrakeLevel.STOP),),
)


def _signal(level: BrakeLevel, *, minutes: float = 0, cause: str = "budget:b", **changes: object) -> Signal:
    signal = Signal(cause, level, NOW + timedelta(minutes=minutes), MONTH_END, "because")
    return replace(signal, **changes)  # type: ignore[arg-type]  # names and values are the tests' own


def _after(*signals: Signal, control: Control = NO_CONTROL, now: datetime = NOW) -> Control:
    for signal in signals:
        control = raised(heard(control, signal, now), now, "episode")
    return control


@pytest.mark.parametrize(
    ("percent", "level"), [("79.99", 0), ("80", 1), ("90", 2), ("94.9", 2), ("95", 3), ("100", 4), ("250", 4)]
)
def test_percent_becomes_a_level(percent: str, level: int) -> None:
    """From each step on."""
    assert POLICY.level_at(Decimal(percent)) == level


def test_the_same_signal_twice_changes_nothing() -> None:
    """Not even the object."""
    control = _after(_signal(BrakeLevel.DEFER))
    assert heard(control, _signal(BrakeLevel.DEFER), NOW) is control
    assert heard(control, _signal(BrakeLevel.DEFER, minutes=5), NOW) is control


@given(order=st.permutations(LEVELS))
def test_the_order_of_a_budgets_alerts_does_not_matter(order: list[BrakeLevel]) -> None:
    """The furthest one holds."""
    control = _after(*(_signal(level, minutes=n) for n, level in enumerate(order)))
    assert control.level is BrakeLevel.STOP
    assert control.until == MONTH_END


def test_an_alert_of_a_period_that_is_over_is_not_heard() -> None:
    """It may be delivered days late."""
    control = heard(NO_CONTROL, _signal(BrakeLevel.STOP), MONTH_END)
    assert control is NO_CONTROL


def test_an_alarm_lets_go_by_itself_and_an_older_message_does_not_bring_it_back() -> None:
    """The newest state of a CloudWatch alarm counts, in whatever order they come."""
    alarm = _signal(BrakeLevel.STOP, minutes=1, cause="alarm:a", until=None, is_state=True)
    fine = replace(alarm, level=BrakeLevel.NONE, observed_at=NOW + timedelta(minutes=3))
    control = _after(alarm, fine)
    assert control.wanted(NOW) is BrakeLevel.NONE
    assert _after(replace(alarm, observed_at=NOW + timedelta(minutes=2)), control=control) == control
    assert _after(fine, alarm).level is BrakeLevel.NONE


def test_the_strongest_cause_decides_and_the_others_remain() -> None:
    """When it ends, the next one holds."""
    short = _signal(BrakeLevel.STOP, cause="ledger:day", until=NOW + timedelta(hours=12))
    control = _after(_signal(BrakeLevel.WARN), short)
    assert control.level is BrakeLevel.STOP
    later = lowered(control, NOW + timedelta(hours=13))
    assert later.level is BrakeLevel.WARN
    assert set(later.causes) == {"budget:b"}


def test_of_causes_that_are_as_strong_the_one_that_lasts_longest_is_told() -> None:
    """What has no end lasts longest; what is weaker is not told at all."""
    day, month, ever = NOW + timedelta(days=1), MONTH_END, None
    for ends in ((day, month), (month, day), (ever, month), (month, ever)):
        causes = [_signal(BrakeLevel.DEFER, cause=str(end), until=end, reason=str(end)) for end in ends]
        weaker = _signal(BrakeLevel.WARN, cause="weaker", until=None)
        control = NO_CONTROL
        for signal in (*causes, weaker):
            control = heard(control, signal, NOW)
        longest = ever if ever in ends else month
        braking = raised(control, NOW, "episode")
        assert (braking.level, braking.until, braking.reason) == (BrakeLevel.DEFER, longest, str(longest))
        assert braking.since == NOW


def test_a_level_is_only_lowered_when_less_is_wanted() -> None:
    """With the reason and the end of what is left; otherwise the record stays the same object."""
    short = _signal(BrakeLevel.STOP, cause="ledger:day", until=NOW + timedelta(hours=12), reason="the day")
    control = _after(_signal(BrakeLevel.WARN), short)
    assert lowered(control, NOW) is control
    assert lowered(replace(control, level=BrakeLevel.DEFER), NOW).level is BrakeLevel.DEFER
    then = NOW + timedelta(hours=13)
    later = lowered(control, then)
    assert (later.reason, later.until, later.since) == ("because", MONTH_END, then)
    free = lowered(later, MONTH_END)
    assert (free.level, free.reason, free.until, free.causes) == (BrakeLevel.NONE, "", None, {})


def test_a_resume_forgets_what_is_over() -> None:
    """And dismisses the rest."""
    short = _signal(BrakeLevel.STOP, cause="ledger:day", until=NOW + timedelta(hours=12))
    control = dismissed(_after(_signal(BrakeLevel.WARN), short), NOW + timedelta(hours=12))
    assert {name: cause.dismissed for name, cause in control.causes.items()} == {"budget:b": True}


def test_budgets_and_levels_are_known_by_name() -> None:
    """One of the patterns is enough; a level that nobody knows is refused."""
    policy = replace(POLICY, budgets=("prod-*", "team"))
    assert [policy.hears_budget(name) for name in ("prod-1", "team", "test")] == [True, True, False]
    assert [BrakeLevel.of(level.word) for level in BrakeLevel] == list(BrakeLevel)
    with pytest.raises(ValueError, match="'more' is no brake level"):
        BrakeLevel.of("more")


def test_after_a_resume_only_more_brakes_again() -> None:
    """The same alert does not; a higher one does, and so does the next period."""
    control = lowered(dismissed(_after(_signal(BrakeLevel.DEFER)), NOW), NOW)
    assert control.level is BrakeLevel.NONE
    assert _after(_signal(BrakeLevel.DEFER, minutes=9), control=control).level is BrakeLevel.NONE
    assert _after(_signal(BrakeLevel.STOP, minutes=9), control=control).level is BrakeLevel.STOP
    april = _signal(BrakeLevel.WARN, minutes=60 * 24 * 25, until=datetime(2026, 5, 1, tzinfo=UTC))
    assert _after(april, control=control, now=april.observed_at).level is BrakeLevel.WARN


def test_an_alarm_that_comes_back_after_a_resume_brakes_again() -> None:
    """It was fine in between."""
    alarm = _signal(BrakeLevel.STOP, cause="alarm:a", until=None, is_state=True)
    control = lowered(dismissed(_after(alarm), NOW), NOW)
    fine = replace(alarm, level=BrakeLevel.NONE, observed_at=NOW + timedelta(minutes=1))
    again = replace(alarm, observed_at=NOW + timedelta(minutes=2))
    assert _after(fine, again, control=control).level is BrakeLevel.STOP


SIGNALS = st.builds(
    _signal,
    st.sampled_from(BrakeLevel),
    minutes=st.integers(0, 50),
    cause=st.sampled_from(["a", "b"]),
    until=st.sampled_from([None, NOW + timedelta(minutes=30), MONTH_END]),
    is_state=st.booleans(),
)


@given(signals=st.lists(SIGNALS, max_size=12), repeat=st.integers(0, 11))
def test_a_repeated_signal_never_changes_the_record(signals: list[Signal], repeat: int) -> None:
    """Whatever was heard since of other causes."""
    control = _after(*signals)
    if repeat < len(signals):
        last = {signal.cause: signal for signal in signals}
        signal = last.get(signals[repeat].cause)
        assert signal is not None
        assert heard(control, signal, NOW) == control


@given(signals=st.lists(SIGNALS, max_size=12), later=st.integers(0, 60))
def test_a_level_is_raised_to_what_is_wanted_and_never_above_its_causes(signals: list[Signal], later: int) -> None:
    """And when all causes are over or dismissed, nothing is left of it."""
    control = _after(*signals)
    assert control.level >= control.wanted(NOW)
    assert control.level <= max((s.level for s in signals), default=BrakeLevel.NONE)
    then = NOW + timedelta(minutes=later)
    assert lowered(control, then).level == min(control.level, control.wanted(then))
    assert lowered(dismissed(control, then), then).level is BrakeLevel.NONE


def _catalogue(*, critical: frozenset[str] = frozenset()) -> Catalogue:
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    (small,) = model.deployments
    large = replace(small, name="large", tier=Tier.LARGE)
    model = replace(model, deployments=(small, large))
    return replace(catalogue, models={"echo": model}, brakes=replace(POLICY, critical=critical))


def test_levels_mean_more_and_more_for_a_request() -> None:
    """Warned: nothing; then the smallest tier, one road down, and nothing at all."""
    model = _catalogue().models["echo"]
    assert braked(model, BrakeLevel.WARN, POLICY)[1].reason == ""
    downgraded = braked(model, BrakeLevel.DOWNGRADE, POLICY)[1]
    assert (downgraded.downgrade, downgraded.defer, downgraded.reason) == (True, False, ";brake=downgrade")
    assert braked(model, BrakeLevel.DEFER, POLICY)[1].defer
    assert braked(model, BrakeLevel.STOP, POLICY)[0] is None


def test_what_is_critical_goes_on() -> None:
    """A critical model untouched; of a mixed one, its critical deployment is left at the stop."""
    model = _catalogue().models["echo"]
    whole, mixed = replace(POLICY, critical=frozenset({"echo"})), replace(POLICY, critical=frozenset({"echo/large"}))
    for level in BrakeLevel:
        found, pressure = braked(model, level, whole)
        assert found is model
        assert pressure.reason == ""
    left = braked(model, BrakeLevel.STOP, mixed)[0]
    assert left is not None
    assert [d.name for d in left.deployments] == ["large"]
    catalogue = _catalogue(critical=frozenset({"echo/large"}))
    assert stops(BrakeLevel.STOP, catalogue, "echo/small")
    assert not stops(BrakeLevel.STOP, catalogue, "echo/large")
    assert not stops(BrakeLevel.DEFER, catalogue, "echo/small")


def test_the_plan_names_each_place_once_with_what_it_saves() -> None:
    """An endpoint that several deployments share is taken down once, and not at all when one of them is critical."""
    catalogue = _catalogue()
    steps = brake_plan(catalogue, BrakeLevel.STOP)
    assert [s.target for s in steps if s.target == GATEWAY] == [GATEWAY] * 4
    places = [s for s in steps if s.target != GATEWAY]
    assert len({s.target for s in places}) == len(places) == 3
    assert saving(steps) == Decimal("0.230")  # one real-time and one asynchronous instance
    assert brake_plan(catalogue, BrakeLevel.DEFER) == steps[:3]
    exempt = brake_plan(_catalogue(critical=frozenset({"echo/large"})), BrakeLevel.STOP)
    assert all(s.exempt == "critical: echo/large" for s in exempt if s.target != GATEWAY)
    assert saving(exempt) == 0


def test_a_deployment_without_traffic_makes_no_model_ordinary_and_keeps_none_going() -> None:
    """Only those that get requests say whether a model is critical; at a stop no other one takes its place."""
    model = _catalogue().models["echo"]
    small, large = model.deployments
    model = replace(model, deployments=(replace(small, weight=0), large))
    assert braked(model, BrakeLevel.STOP, replace(POLICY, critical=frozenset({"echo/large"})))[0] is model
    assert braked(model, BrakeLevel.STOP, replace(POLICY, critical=frozenset({"echo/small"})))[0] is None


def test_what_an_unpriced_place_saves_is_not_known() -> None:
    """So it adds nothing to the sum."""
    catalogue = _catalogue()
    model = catalogue.models["echo"]
    deployments = tuple(
        replace(d, roads={kind: replace(road, usd_per_hour=None) for kind, road in d.roads.items()})
        for d in model.deployments
    )
    steps = brake_plan(replace(catalogue, models={"echo": replace(model, deployments=deployments)}), BrakeLevel.STOP)
    assert {s.usd_per_hour for s in steps if s.target != GATEWAY} == {None}
    assert saving(steps) == 0


def test_the_plan_counts_what_really_runs() -> None:
    """Transform jobs that are running now, and nothing for an endpoint that is down already."""
    batch, later = Place(PlaceKind.BATCH, "tollgate-echo"), Place(PlaceKind.ASYNC, "tollgate-echo-async")
    standing = {
        batch: Standing(batch, StandStatus.UP, jobs=("one", "two")),
        later: Standing(later, StandStatus.DOWN),
    }
    steps = {s.target: s.usd_per_hour for s in brake_plan(_catalogue(), BrakeLevel.STOP, standing)}
    assert steps[batch.key] == Decimal("0.230")
    assert steps[later.key] == 0
