"""Runs of workflows: limited in calls and depth, and their costs as a tree."""

from decimal import Decimal

import pytest

from tests.fakes.budgeted_gateway import HELLO, LATER, budgeted, make_budget
from tests.fakes.gateway import document
from tollgate.api.http import Answer
from tollgate.domain.budgets.budget import BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import InferenceType


def test_a_run_is_limited_in_calls_and_depth() -> None:
    """Each run for itself; a parent must be one of its calls."""
    gateway = budgeted(make_budget(None, ScopeKind.WORKFLOW, BudgetPeriod.TOTAL, max_calls=3, max_depth=2))

    def call(workflow: str, parent: str | None = None) -> Answer:
        headers = {"x-tollgate-workflow": workflow} | ({} if parent is None else {"x-tollgate-parent": parent})
        return gateway.infer(HELLO, headers=headers)

    first = document(call("run-1"))["id"]
    second = document(call("run-1", first))["id"]
    assert call("run-1", second).status == 429, "too deep"
    assert call("run-1", "inf_unknown").status == 400
    assert call("run-2", first).status == 400, "a call of another run"
    assert call("run-1").status == 200
    assert call("run-1").status == 429, "one too many"
    assert call("run-2").status == 200
    depths = {c.inference_id: (c.parent, c.depth) for c in gateway.ledger.calls_of("acme", "run-1", limit=9)}
    assert depths[second] == (first, 2)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-tollgate-parent": "inf_1"},
        {"x-tollgate-workflow": ""},
        {"x-tollgate-workflow": "a b"},
        {"x-tollgate-workflow": "w" * 129},
    ],
)
def test_bad_run_headers_are_refused(headers: dict[str, str]) -> None:
    """Before anything is read or held."""
    gateway = budgeted()
    assert gateway.infer(HELLO, headers=headers).status == 400
    assert gateway.ledger.writes == 0


def test_the_tree_of_a_run_has_its_costs() -> None:
    """Real-time calls when they end, jobs from the moment they are accepted."""
    gateway = budgeted()
    headers = {"x-tollgate-workflow": "run-1"}
    now, later = gateway.infer(HELLO, headers=headers), gateway.infer(LATER, headers=headers)
    calls = {c.inference_id: c for c in gateway.ledger.calls_of("acme", "run-1", limit=9)}
    done, queued = calls[document(now)["id"]], calls[document(later)["id"]]
    assert done.effective_cost == Decimal(now.headers["x-tollgate-cost-usd"])
    assert (done.status, queued.status, queued.effective_cost) == ("completed", "queued", None)
    assert queued.inference_type is InferenceType.ASYNC
