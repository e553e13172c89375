"""How calls end: an answer that fits through the API, or a job that did not end in time or well."""

from collections.abc import Mapping

from tollgate.api.http import Answer, Call
from tollgate.domain.errors import (
    AnswerTooLargeError,
    BackendTimeoutError,
    ConflictError,
    InvalidRequestError,
    ModelFailedError,
    NotReadyError,
    TollgateError,
)
from tollgate.domain.jobs.job import Job, JobState
from tollgate.domain.json_values import json_text

ANSWER_BYTES = 6_000_000
"""A little less than Lambda's limit of 6 MB for a response: headers have to fit as well.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

POLL_SECONDS = 5
INFERENCES = "/v1/inferences/"
NO_RETRY: Mapping[str, str] = {"x-should-retry": "false"}
"""The SDK would send the request again and pay for a second job; it obeys this header."""


def unfinished(job: Job) -> TollgateError:
    """The error that tells why a job has no result."""
    reason = job.failure.message if job.failure else job.state.value
    match job.state:
        case JobState.FAILED if job.failure and job.failure.code == "invalid_request":
            return InvalidRequestError(reason)
        case JobState.FAILED:
            return ModelFailedError(reason, original_status=502)
        case JobState.EXPIRED:
            return BackendTimeoutError(reason)
        case JobState.CANCELLED:
            return ConflictError(f"Inference '{job.job_id}' was cancelled.")
        case _:
            return NotReadyError(
                f"Inference '{job.job_id}' is still {job.state}. It goes on: look for it at {INFERENCES}{job.job_id}, "
                "or send 'Prefer: respond-async' to be answered at once.",
                retry_after=POLL_SECONDS,
            )


def fitting(call: Call, answer: Answer, location: str | None = None) -> Answer:
    """The answer, if a function may return it. What goes out piece by piece may be larger, and may have gone already.

    Raises:
        AnswerTooLargeError: says where the result of a job can be fetched.
    """
    if call.outlet is not None or len(answer.body) < ANSWER_BYTES // 8:
        return answer
    # The body travels as a text inside JSON, where quotation marks and line breaks take two bytes.
    size = len(json_text(answer.body).encode())
    if size <= ANSWER_BYTES:
        return answer
    later = "Ask for less, or for a job, with service_tier 'flex' or priority 'medium'."
    where = f"Its result can be fetched from {location}." if location else later
    raise AnswerTooLargeError(f"The answer has {size} bytes; at most {ANSWER_BYTES} fit through the API. {where}")


def wants_async(call: Call) -> bool:
    """RFC 7240; the header may hold several preferences."""
    preferences = call.headers.get("prefer", "").split(",")
    return any(entry.partition(";")[0].strip().lower() == "respond-async" for entry in preferences)
