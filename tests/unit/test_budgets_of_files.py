"""A dropped file passes the budgets of the gateway and of its model, and is charged once."""

import json
from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.batch_road import BatchRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import make_catalogue
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import InferenceType

KEY = "batch-input/echo/night.jsonl"
LINES = b"0\n1\n2\n3\n"
GATEWAY, MODEL = "gateway#day#2026-03-01", "model:echo#total#always"


def road_with(limit: str = "10") -> BatchRoad:
    """A gateway budget that may be small, a model's, and some that are not about files."""
    budgets = (
        Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal(limit)),
        Budget(ScopeKind.MODEL, "echo", BudgetPeriod.TOTAL, Decimal(100)),
        Budget(ScopeKind.MODEL, "echo", BudgetPeriod.REQUEST, Decimal("0.000001")),
        Budget(ScopeKind.KEY, "*", BudgetPeriod.DAY, Decimal("0.000001")),
        Budget(ScopeKind.TEAM, "*", BudgetPeriod.DAY, Decimal("0.000001")),
    )
    return BatchRoad(replace(make_catalogue(), budgets=budgets))


def drop(road: BatchRoad, point: CrashPoint | None = None) -> None:
    road.objects.put(KEY, LINES)
    road.drops(point).dropped(KEY, "v1")


def cost(road: BatchRoad) -> Decimal:
    """What the summary says."""
    body = road.objects.get("batch-output/echo/night.summary.json")
    assert body is not None
    return Decimal(json.loads(body)["effective_cost_usd"])


def settled(road: BatchRoad) -> bool:
    """Whether both counters have exactly what the file cost, and hold nothing."""
    counters = [road.ledger.counters[name] for name in (GATEWAY, MODEL)]
    assert set(road.ledger.counters) == {GATEWAY, MODEL}
    return all(c.spent == cost(road) and c.held == c.overrun == 0 for c in counters)


def test_a_file_is_held_before_it_runs_and_settled_after() -> None:
    """In both budgets, with what the summary says it cost; others do not count it."""
    road = road_with()
    drop(road)
    assert road.ledger.counters[GATEWAY].held == road.ledger.counters[MODEL].held > 0
    assert len(road.backend.started) == 1
    road.run_everything()
    assert settled(road)


def test_a_file_that_does_not_fit_is_refused_before_it_runs() -> None:
    """Beside its results stands why; no transform job starts and nothing is held."""
    road = road_with("0.0001")
    drop(road)
    road.run_everything()
    error = json.loads(road.objects.get("batch-output/echo/night.error.json") or b"")["error"]
    assert error["code"] == "insufficient_quota"
    assert "gateway" in error["message"]
    assert road.backend.started == {}
    assert all(counter.committed == counter.spent == 0 for counter in road.ledger.counters.values())


def test_lines_that_run_again_are_charged_with_the_file() -> None:
    """What was held stays held until the second run has ended."""
    road = road_with()
    drop(road)
    road.run_everything(bad=[2].__contains__)
    assert len(road.backend.started) == 2
    assert settled(road)


def test_a_file_of_unknown_cost_is_charged_as_it_was_held() -> None:
    """When SageMaker does not say how long it worked."""
    road = road_with()
    drop(road)
    held = road.ledger.counters[GATEWAY].held
    (name,) = road.backend.started
    road.run_transform(name)
    road.backend.statuses[name] = road.backend.statuses[name]._replace(started_at=None, ended_at=None)
    road.collect(name)
    assert road.ledger.counters[GATEWAY].spent == held
    (run,) = road.batches.runs.values()
    assert run.count is not None
    assert (run.count.effective, run.count.bill.charged) == (None, held)


def test_the_count_is_what_the_file_did() -> None:
    """Requests, errors, dollars and what was avoided, for usage and export."""
    road = road_with()
    drop(road)
    road.run_everything(bad=[2].__contains__)
    count = next(run.count for run in road.batches.runs.values() if run.count is not None)
    assert (count.requests, count.errors, count.effective) == (4, 1, cost(road))
    assert count.bill.charged == cost(road)
    summary = json.loads(road.objects.get("batch-output/echo/night.summary.json") or b"")
    assert sum(count.bill.avoided.values()) == Decimal(summary["avoided_cost_usd"])


def _effects() -> int:
    counter = CrashPoint(0)
    drop(road_with(), counter)
    return counter.effects


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", range(1, _effects() + 1))
def test_a_death_while_holding_neither_leaks_nor_charges_twice(step: int, before: bool) -> None:
    """Whatever happened before it, the file is charged once in the end."""
    road = road_with()
    with pytest.raises(CrashError):
        drop(road, CrashPoint(step, before=before))
    road.drops().dropped(KEY, "v1")
    road.run_everything()
    assert settled(road)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", range(1, 12))
def test_a_death_while_settling_neither_leaks_nor_charges_twice(step: int, before: bool) -> None:
    """At whichever of its effects; twelve are more than there are."""
    road = road_with()
    drop(road)
    (name,) = road.backend.started
    road.run_transform(name, bad=[2].__contains__)
    try:
        road.collect(name, CrashPoint(step, before=before))
    except CrashError:
        road.collect(name)
    road.run_everything(bad=[2].__contains__)
    assert settled(road)


def test_an_unpriced_road_holds_its_ceiling_for_each_record() -> None:
    """Never nothing."""
    road = road_with()
    model = road.catalogues.catalogue.model("echo")
    unpriced = replace(model.deployments[0].roads[InferenceType.BATCH], usd_per_hour=None, ceiling_usd=Decimal("0.5"))
    roads = {**model.deployments[0].roads, InferenceType.BATCH: unpriced}
    models = {"echo": replace(model, deployments=(replace(model.deployments[0], roads=roads),))}
    road.catalogues.catalogue = replace(road.catalogues.catalogue, models=models)
    drop(road)
    assert road.ledger.counters[GATEWAY].held == pytest.approx(Decimal(2), abs=Decimal("0.001"))


def test_a_file_whose_deployment_has_left_ends_charged_at_what_was_held() -> None:
    """While its transform job ran. Nobody can price it, but the money is not held until nobody remembers why."""
    road = road_with()
    drop(road)
    road.catalogues.catalogue = replace(road.catalogues.catalogue, models={})
    (name,) = road.backend.started
    road.run_transform(name)
    held = road.ledger.counters[GATEWAY].held
    assert held > 0
    for _ in range(2):
        road.collect(name)
    (run,) = road.batches.runs.values()
    assert run.count is not None
    assert (run.count.requests, run.count.errors, run.count.effective) == (4, 4, None)
    assert run.count.bill.charged == held
    assert road.ledger.counters[GATEWAY].spent == held
    assert road.ledger.counters[GATEWAY].held == 0
    assert b"no longer in the catalogue" in (road.objects.get("batch-output/echo/night.error.json") or b"")
