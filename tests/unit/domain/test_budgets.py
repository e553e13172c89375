"""Budgets as values: which apply, when their periods end, how much they allow, how much is reserved."""

from copy import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.examples import PRICES, make_catalogue
from tollgate.domain.budgets.budget import (
    EACH,
    Budget,
    BudgetAction,
    BudgetPeriod,
    ScopeKind,
    Spender,
    Threshold,
    applied_budgets,
    period_end,
    period_start,
)
from tollgate.domain.budgets.ledger import Hold, Reservation, WorkflowCall, own_slot, shared_slot, slot_expiry
from tollgate.domain.budgets.pressure import Pressure, deferred, downgraded, pressure_of, thresholds_crossed
from tollgate.domain.budgets.reserving import Ask, asks_for, file_ask, reservation_parts
from tollgate.domain.catalogue import InferenceType, Priority, Timing
from tollgate.domain.costs.gateway_parts import drop_usage, gateway_rates
from tollgate.domain.costs.pricing import gateway_cost
from tollgate.domain.costs.settlement import settle
from tollgate.domain.errors import CapacityError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import seconds, usd
from tollgate.domain.roads.capacity import Capacity
from tollgate.domain.roads.estimates import RequestSize, RoadEstimates

_NOW = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_SPENDER = Spender("acme", "key_1", "search", "echo", "run")
_CALENDAR = [BudgetPeriod.HOUR, BudgetPeriod.DAY, BudgetPeriod.MONTH]


def _budget(kind: ScopeKind, subject: str = EACH, period: BudgetPeriod = BudgetPeriod.DAY) -> Budget:
    return Budget(kind, "" if kind is ScopeKind.GATEWAY else subject, period, Decimal(1))


@pytest.mark.parametrize("period", _CALENDAR)
def test_periods_end_with_the_year(period: BudgetPeriod) -> None:
    """The last microsecond belongs to the old one, the next to the new one."""
    end = period_end(period, _NOW)
    assert end == datetime(2027, 1, 1, tzinfo=UTC)
    assert period_start(period, _NOW) != period_start(period, _NOW + timedelta(microseconds=1))


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2099, 1, 1)), st.sampled_from(_CALENDAR))  # noqa: DTZ001 -- hypothesis wants naive bounds
def test_a_moment_is_in_the_period_that_ends_next(moment: datetime, period: BudgetPeriod) -> None:
    """Whatever zone it is told in."""
    now = moment.replace(tzinfo=UTC)
    end = period_end(period, now)
    assert end is not None
    assert now < end
    assert period_start(period, end - timedelta(microseconds=1)) == period_start(period, now)
    assert period_start(period, end) != period_start(period, now)
    assert period_end(period, now.astimezone(timezone(timedelta(hours=13)))) == end


def test_counters_are_apart_by_scope_period_and_tenant() -> None:
    """No two budgets share one; a team or run of the same name in another tenant is another one."""
    budgets = [_budget(kind, period=period) for kind in ScopeKind for period in BudgetPeriod]
    names = [a.counter for a in applied_budgets(budgets, _SPENDER, _NOW) if a.counter]
    assert len(names) == len(set(names)) == 5 * 4
    others = {a.counter for a in applied_budgets(budgets, _SPENDER._replace(tenant="other"), _NOW)}
    assert {name.split(":", maxsplit=1)[0] for name in set(names) - others} == {"team", "workflow"}


def test_only_what_the_request_is_about_applies() -> None:
    """Without a team or a run, their budgets say nothing."""
    budgets = [_budget(ScopeKind.TEAM), _budget(ScopeKind.WORKFLOW), _budget(ScopeKind.KEY, "key_2")]
    assert applied_budgets(budgets, Spender("acme", "key_1", "", "echo"), _NOW) == ()


def test_what_is_about_others_is_passed_over() -> None:
    """A budget of another key, team or model, wherever it stands in the catalogue, and none after it is forgotten."""
    named = {ScopeKind.KEY: "key_1", ScopeKind.TEAM: "search", ScopeKind.MODEL: "echo"}
    budgets = [_budget(kind, subject) for kind, own in named.items() for subject in ("another", own)]
    applied = applied_budgets(budgets, _SPENDER, _NOW)
    assert {each.budget.kind: each.budget.subject for each in applied} == named


def test_a_limit_of_one_request_counts_nowhere() -> None:
    """It has no counter and no end."""
    (applied,) = applied_budgets([_budget(ScopeKind.KEY, period=BudgetPeriod.REQUEST)], _SPENDER, _NOW)
    assert (applied.counter, applied.ends_at) == ("", None)


@pytest.mark.parametrize("order", [1, -1])
def test_the_named_one_wins_in_either_order(order: int) -> None:
    """Of two for the same kind and period."""
    budgets = [_budget(ScopeKind.KEY), _budget(ScopeKind.KEY, "key_1")][::order]
    (applied,) = applied_budgets(budgets, _SPENDER, _NOW)
    assert applied.budget.subject == "key_1"


def test_a_raise_and_an_early_block_move_the_ceiling() -> None:
    """The raise only until its end."""
    block = (Threshold(Decimal(50), BudgetAction.BLOCK),)
    budget = _budget(ScopeKind.GATEWAY)._replace(raise_usd=Decimal(3), raise_until=_NOW, thresholds=block)
    assert budget.ceiling_at(_NOW - timedelta(seconds=1)) == 2
    assert budget.ceiling_at(_NOW) == Decimal("0.5")
    assert budget.limit_at(_NOW) == 1
    over = (Threshold(Decimal(150), BudgetAction.BLOCK), Threshold(Decimal(10), BudgetAction.WARN))
    assert budget._replace(thresholds=over).ceiling_at(_NOW) == 1


def test_a_budget_of_calls_has_no_ceiling_in_dollars() -> None:
    """Whatever is raised, and whatever blocks."""
    block = (Threshold(Decimal(50), BudgetAction.BLOCK),)
    budget = _budget(ScopeKind.GATEWAY)._replace(
        limit_usd=None, raise_usd=Decimal(3), raise_until=_NOW + timedelta(days=1), thresholds=block
    )
    assert budget.limit_at(_NOW) is None
    assert budget.ceiling_at(_NOW) is None


def test_thresholds_are_crossed_at_their_percent() -> None:
    """Lowest first; none without a limit."""
    thresholds = (Threshold(Decimal(90), BudgetAction.DEFER), Threshold(Decimal(50), BudgetAction.WARN))
    budget = _budget(ScopeKind.GATEWAY)._replace(thresholds=thresholds)
    assert thresholds_crossed(budget, Decimal("0.49"), _NOW) == ()
    assert [t.at_percent for t in thresholds_crossed(budget, Decimal("0.9"), _NOW)] == [50, 90]
    assert thresholds_crossed(budget._replace(limit_usd=None), Decimal(9), _NOW) == ()


@pytest.mark.parametrize(
    ("crossed", "shadow", "expected", "reason"),
    [
        ({BudgetAction.WARN, BudgetAction.BLOCK}, False, Pressure(), ""),
        ({BudgetAction.DOWNGRADE}, False, Pressure(downgrade=True), ";budget=downgrade"),
        ({BudgetAction.DEFER}, False, Pressure(defer=True), ";budget=defer"),
        (
            {BudgetAction.DEFER, BudgetAction.DOWNGRADE},
            False,
            Pressure(downgrade=True, defer=True),
            ";budget=downgrade;budget=defer",
        ),
        ({BudgetAction.DEFER, BudgetAction.DOWNGRADE}, True, Pressure(), ""),
    ],
)
def test_thresholds_press_as_they_say(
    crossed: set[BudgetAction], shadow: bool, expected: Pressure, reason: str
) -> None:
    """Those of all budgets together; one in shadow mode asks for nothing."""
    budget = _budget(ScopeKind.GATEWAY)._replace(shadow=shadow)
    pressure = pressure_of([(budget, [Threshold(Decimal(50), action)]) for action in crossed])
    assert (pressure, pressure.reason) == (expected, reason)


def test_batch_cannot_be_deferred_further() -> None:
    """The other two go down by one road."""
    assert [deferred(p) for p in Priority] == [Priority.MEDIUM, Priority.LOW, Priority.LOW]


def test_a_model_without_traffic_cannot_be_downgraded() -> None:
    """The same error as routing's."""
    model = make_catalogue().models["echo"]
    with pytest.raises(CapacityError):
        downgraded(replace(model, deployments=tuple(replace(d, weight=0) for d in model.deployments)))


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2099, 1, 1)))  # noqa: DTZ001 -- as above
def test_a_slot_runs_out_no_earlier_than_its_lease(moment: datetime) -> None:
    """A real-time one within the minute, a job's at the next midnight."""
    lease = moment.replace(tzinfo=UTC)
    own, shared = slot_expiry(own_slot("inf_1", lease)), slot_expiry(shared_slot(lease))
    assert lease <= own < lease + timedelta(minutes=1)
    assert lease < shared <= lease + timedelta(days=1)


def _asks(inference_type: InferenceType, *, limit_seconds: float = 27.5, **road_changes: Any) -> tuple[Ask, ...]:
    model = make_catalogue(**road_changes).models["echo"]
    deployment = model.deployments[0]
    estimates = RoadEstimates(RequestSize(100, 10), model, deployment, Capacity(), PRICES)
    return asks_for(
        estimates[inference_type],
        deployment.roads[inference_type],
        model,
        gateway_rates(PRICES),
        limit_seconds=limit_seconds,
        memory_gb=Decimal("0.25"),
        body_bytes=100,
    )


@given(held=st.floats(0.0, 28.0), elapsed=st.floats(0.0, 1.5))
def test_a_call_that_is_cut_costs_no_more_than_was_reserved(held: float, elapsed: float) -> None:
    """For each amount that may be reserved, and every time that a call may then take."""
    model = make_catalogue().models["echo"]
    road = model.deployments[0].roads[InferenceType.REALTIME]
    rates = gateway_rates(PRICES)
    for ask in _asks(InferenceType.REALTIME):
        assert ask.seconds is not None
        time = min(held, ask.seconds)
        own = rates.realtime(seconds(time + elapsed) * Decimal("0.25"))
        cost = settle(model, model.deployments[0], road, held_seconds=seconds(time), usage=Usage(), gateway=own)
        assert cost.effective is not None
        assert cost.effective <= ask.amount


def test_the_estimate_is_generous_and_clamped() -> None:
    """Four times the mean, at least a second more, never above the time limit."""
    full, tight = _asks(InferenceType.REALTIME)
    assert (full.seconds, tight.seconds) == (27.5, 2.0)
    assert _asks(InferenceType.REALTIME, limit_seconds=1.0)[-1].seconds == 1.0
    assert [a.seconds for a in _asks(InferenceType.ASYNC)] == [600.0, 30.5]
    assert [a.seconds for a in _asks(InferenceType.BATCH)] == [None]


@pytest.mark.parametrize("road", [InferenceType.ASYNC, InferenceType.BATCH])
def test_an_unpriced_road_reserves_its_ceiling(road: InferenceType) -> None:
    """Nothing can cut that, and nobody knows whether it can cost more; without a ceiling only the gateway's parts."""
    (ask,) = _asks(road, usd_per_hour=None, ceiling_usd=Decimal("0.5"))
    assert Decimal("0.5") < ask.amount < Decimal("0.501")
    (without,) = _asks(road, usd_per_hour=None)
    assert ask == Ask(without.amount + Decimal("0.5"))


def test_a_batch_record_reserves_four_times_what_it_is_expected_to_cost() -> None:
    """On top of the gateway's parts."""
    (ask,) = _asks(InferenceType.BATCH)
    model = make_catalogue().models["echo"]
    estimate = RoadEstimates(RequestSize(100, 10), model, model.deployments[0], Capacity(), PRICES)[InferenceType.BATCH]
    assert estimate.loaded_cost is not None
    parts = gateway_rates(PRICES).expected(InferenceType.BATCH, 100, estimate.held_seconds)
    assert ask == Ask(usd(estimate.loaded_cost * 4 + parts))


@pytest.mark.parametrize(("records", "files"), [(0, 1), (50, 1), (51, 2), (120, 3)])
def test_a_dropped_file_reserves_four_times_its_transform_job(records: int, files: int) -> None:
    """The start and the records of two instances with four places each; a token is four bytes of the longest."""
    deployment = make_catalogue().models["echo"].deployments[0]
    deployment = replace(deployment, timing=Timing(0.5, seconds_per_input_token=0.01))
    changes: dict[str, Any] = {
        "usd_per_hour": Decimal(9),
        "instance_count": 2,
        "concurrency": 4,
        "startup_seconds": 300.0,
    }
    road = replace(deployment.roads[InferenceType.BATCH], **changes)
    own = gateway_cost(drop_usage(files), PRICES)
    ask = file_ask(deployment, road, records, 403, PRICES)
    assert ask == Ask(usd(2 * seconds(300 + records * 1.5 / 8) * 9 / 3600 * 4) + own)
    unpriced = replace(road, usd_per_hour=None)
    assert file_ask(deployment, unpriced, records, 403, PRICES) == Ask(usd(own))
    unpriced = replace(unpriced, ceiling_usd=Decimal("0.5"))
    assert file_ask(deployment, unpriced, records, 403, PRICES) == Ask(usd(records * Decimal("0.5") + own))


@pytest.mark.parametrize(("holds", "job", "units"), [(0, False, 0), (1, False, 2), (3, False, 12), (1, True, 6)])
def test_the_writes_of_a_reservation_are_paid_for(holds: int, job: bool, units: int) -> None:
    """Alone one unit each way, in a transaction two for each item."""
    reservation = Reservation("h1", Decimal(1), (Hold("a", None),) * holds)
    assert reservation_parts(reservation, gateway_rates(PRICES), job=job) == units * PRICES.table_write_unit


def test_a_budget_has_a_name_of_its_period() -> None:
    """For sentences; one over all time is just a budget."""
    named = [f"{period.named_budget}" for period in BudgetPeriod]
    assert named == ["per-request budget", "hourly budget", "daily budget", "monthly budget", "budget"]


def test_a_place_in_a_workflow_run_is_an_item_too() -> None:
    """With a hold it makes a transaction of two."""
    call = WorkflowCall("acme", "run", "inf_1", "", 0, "echo", InferenceType.REALTIME, "", _NOW)
    reservation = Reservation("h1", Decimal(1), (Hold("a", None),), call=call)
    assert reservation_parts(reservation, gateway_rates(PRICES), job=False) == 8 * PRICES.table_write_unit
    assert reservation_parts(None, gateway_rates(PRICES), job=True) == 0
