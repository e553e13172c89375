"""Converse's answers in OpenAI's words.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tollgate.adapters.dialects.inputs import counted
from tollgate.domain.json_values import json_text

_FINISH_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def chat_completion(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A whole answer.

    Raises:
        KeyError, TypeError, AttributeError: it is no answer of Converse.
    """
    blocks = answer["output"]["message"]["content"]
    calls = [_tool_call(block["toolUse"]) for block in blocks if "toolUse" in block]
    text = "".join(_text(block) for block in blocks)
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    if calls:
        message["tool_calls"] = calls
    reasoning = "".join(
        block["reasoningContent"].get("reasoningText", {}).get("text", "")
        for block in blocks
        if "reasoningContent" in block
    )
    if reasoning:
        message["reasoning_content"] = reasoning
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason(answer["stopReason"])}],
        "usage": token_usage(answer.get("usage")),
    }


def finish_reason(stop_reason: str) -> str:
    """OpenAI's word for why an answer ended.

    What OpenAI has no word for, such as an output that Bedrock found malformed, is a plain end: the answer was made and
    is paid for.
    """
    return _FINISH_REASONS.get(stop_reason, "stop")


def token_usage(usage: Any) -> dict[str, Any] | None:
    """OpenAI's usage; None where Bedrock has not said it.

    Bedrock counts what it read from its prompt cache, and what it wrote there, beside the other input tokens; OpenAI
    counts them among all.
    https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
    """
    fresh, made = counted(usage, "inputTokens"), counted(usage, "outputTokens")
    if fresh is None or made is None:
        return None
    cached = counted(usage, "cacheReadInputTokens") or 0
    read = fresh + cached + (counted(usage, "cacheWriteInputTokens") or 0)
    return {
        "prompt_tokens": read,
        "completion_tokens": made,
        "total_tokens": read + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _text(block: Mapping[str, Any]) -> str:
    if "citationsContent" in block:
        pieces: Sequence[Mapping[str, Any]] = block["citationsContent"].get("content") or ()
        return "".join(piece.get("text", "") for piece in pieces)
    text = block.get("text", "")
    if not isinstance(text, str):
        raise TypeError("a text is something else")
    return text


def _tool_call(use: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": use["name"], "arguments": json_text(use.get("input") or {})}
    return {"id": use["toolUseId"], "type": "function", "function": function}
