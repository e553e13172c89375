"""OpenAI's `response` object, of an answer that is there or of a job in any state.

A response's id is its job's id with another prefix, so nothing more needs to be stored.
https://platform.openai.com/docs/api-reference/responses/object
"""

from collections.abc import Mapping
from typing import Any

from tollgate.api.openai.answers import Served, served_by_job
from tollgate.api.openai.response_body import tools_of_chat
from tollgate.api.openai.response_items import items_of
from tollgate.domain.generated import choices_in
from tollgate.domain.jobs.job import Job, JobState, Usage

_STATUS: Mapping[JobState, str] = {
    JobState.QUEUED: "queued",
    JobState.SUBMITTED: "in_progress",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.EXPIRED: "failed",
    JobState.CANCELLED: "cancelled",
}
_INCOMPLETE: Mapping[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
_PREFIX = "resp_"
_JOB_PREFIX = "inf_"


def response_id(inference_id: str) -> str:
    """The response's id of an inference."""
    return _PREFIX + inference_id.removeprefix(_JOB_PREFIX)


def job_id_of(response: str) -> str:
    """The job's id of a response; what has no such id stays as it is and will not be found."""
    return _JOB_PREFIX + response.removeprefix(_PREFIX) if response.startswith(_PREFIX) else response


def is_chat(job: Job) -> bool:
    """Whether the job was a chat, as far as its record tells: embeddings are no response."""
    value = job.input.inline
    return job.input.key is not None or (isinstance(value, Mapping) and "messages" in value)


def served_response(served: Served, parameters: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    """A response that was answered at once.

    Raises:
        ModelFailedError: the output is no generated text.
    """
    return response_frame(served, parameters, metadata, background=False) | _result(served)


def job_response(job: Job, output: Any) -> dict[str, Any]:
    """The response of a job; `output` is read when the job is completed. Raises as `served_response`."""
    served = served_by_job(job, output)
    document = response_frame(served, job.parameters, job.metadata, background=True) | {"status": _STATUS[job.state]}
    if job.failure is not None:
        document["error"] = {"code": "server_error", "message": job.failure.message}
    if job.state is not JobState.COMPLETED:
        return document
    document |= _result(served)
    # OpenAI's word for this status alone: one that was cancelled, failed or cut short is never completed.
    if document["status"] == "completed" and job.finished_at is not None:
        document["completed_at"] = int(job.finished_at.timestamp())
    return document


def response_frame(
    served: Served, parameters: Mapping[str, Any], metadata: Mapping[str, str], *, background: bool
) -> dict[str, Any]:
    """The fields of a response that has nothing to show yet; `parameters` are those of the chat."""
    return {
        "id": response_id(served.inference_id),
        "object": "response",
        "created_at": int(served.created_at.timestamp()),
        "model": served.model,
        "background": background,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": parameters.get("max_tokens"),
        "metadata": dict(metadata),
        "output": [],
        "parallel_tool_calls": parameters.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "service_tier": served.tier,
        "temperature": parameters.get("temperature"),
        "tool_choice": parameters.get("tool_choice", "auto"),
        "tools": tools_of_chat(parameters.get("tools", ())),
        "top_p": parameters.get("top_p"),
        "usage": None,
    }


def response_ending(finish_reason: str) -> dict[str, Any]:
    """How a response ended, by the reason that the model stopped for."""
    reason = _INCOMPLETE.get(finish_reason)
    if reason is None:
        return {"status": "completed", "incomplete_details": None}
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


def _result(served: Served) -> dict[str, Any]:
    choice = choices_in(served.output)[0]
    ending = response_ending(choice.finish_reason)
    output = items_of(choice, served.inference_id.removeprefix(_JOB_PREFIX), ending["status"])
    return {**ending, "output": output, "usage": response_usage(served.usage)}


def response_usage(usage: Usage) -> dict[str, Any] | None:
    """Tokens in a response's words, None where the container did not count."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens or 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
