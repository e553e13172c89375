"""Answers of the native API, and the headers that every answer carries."""

from datetime import UTC, datetime
from typing import Any

from tollgate.domain.catalogue import Catalogue, Model
from tollgate.domain.gateway_parts import gateway_rates
from tollgate.domain.jobs import Job, JobState, Usage
from tollgate.domain.money import ZERO, usd_text
from tollgate.domain.routing import RoutingDecision
from tollgate.services.infer import Completed, Trail


def trail_headers(trail: Trail) -> dict[str, str]:
    """The `x-tollgate-*` headers, as far as the request got.

    `cost-usd` is the effective cost of an answered request and the estimate of an accepted one; a request that was
    refused cost the gateway's own parts.
    """
    headers = {"x-tollgate-request-id": trail.request_id}
    if trail.inference_type is not None:
        headers["x-tollgate-inference-type"] = trail.inference_type.value
        headers["x-tollgate-deployment"] = trail.resource
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


def job_headers(job: Job) -> dict[str, str]:
    """The `x-tollgate-*` headers of an answer about a job; the cost is the estimate until the job has ended."""
    cost = job.estimated_cost if job.effective_cost is None else job.effective_cost
    return {
        "x-tollgate-inference-type": job.inference_type.value,
        "x-tollgate-deployment": job.resource,
        "x-tollgate-route-reason": job.route_reason,
        "x-tollgate-cost-usd": usd_text(cost),
        "x-tollgate-avoided-cost-usd": usd_text(ZERO if job.avoided_cost is None else job.avoided_cost),
    }


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
        "created_at": _time(answer.created_at),
        "output": answer.output,
        "usage": _usage(trail.usage),
        "cost": {
            "estimated_cost_usd": _money(trail.estimated_cost),
            "effective_cost_usd": _money(settled.effective if settled else None),
            "avoided_cost_usd": _money(settled.avoided if settled else None),
        },
    }


def job_document(job: Job, *, result_url: str | None = None) -> dict[str, Any]:
    """Body of a job in any state. Large results are behind `output_url`, for an hour."""
    document: dict[str, Any] = {
        "id": job.job_id,
        "object": "inference",
        "status": job.state.value,
        "model": job.model,
        "inference_type": job.inference_type.value,
        "deployment": job.resource,
        "route_reason": job.route_reason,
        "created_at": _time(job.created_at),
        "submitted_at": _time(job.submitted_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
        "deadline_at": _time(job.deadline_at),
        "metadata": dict(job.metadata),
        "cost": {
            "estimated_cost_usd": _money(job.estimated_cost),
            "effective_cost_usd": _money(job.effective_cost),
            "avoided_cost_usd": _money(job.avoided_cost),
        },
    }
    if job.state is JobState.COMPLETED:
        document["usage"] = _usage(job.usage)
        if result_url is None:
            document["output"] = job.output.inline
        else:
            document["output_url"] = result_url
    if job.failure is not None:
        document["error"] = {"code": job.failure.code, "message": job.failure.message}
    return document


def decision_document(decision: RoutingDecision, model: str) -> dict[str, Any]:
    """Body of ``POST /v1/route``: the decision and every road's estimate."""
    return {
        "object": "route",
        "model": model,
        "inference_type": decision.inference_type.value,
        "deployment": decision.deployment.resource,
        "reason": decision.reason,
        "estimated_cost_usd": _money(decision.estimated_cost),
        "expected_seconds": round(decision.expected_seconds, 3),
        "fallback": decision.fallback.value if decision.fallback else None,
        "roads": [
            {
                "inference_type": estimate.inference_type.value,
                "expected_seconds": round(estimate.expected_seconds, 3),
                "estimated_cost_usd": _money(estimate.estimated_cost),
                "loaded_cost_usd": _money(estimate.loaded_cost),
                "ruled_out": estimate.blocker.value if estimate.blocker else None,
            }
            for estimate in decision.estimates
        ],
    }


def models_document(catalogue: Catalogue) -> dict[str, Any]:
    """Body of ``GET /v1/models``, in OpenAI's shape with what Tollgate adds."""
    return {"object": "list", "data": [_model(model) for model in catalogue.models.values()]}


def _model(model: Model) -> dict[str, Any]:
    roads = sorted({road.value for deployment in model.deployments for road in deployment.roads})
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "tollgate",
        "description": model.description,
        "default_priority": model.default_priority.value,
        "inference_types": roads,
    }


def _usage(usage: Usage) -> dict[str, int | None]:
    known = usage.input_tokens is not None and usage.output_tokens is not None
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0) if known else None,
    }


def _money(amount: Any) -> str | None:
    return None if amount is None else usd_text(amount)


def _time(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
