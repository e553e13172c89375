"""Answers in OpenAI's shapes, made of what any road delivered."""

import base64
import hashlib
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.generated import Choice, choices_in, vectors_in
from tollgate.domain.jobs.job import Job, Usage
from tollgate.domain.tokens import estimate_tokens
from tollgate.services.requests.plan import Completed
from tollgate.services.requests.trail import Trail


class Served(NamedTuple):
    """An inference that ended well, on whichever road.

    Attributes:
        inference_id: ``inf_...``
        tier: OpenAI's word for the road that was used.
        fingerprint: OpenAI's ``system_fingerprint``; changes with the deployment and the catalogue.
    """

    inference_id: str
    created_at: datetime
    model: str
    output: Any
    usage: Usage
    tier: str
    fingerprint: str

    def document(self, kind: str, prefix: str) -> dict[str, Any]:
        """The fields that all answers begin with."""
        return {
            "id": f"{prefix}-{self.inference_id.removeprefix('inf_')}",
            "object": kind,
            "created": int(self.created_at.timestamp()),
            "model": self.model,
            "service_tier": self.tier,
            "system_fingerprint": self.fingerprint,
        }


def fingerprint_of(resource: str, catalogue_version: int) -> str:
    """``fp_`` and ten digits: the same for answers of the same deployment under the same catalogue."""
    return "fp_" + hashlib.sha256(f"{resource}@{catalogue_version}".encode()).hexdigest()[:10]


def served_now(result: Completed, trail: Trail, model: str, tier: str | None) -> Served:
    """A request that was answered at once, which asked for this service tier."""
    return Served(
        inference_id=result.inference_id,
        created_at=result.created_at,
        model=model,
        output=result.output,
        usage=trail.usage,
        tier=tier_used(InferenceType.REALTIME, asked_priority=tier == "priority"),
        fingerprint=fingerprint_of(trail.resource, trail.catalogue.version if trail.catalogue else 0),
    )


def served_by_job(job: Job, output: Any) -> Served:
    """A completed job."""
    return Served(
        inference_id=job.job_id,
        created_at=job.created_at,
        model=job.model,
        output=output,
        usage=job.usage,
        tier=tier_used(job.inference_type, asked_priority=False),
        fingerprint=fingerprint_of(job.resource, job.catalogue_version),
    )


def tier_used(inference_type: InferenceType, *, asked_priority: bool) -> str:
    """OpenAI's word for a road: ``priority`` only for those who asked for it."""
    if inference_type is InferenceType.REALTIME:
        return "priority" if asked_priority else "default"
    return "flex"


def chat_completion(served: Served) -> dict[str, Any]:
    """A chat completion.

    Raises:
        ModelFailedError: the output is no generated text.
    """
    choices = [
        {
            "index": index,
            "message": chat_message(choice),
            "logprobs": choice.logprobs,
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(choices_in(served.output))
    ]
    head = served.document("chat.completion", "chatcmpl")
    return head | {"choices": choices, "usage": token_usage(served.usage)}


def chat_message(choice: Choice) -> dict[str, Any]:
    """The assistant's message."""
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": choice.refusal}
    if choice.tool_calls:
        message["tool_calls"] = list(choice.tool_calls)
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    return message


def text_completion(served: Served) -> dict[str, Any]:
    """A plain completion. Raises as `chat_completion`."""
    choices = [
        {
            "index": index,
            "text": choice.text or "",
            "logprobs": choice.logprobs,
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(choices_in(served.output))
    ]
    return served.document("text_completion", "cmpl") | {"choices": choices, "usage": token_usage(served.usage)}


def embedding_list(served: Served, texts: list[str], encoding_format: str) -> dict[str, Any]:
    """Embeddings as numbers, or as base64 of little-endian 32-bit floats, which OpenAI's clients ask for.

    Clients rely on `usage` here, so it is estimated where the container does not count, and says so.

    Raises:
        ModelFailedError: the output is no list of vectors.
    """
    vectors = vectors_in(served.output)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _packed(vector) if encoding_format == "base64" else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    counted = served.usage.input_tokens
    tokens = sum(map(estimate_tokens, texts)) if counted is None else counted
    usage: dict[str, Any] = {"prompt_tokens": tokens, "total_tokens": tokens}
    if counted is None:
        usage["estimated"] = True
    return {
        "object": "list",
        "data": data,
        "model": served.model,
        "usage": usage,
        "service_tier": served.tier,
    }


def _packed(vector: list[float]) -> str:
    try:
        packed = struct.pack(f"<{len(vector)}f", *vector)
    except (OverflowError, struct.error) as error:
        raise ModelFailedError("The model container gave numbers that are too large.", original_status=502) from error
    return base64.b64encode(packed).decode("ascii")


def token_usage(usage: Usage) -> Mapping[str, Any] | None:
    """OpenAI's usage, None where the container did not count: no number is better than a wrong one."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    counted: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_input_tokens is not None:
        counted["prompt_tokens_details"] = {"cached_tokens": usage.cached_input_tokens}
    if usage.reasoning_tokens is not None:
        counted["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counted
