"""The routes over money: budgets, usage, and the cost tree of a workflow run."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tollgate.api.http import Answer, Call, json_answer
from tollgate.api.job_rendering import time_text
from tollgate.api.problems import admitted, answered, require_scope
from tollgate.api.telemetry import Telemetry
from tollgate.api.usage_documents import usage_answer
from tollgate.domain.budgets.ledger import WorkflowCall
from tollgate.domain.errors import NotFoundError
from tollgate.domain.money import ZERO, money_text, usd_text
from tollgate.services.budgets.queries import BudgetQueries, BudgetStatus, WorkflowCost
from tollgate.services.usage.queries import UsageQueries

if TYPE_CHECKING:
    from tollgate.ports.endpoints import RecommendationReports
    from tollgate.services.brakes.queries import BrakeQueries


class UsageApi:
    """Turns questions about money into answers."""

    def __init__(
        self,
        *,
        queries: BudgetQueries,
        usage: UsageQueries,
        telemetry: Telemetry,
        recommendations: "RecommendationReports | None" = None,
        brakes: "Callable[[], BrakeQueries] | None" = None,
    ) -> None:
        self._queries = queries
        self._usage = usage
        self._recommendations = recommendations
        self._telemetry = telemetry
        self._brakes = brakes
        self._routes: Mapping[str, Callable[[Call], Answer]] = {
            "GET /v1/budgets": self._budgets,
            "GET /v1/usage": self._used,
            "GET /v1/workflows/{id}": self._workflow,
            "GET /v1/control": self._control,
            "GET /v1/recommendations": self._recommended,
        }

    def respond(self, call: Call) -> Answer:
        """The answer to a call; every `TollgateError` becomes one in the error shape."""
        return answered(call, self._answer, self._telemetry, "usage_call")

    def _answer(self, call: Call) -> Answer:
        return admitted(call, self._routes.get(call.route), "read")(call)

    def _budgets(self, call: Call) -> Answer:
        found = self._queries.budgets(call.owner)
        return json_answer(200, {"object": "list", "data": [_budget_document(status) for status in found]})

    def _used(self, call: Call) -> Answer:
        return json_answer(200, usage_answer(self._usage, call))

    def _recommended(self, call: Call) -> Answer:
        # It names every endpoint of the account, whoever uses it.
        require_scope(call, "admin")
        report = self._recommendations.latest() if self._recommendations is not None else None
        if report is None:
            raise NotFoundError("Nothing was measured yet. Wait for the daily look, or run: tollgate rightsize")
        return json_answer(200, report)

    def _workflow(self, call: Call) -> Answer:
        cost = self._queries.workflow(call.owner, call.path_parameters.get("id", ""))
        return json_answer(200, _workflow_document(cost))

    def _control(self, call: Call) -> Answer:
        if self._brakes is None:
            raise NotFoundError("This gateway has no brakes.")
        from tollgate.api.control_routes import control_answer  # noqa: PLC0415 -- asked for by people, now and then

        return control_answer(self._brakes(), call)


def _budget_document(status: BudgetStatus) -> dict[str, Any]:
    budget, counter = status.applied.budget, status.counter
    limit = budget.limit_at(status.at)
    raised = budget.raise_until if limit != budget.limit_usd else None
    percent = None if not limit else (counter.committed * 100 / limit).quantize(Decimal("0.01"))
    return {
        "object": "budget",
        "scope": budget.scope,
        "period": budget.period.value,
        "counter": status.applied.counter or None,
        "period_ends_at": time_text(status.applied.ends_at),
        "limit_usd": money_text(limit),
        "raised_until": time_text(raised),
        "spent_usd": usd_text(counter.spent),
        "held_usd": usd_text(counter.held),
        "remaining_usd": None if limit is None else usd_text(max(ZERO, limit - counter.committed)),
        "released_usd": usd_text(counter.released),
        "overrun_usd": usd_text(counter.overrun),
        "used_percent": None if percent is None else str(percent),
        "thresholds": [
            {
                "at_percent": str(threshold.at_percent),
                "action": threshold.action.value,
                "crossed": percent is not None and percent >= threshold.at_percent,
                "announced": threshold.at_percent in counter.told,
            }
            for threshold in budget.thresholds
        ],
        "calls": counter.calls,
        "max_calls": budget.max_calls,
        "max_depth": budget.max_depth,
        "shadow": budget.shadow,
        "shadow_refusals": counter.shadow_refusals,
    }


def _workflow_document(cost: WorkflowCost) -> dict[str, Any]:
    nodes = {call.inference_id: _call_document(call) for call in cost.calls}
    roots: list[dict[str, Any]] = []
    for call in cost.calls:
        parent = nodes.get(call.parent)
        (roots if parent is None else parent["calls"]).append(nodes[call.inference_id])
    return {
        "object": "workflow",
        "id": cost.workflow,
        "effective_cost_usd": usd_text(cost.effective_cost),
        "call_count": len(cost.calls),
        "depth": max(call.depth for call in cost.calls),
        "has_more": cost.has_more,
        "calls": roots,
    }


def _call_document(call: WorkflowCall) -> dict[str, Any]:
    return {
        "id": call.inference_id,
        "parent": call.parent or None,
        "depth": call.depth,
        "model": call.model,
        "inference_type": call.inference_type.value,
        "status": call.status,
        "created_at": time_text(call.created_at),
        "effective_cost_usd": money_text(call.effective_cost),
        "calls": [],
    }
