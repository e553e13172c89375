"""OpenAI's `response` object, of an answer that is there or of a job in any state.

A response's id is its job's id with another prefix, so nothing more needs to be stored.
https://platform.openai.com/docs/api-reference/responses/object
"""

from collections.abc import Mapping
from typing import Any

from tollgate.api.openai.answers import Served, served_by_job
from tollgate.api.openai.response_body import tools_of_chat
from tollgate.domain.generated import Choice, choices_in
from tollgate.domain.jobs import Job, JobState, Usage

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
    return _frame(served, parameters, metadata, background=False) | _result(served)


def job_response(job: Job, output: Any) -> dict[str, Any]:
    """The response of a job; `output` is read when the job is completed. Raises as `served_response`."""
    served = served_by_job(job, output)
    document = _frame(served, job.parameters, job.metadata, background=True) | {"status": _STATUS[job.state]}
    if job.finished_at is not None:
        document["completed_at"] = int(job.finished_at.timestamp())
    if job.failure is not None:
        document["error"] = {"code": "server_error", "message": job.failure.message}
    return document | _result(served) if job.state is JobState.COMPLETED else document


def _frame(
    served: Served, parameters: Mapping[str, Any], metadata: Mapping[str, str], *, background: bool
) -> dict[str, Any]:
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


def _result(served: Served) -> dict[str, Any]:
    choice = choices_in(served.output)[0]
    reason = _INCOMPLETE.get(choice.finish_reason)
    status = "completed" if reason is None else "incomplete"
    return {
        "status": status,
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": _output(choice, served.inference_id, status),
        "usage": _usage(served.usage),
    }


def _output(choice: Choice, inference_id: str, status: str) -> list[dict[str, Any]]:
    own = inference_id.removeprefix(_JOB_PREFIX)
    items: list[dict[str, Any]] = []
    if choice.text or not choice.tool_calls:
        part = {"type": "output_text", "text": choice.text or "", "annotations": []}
        message = {"type": "message", "id": f"msg_{own}", "role": "assistant", "status": status, "content": [part]}
        items.append(message)
    for position, call in enumerate(choice.tool_calls):
        function = call.get("function", {})
        items.append(
            {
                "type": "function_call",
                "id": f"fc_{own}_{position}",
                "call_id": call.get("id", f"call_{own}_{position}"),
                "name": function.get("name", ""),
                "arguments": function.get("arguments", ""),
                "status": "completed",
            }
        )
    return items


def _usage(usage: Usage) -> dict[str, Any] | None:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
