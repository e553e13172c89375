"""Answers of the native API, and the headers that every answer carries."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tollgate.api.job_rendering import time_text, usage_document
from tollgate.domain.catalogue import Catalogue, Model
from tollgate.domain.jobs.job import JobState
from tollgate.domain.money import ZERO, money_text, usd_text
from tollgate.domain.roads.routing import RoutingDecision
from tollgate.services.requests.plan import Completed
from tollgate.services.requests.trail import Trail

if TYPE_CHECKING:
    from tollgate.domain.budgets.call_limits import CallLimit
    from tollgate.services.requests.admission import Admitted

_LIMIT = "x-ratelimit-limit-requests"
_REMAINING = "x-ratelimit-remaining-requests"
_RESET = "x-ratelimit-reset-requests"


def trail_headers(trail: Trail) -> dict[str, str]:
    """The `x-tollgate-*` headers, as far as the request got.

    `cost-usd` is the effective cost of an answered request and the estimate of an accepted one. A request that was
    refused, or ran nothing, shows 0: neither budgets nor usage are charged with it.
    """
    # OpenAI's clients show the second name in their errors.
    headers = {"x-tollgate-request-id": trail.request_id, "x-request-id": trail.request_id}
    if trail.inference_type is not None:
        headers["x-tollgate-inference-type"] = trail.inference_type.value
        headers["x-tollgate-deployment"] = trail.resource
    if trail.route_reason:
        headers["x-tollgate-route-reason"] = trail.route_reason
    cost, avoided = _costs(trail)
    if cost is not None:
        headers["x-tollgate-cost-usd"] = usd_text(cost)
        headers["x-tollgate-avoided-cost-usd"] = usd_text(ZERO if avoided is None else avoided)
    if trail.cache:
        headers["x-tollgate-cache"] = trail.cache
        if trail.cache_age is not None:
            headers["Age"] = str(trail.cache_age)
        if trail.cache == "near" and trail.near is not None and trail.near.match is not None:
            headers["x-tollgate-cache-matched"] = trail.near.match.key
    if trail.budget_remaining is not None:
        headers["x-tollgate-budget-remaining-usd"] = usd_text(trail.budget_remaining)
    if trail.trimmed is not None:
        headers["x-tollgate-trimmed-tokens"] = str(trail.trimmed.input_tokens_saved)
    if trail.traceparent:
        headers["traceparent"] = trail.traceparent
    return headers


def _costs(trail: Trail) -> tuple[Decimal | None, Decimal | None]:
    if trail.job_id:
        # Also of a request whose real-time call found no capacity, which is settled by itself.
        return trail.estimated_cost, trail.estimated_avoided
    if trail.settlement is not None:
        return trail.settlement.effective, trail.settlement.avoided
    if trail.catalogue is None:
        return None, None
    return ZERO, ZERO


class RateLimits:
    """OpenAI's ``x-ratelimit-*`` headers, as far as they can be told truthfully.

    They say what a request counts in: a budget's limit of calls, which is counted, or else the key's usage plan.

    API Gateway counts requests for the plan and tells nobody how many are left, so `remaining` is missing there.

    Args:
        plan_rate: requests a second that the plan sustains; 0 where that is not known.
        plan_burst: requests that may come at once.
        call_limit: the limit among the budgets that count a request.
    """

    def __init__(
        self, *, plan_rate: float, plan_burst: int, call_limit: "Callable[[Admitted], CallLimit | None]"
    ) -> None:
        self._of_plan: Mapping[str, str] = {}
        if plan_rate > 0 and plan_burst > 0:
            full_after = -int(-plan_burst // plan_rate)
            self._of_plan = {_LIMIT: str(plan_burst), _RESET: duration_text(full_after)}
        self._call_limit = call_limit

    def headers(self, admitted: "Admitted | None") -> Mapping[str, str]:
        """The headers of an answer to a request that had to pass these budgets; None where it had none."""
        limit = None if admitted is None else self._call_limit(admitted)
        if limit is None:
            return self._of_plan
        headers = {_LIMIT: str(limit.limit)}
        if limit.remaining is not None:
            headers[_REMAINING] = str(limit.remaining)
        if limit.reset_seconds is not None:
            headers[_RESET] = duration_text(limit.reset_seconds)
        return headers


def duration_text(seconds: int) -> str:
    """Whole seconds as OpenAI writes them: ``1s``, ``6m0s``, ``23h59m59s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def cost_fields(trail: Trail) -> dict[str, Any]:
    """What an answer has cost, for the end of a stream, whose headers were sent before anybody knew."""
    cost, avoided = _costs(trail)
    return {"tollgate": {"cost_usd": money_text(cost), "avoided_cost_usd": money_text(avoided)}}


def completed_document(answer: Completed, trail: Trail, model: str) -> dict[str, Any]:
    """Body of a request that was answered at once."""
    settled = trail.settlement
    return {
        "id": answer.inference_id,
        "object": "inference",
        "status": JobState.COMPLETED.value,
        "model": model,
        "inference_type": str(trail.inference_type),
        "deployment": trail.resource,
        "created_at": time_text(answer.created_at),
        "output": answer.output,
        "usage": usage_document(trail.usage),
        "cost": {
            "estimated_cost_usd": money_text(trail.estimated_cost),
            "effective_cost_usd": money_text(settled.effective if settled else None),
            "avoided_cost_usd": money_text(settled.avoided if settled else None),
        },
        **(_matched_fields(trail) if trail.cache == "near" else {}),
        **choice_fields(trail),
    }


def _matched_fields(trail: Trail) -> dict[str, Any]:
    # Only near matches have any of it.
    from tollgate.api.near_rendering import matched_document  # noqa: PLC0415 -- see above

    return {} if trail.near is None else {"cache": matched_document(trail.near, trail.cache_age)}


def choice_fields(trail: Trail) -> dict[str, Any]:
    """What was trimmed, chosen and escalated, where anything was."""
    if trail.trimmed is None and trail.chosen is None:
        return {}
    # Only models with several sizes and trimmed requests have any of it.
    from tollgate.api.choice_rendering import choice_document  # noqa: PLC0415 -- see above

    return choice_document(trail)


def decision_document(decision: RoutingDecision, model: str, trail: Trail) -> dict[str, Any]:
    """Body of ``POST /v1/route``: the decision and every road's estimate."""
    return {
        "object": "route",
        "model": model,
        "inference_type": decision.inference_type.value,
        "deployment": decision.deployment.resource,
        "reason": trail.route_reason,
        "estimated_cost_usd": money_text(decision.estimated_cost),
        "expected_seconds": round(decision.expected_seconds, 3),
        "fallback": decision.fallback.value if decision.fallback else None,
        "roads": [
            {
                "inference_type": estimate.inference_type.value,
                "expected_seconds": round(estimate.expected_seconds, 3),
                "estimated_cost_usd": money_text(estimate.estimated_cost),
                "loaded_cost_usd": money_text(estimate.loaded_cost),
                "ruled_out": estimate.blocker.value if estimate.blocker else None,
            }
            for estimate in decision.estimates
        ],
        **choice_fields(trail),
    }


def models_document(catalogue: Catalogue) -> dict[str, Any]:
    """Body of ``GET /v1/models``, in OpenAI's shape with what Tollgate adds."""
    return {"object": "list", "data": [model_document(model) for model in catalogue.models.values()]}


def model_document(model: Model) -> dict[str, Any]:
    """Body of ``GET /v1/models/{model}``."""
    roads = sorted({road.value for deployment in model.deployments for road in deployment.roads})
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "tollgate",
        "description": model.description,
        "default_priority": model.default_priority.value,
        "kind": model.kind.value,
        "inference_types": roads,
        "supports": sorted(frozenset[str]().union(*(deployment.supports for deployment in model.deployments))),
    }
