"""Thresholds of budgets: who is told, and what requests become that come after."""

from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.budgeted_gateway import DAY, HELLO, LATER, budgeted, counter_of, counts, make_budget
from tollgate.domain.budgets.budget import BudgetAction, Threshold
from tollgate.domain.budgets.ledger import Counter
from tollgate.domain.catalogue import Tier


def test_a_threshold_is_announced_once() -> None:
    """Log line, metric and notice; not again by another function in the same period."""
    warn = (Threshold(Decimal(1), BudgetAction.WARN),)
    gateway = budgeted(make_budget("0.01", thresholds=warn))
    for _ in range(9):
        gateway.infer(HELLO)
    assert [notice["at_percent"] for notice in gateway.notices.sent] == ["1"]
    assert counts(gateway, "BudgetWarned") == 1
    other = budgeted(make_budget("0.01", thresholds=warn))
    other.ledger.counters = gateway.ledger.counters
    other.infer(HELLO)
    assert other.notices.sent == []


def test_held_money_announces_nothing() -> None:
    """Jobs that hold nine tenths of a limit have spent none of it, and a refusal only because of them says no more."""
    gateway = budgeted(make_budget("0.01", thresholds=(Threshold(Decimal(20), BudgetAction.WARN),)))
    held = {"h30000000": Decimal("0.00995")}
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.00995"), slots=held)
    assert gateway.infer(HELLO).status == 429
    assert gateway.notices.sent == []
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.00999999"), spent=Decimal("0.00999999"))
    gateway.clock.advance(6)
    assert gateway.infer(HELLO).status == 429
    assert [notice["at_percent"] for notice in gateway.notices.sent] == ["100"]


@pytest.mark.parametrize(("limit", "spent"), [("0.00001", "0"), ("0.0001", "0.00008")])
def test_one_request_that_asks_for_much_announces_nothing(limit: str, spent: str) -> None:
    """It is refused; but the limit is not reached, and brakes that hear so would stop everybody."""
    gateway = budgeted(make_budget(limit))
    gateway.ledger.counters[DAY] = Counter(committed=Decimal(spent), spent=Decimal(spent))
    assert gateway.infer(HELLO).status == 429
    assert gateway.notices.sent == []
    assert not gateway.ledger.counters[DAY].told


def test_whoever_spends_the_last_of_a_threshold_announces_it() -> None:
    """No further request is needed: the settlement tells."""
    gateway = budgeted(make_budget("0.001", thresholds=(Threshold(Decimal(1), BudgetAction.WARN),)))
    gateway.infer(HELLO)
    assert [notice["at_percent"] for notice in gateway.notices.sent] == ["1"]


def test_what_others_spend_is_announced_within_five_seconds() -> None:
    """Jobs are settled by other functions; the next request after the counter was read again tells."""
    gateway = budgeted(make_budget("1", thresholds=(Threshold(Decimal(20), BudgetAction.WARN),)))
    gateway.infer(HELLO)
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.3"), spent=Decimal("0.3"))
    gateway.infer(HELLO)
    assert gateway.notices.sent == []
    gateway.clock.advance(5)
    gateway.infer(HELLO)
    assert [notice["at_percent"] for notice in gateway.notices.sent] == ["20"]


def test_a_block_below_the_limit_blocks_there() -> None:
    """Half of the limit is the limit then."""
    half = (Threshold(Decimal(50), BudgetAction.BLOCK),)
    gateway = budgeted(make_budget("0.001", thresholds=half))
    for _ in range(90):
        gateway.infer(HELLO)
    assert Decimal("0.0004") < counter_of(gateway).spent <= Decimal("0.0005")


def test_defer_sends_requests_down_the_next_road() -> None:
    """Real-time becomes async and async becomes batch; the reason says why."""
    defer = (Threshold(Decimal("0.01"), BudgetAction.DEFER),)
    gateway = budgeted(make_budget("1", thresholds=defer))
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.5"), spent=Decimal("0.5"))
    first, second = gateway.infer(HELLO), gateway.infer(LATER)
    assert [a.headers["x-tollgate-inference-type"] for a in (first, second)] == ["async", "batch"]
    assert first.headers["x-tollgate-route-reason"] == "priority=medium;budget=defer"
    in_time = gateway.infer({"model": "echo", "input": "x", "deadline_seconds": 0.6})
    assert in_time.status == 200, "a deadline already takes the cheapest road in time"


def test_downgrade_prefers_the_smaller_tier() -> None:
    """The larger deployment gets nothing until the next period."""
    gateway = budgeted()
    model = gateway.catalogues.catalogue.models["echo"]
    large = replace(model.deployments[0], name="large", tier=Tier.LARGE, weight=1000)
    models = {"echo": replace(model, deployments=(large, *model.deployments))}
    down = (Threshold(Decimal(50), BudgetAction.DOWNGRADE),)
    gateway.catalogues.catalogue = replace(
        gateway.catalogues.catalogue, models=models, budgets=(make_budget("1", thresholds=down),)
    )
    assert gateway.infer(HELLO).headers["x-tollgate-deployment"] == "echo/large"
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.5"), spent=Decimal("0.5"))
    gateway.clock.advance(6)
    answer = gateway.infer(HELLO)
    assert answer.headers["x-tollgate-deployment"] == "echo/small"
    assert answer.headers["x-tollgate-route-reason"].endswith(";budget=downgrade")
