"""Answers about jobs: for the routes over jobs, for requests that were accepted, and for webhooks."""

from datetime import UTC, datetime
from typing import Any

from tollgate.domain.jobs.job import Job, JobState, Usage
from tollgate.domain.money import ZERO, money_text, usd_text


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
        "created_at": time_text(job.created_at),
        "submitted_at": time_text(job.submitted_at),
        "started_at": time_text(job.started_at),
        "finished_at": time_text(job.finished_at),
        "deadline_at": time_text(job.deadline_at),
        "metadata": dict(job.metadata),
        "cost": {
            "estimated_cost_usd": money_text(job.estimated_cost),
            "effective_cost_usd": money_text(job.effective_cost),
            "avoided_cost_usd": money_text(job.avoided_cost),
        },
    }
    if job.state is JobState.COMPLETED:
        document["usage"] = usage_document(job.usage)
        if result_url is None:
            document["output"] = job.output.inline
        else:
            document["output_url"] = result_url
    if job.failure is not None:
        document["error"] = {"code": job.failure.code, "message": job.failure.message}
    return document


def usage_document(usage: Usage) -> dict[str, int | None]:
    """Tokens; the total only where both are known, parts of them only where the container or provider reported them."""
    known = usage.input_tokens is not None and usage.output_tokens is not None
    parts = {"cached_input_tokens": usage.cached_input_tokens, "reasoning_tokens": usage.reasoning_tokens}
    return {name: count for name, count in parts.items() if count is not None} | {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0) if known else None,
    }


def time_text(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and `Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
