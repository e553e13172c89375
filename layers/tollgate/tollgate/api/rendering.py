"""Answers of the native API, and the headers that every answer carries."""

from typing import Any

from tollgate.api.job_rendering import money_text, time_text, usage_document
from tollgate.domain.catalogue import Catalogue, Model
from tollgate.domain.gateway_parts import gateway_rates
from tollgate.domain.jobs import JobState
from tollgate.domain.money import ZERO, usd_text
from tollgate.domain.routing import RoutingDecision
from tollgate.services.inference import Completed
from tollgate.services.trail import Trail


def trail_headers(trail: Trail) -> dict[str, str]:
    """The `x-tollgate-*` headers, as far as the request got.

    `cost-usd` is the effective cost of an answered request and the estimate of an accepted one; a request that was
    refused cost the gateway's own parts.
    """
    # OpenAI's clients show the second name in their errors.
    headers = {"x-tollgate-request-id": trail.request_id, "x-request-id": trail.request_id}
    if trail.inference_type is not None:
        headers["x-tollgate-inference-type"] = trail.inference_type.value
        headers["x-tollgate-deployment"] = trail.resource
    if trail.route_reason:
        headers["x-tollgate-route-reason"] = trail.route_reason
    settled = trail.settlement
    cost = settled.effective if settled else trail.estimated_cost
    if cost is None and trail.catalogue is not None and not trail.job_id:
        cost = gateway_rates(trail.catalogue.gateway_prices).rejected
    if cost is not None:
        headers["x-tollgate-cost-usd"] = usd_text(cost)
        avoided = settled.avoided if settled else trail.estimated_avoided
        headers["x-tollgate-avoided-cost-usd"] = usd_text(ZERO if avoided is None else avoided)
    if trail.budget_remaining is not None:
        headers["x-tollgate-budget-remaining-usd"] = usd_text(trail.budget_remaining)
    if trail.traceparent:
        headers["traceparent"] = trail.traceparent
    return headers


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
    }


def decision_document(decision: RoutingDecision, model: str) -> dict[str, Any]:
    """Body of ``POST /v1/route``: the decision and every road's estimate."""
    return {
        "object": "route",
        "model": model,
        "inference_type": decision.inference_type.value,
        "deployment": decision.deployment.resource,
        "reason": decision.reason,
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
