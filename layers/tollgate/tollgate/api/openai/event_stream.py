"""Server-sent events of OpenAI's streams, for an answer that is there as a whole.

API Gateway's buffered integration delivers them together; clients read them like any stream. `live_events` has those
of an answer that is still being made.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

from collections.abc import Iterable, Iterator
from typing import Any

from tollgate.api.http import answer_text
from tollgate.api.openai.answers import Served, token_usage
from tollgate.domain.generated import Choice, choices_in

CONTENT_TYPE = "text/event-stream; charset=utf-8"
DONE = "data: [DONE]\n\n"


def chat_events(served: Served, *, include_usage: bool) -> str:
    """The events of a chat completion: role, content, tool calls and finish reason of each choice, then the usage.

    Raises:
        ModelFailedError: the output is no generated text.
    """
    head = served.document("chat.completion.chunk", "chatcmpl")
    chunks = (
        {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        for index, choice in enumerate(choices_in(served.output))
        for delta, logprobs, reason in _chat_deltas(choice)
    )
    return _stream(head, served, chunks, include_usage=include_usage)


def _chat_deltas(choice: Choice) -> Iterator[tuple[dict[str, Any], Any, str | None]]:
    yield {"role": "assistant", "content": ""}, None, None
    if choice.reasoning:
        yield {"reasoning_content": choice.reasoning}, None, None
    if choice.text:
        yield {"content": choice.text}, choice.logprobs, None
    if choice.refusal:
        yield {"refusal": choice.refusal}, None, None
    for index, call in enumerate(choice.tool_calls):
        yield {"tool_calls": [{**call, "index": index}]}, None, None
    yield {}, None, choice.finish_reason


def text_events(served: Served, *, include_usage: bool) -> str:
    """The events of a plain completion. Raises as `chat_events`."""
    head = served.document("text_completion", "cmpl")
    chunks = (
        {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        for index, choice in enumerate(choices_in(served.output))
        for text, logprobs, reason in ((choice.text or "", choice.logprobs, None), ("", None, choice.finish_reason))
    )
    return _stream(head, served, chunks, include_usage=include_usage)


def _stream(head: dict[str, Any], served: Served, choices: Iterable[dict[str, Any]], *, include_usage: bool) -> str:
    # With the option, OpenAI puts the field into every chunk: null until the last.
    before = {"usage": None} if include_usage else {}
    events = [event({**head, "choices": [choice], **before}) for choice in choices]
    if include_usage:
        events.append(event({**head, "choices": [], "usage": token_usage(served.usage)}))
    return "".join([*events, DONE])


def event(document: dict[str, Any]) -> str:
    """One event with this JSON document."""
    return f"data: {answer_text(document)}\n\n"
