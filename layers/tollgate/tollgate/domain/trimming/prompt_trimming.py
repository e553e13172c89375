"""Trimming a whole request: its messages and its documents share one budget of input tokens.

Documents are `documents` beside the messages (or the text), as vLLM and Cohere take them: texts, or objects with
`text` and optionally `title` and `id`. They are sent in the same field if the container takes them, otherwise as text
before the question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.json_values import compact_json
from tollgate.domain.prompt import (
    IMAGE_TOKENS,
    KEEP,
    all_text,
    content_text,
    messages_in,
    plain_text,
    spoken,
    without_marks,
)
from tollgate.domain.tokens import estimate_tokens
from tollgate.domain.trimming.chunks import Chunk, trim_chunks
from tollgate.domain.trimming.conversation import Message, Role, message_tokens, trim_conversation
from tollgate.domain.trimming.policy import TrimmingPolicy
from tollgate.domain.trimming.terms import Dropped, TokenCounter, Trimmed, require_room

_DOCUMENT_TOKENS = 5
"""Number and blank lines around a document, as `_as_text` writes them."""

MOST_DOCUMENTS = 2_000
"""Most documents chosen among; a retriever returns dozens, and the time grows with the square of their number."""

MOST_MESSAGES = 10_000
"""Most messages chosen among. Each that is dropped is reported, and the whole report has to fit into an answer."""

_ROLES = {role.value: role for role in Role} | {"function": Role.TOOL}


@dataclass(frozen=True, slots=True)
class TrimReport:
    """What was trimmed from a request.

    Args:
        input_tokens_before: estimated tokens of everything the caller gave.
        input_tokens_after: of what is sent; never above the budget.
        messages: dropped messages.
        documents: dropped documents, or parts of them.
    """

    input_tokens_before: int
    input_tokens_after: int
    messages: tuple[Dropped, ...] = field(default=())
    documents: tuple[Dropped, ...] = field(default=())

    @property
    def input_tokens_saved(self) -> int:
        """Tokens that need not be paid for."""
        return self.input_tokens_before - self.input_tokens_after


_TOOLS = ("tools", "functions")
"""Chat templates write them into the prompt; `functions` is OpenAI's older form."""


def trim_input(
    value: Any,
    policy: TrimmingPolicy,
    *,
    parameters: Mapping[str, Any],
    takes_documents: bool,
    count_tokens: TokenCounter | None = None,
) -> tuple[Any, TrimReport]:
    """Trim an input; returns what to send, and a report of what is left out.

    Args:
        value: the request's input.
        policy: how to trim.
        parameters: sent beside it; tools and documents among them count as input.
        takes_documents: whether the container understands `documents`.
        count_tokens: of a text; None to estimate.

    Raises:
        InputBudgetError: what must be sent exceeds the budget. Texts without messages cannot be trimmed.
        InvalidRequestError: the documents have another form, or there are more messages or documents than can be
            chosen among.
    """
    count = count_tokens or partial(estimate_tokens, family=policy.tokenizer)
    given = value.get("documents") if isinstance(value, dict) else None
    chunks = None if given is None else _chunks(given)
    messages = messages_in(value)
    if messages is not None and len(messages) > MOST_MESSAGES:
        raise InvalidRequestError(f"At most {MOST_MESSAGES} messages can be trimmed.", param="messages")
    beside = [parameters.get(name) for name in (*_TOOLS, "documents")]
    fixed = 0
    if messages is None:
        # Documents are counted separately: all the text of an object would count them again.
        said = {name: part for name, part in value.items() if name != "documents"} if isinstance(value, dict) else value
        talk: list[Message] = []
        fixed += count(all_text(said))
    else:
        talk = [_message(message, position) for position, message in enumerate(messages)]
        if isinstance(value, dict):
            beside += [value.get(name) for name in _TOOLS]
    fixed += sum(count(compact_json(part)) for part in beside if part)
    sizes = [message_tokens(message, count) for message in talk]
    documents = None
    if chunks is not None:
        documents = _trim_documents(
            chunks, policy, _query(value, policy), fixed=fixed, talk=talk, sizes=sizes, text_tokens=count
        )
        fixed += documents.input_tokens_after
    limit = fixed + sum(sizes) if policy.input_tokens is None else policy.input_tokens
    require_room(fixed, limit, "The prompt, the tools and the documents" if fixed else "The prompt")
    kept = trim_conversation(talk, limit - fixed, policy.query or None, keep_last=policy.keep_last, sizes=sizes)
    report = TrimReport(
        input_tokens_before=fixed + kept.input_tokens_before + (documents.input_tokens_saved if documents else 0),
        input_tokens_after=fixed + kept.input_tokens_after,
        messages=kept.dropped,
        documents=documents.dropped if documents else (),
    )
    return _rebuilt(value, messages, kept, None if documents is None else documents.items, takes_documents), report


def _trim_documents(
    chunks: Sequence[Chunk],
    policy: TrimmingPolicy,
    query: str,
    *,
    fixed: int,
    talk: Sequence[Message],
    sizes: Sequence[int],
    text_tokens: TokenCounter,
) -> Trimmed[Chunk]:
    def count(text: str) -> int:
        return text_tokens(text) + _DOCUMENT_TOKENS

    budget = policy.documents_tokens
    if policy.input_tokens is not None:
        # If both do not fit, documents get at least half of what the last turns leave.
        must = sum(
            size
            for i, (message, size) in enumerate(zip(talk, sizes, strict=True))
            if i >= len(talk) - policy.keep_last or message.keep or message.role in {Role.SYSTEM, Role.DEVELOPER}
        )
        room = max(0, policy.input_tokens - fixed - must)
        share = max(room // 2, policy.input_tokens - fixed - sum(sizes))
        budget = share if budget is None else min(budget, share)
    if budget is None and policy.documents_top_k is None:
        return trim_chunks(chunks, query, top_k=len(chunks), count_tokens=count)
    return trim_chunks(
        chunks,
        query,
        budget_tokens=budget,
        top_k=policy.documents_top_k,
        diversity=policy.diversity,
        cut_sentences=policy.cut_sentences,
        count_tokens=count,
    )


def _query(value: Any, policy: TrimmingPolicy) -> str:
    return policy.query or next((text for role, text in reversed(spoken(value)) if role == "user"), "")


def _chunks(given: Any) -> list[Chunk]:
    if not isinstance(given, list):
        raise InvalidRequestError("'documents' is a list of texts, or of objects with 'text'.", param="documents")
    if len(given) > MOST_DOCUMENTS:
        raise InvalidRequestError(f"At most {MOST_DOCUMENTS} documents can be trimmed.", param="documents")
    return [_chunk(entry, position) for position, entry in enumerate(given)]


def _chunk(entry: Any, position: int) -> Chunk:
    if isinstance(entry, str):
        return Chunk(entry)
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise InvalidRequestError(
            f"Document {position} must be a text or an object with 'text'.", param=f"documents[{position}]"
        )
    name, title = entry.get("id"), entry.get("title")
    return Chunk(
        entry["text"],
        id=name if isinstance(name, str) else "",
        title=title if isinstance(title, str) else "",
        keep=_is_kept(entry, f"documents[{position}]"),
    )


def _is_kept(entry: Mapping[str, Any], place: str) -> bool:
    mark = entry.get(KEEP)
    if mark is None or isinstance(mark, bool):
        return mark is True
    # Taken for false, it would show only by what the model was not told.
    raise InvalidRequestError(f"'{KEEP}' is true or false.", param=f"{place}.{KEEP}")


def _message(message: Mapping[str, Any], position: int) -> Message:
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    listed = message.get("tool_calls")
    calls = [call for call in listed if isinstance(call, dict)] if isinstance(listed, list) else []
    called = message.get("function_call")
    text = content_text(content)
    if calls or called:
        text = f"{text}\n{all_text([call.get('function') for call in calls])}\n{all_text(called)}"
    ids = [str(call.get("id", "")) for call in calls]
    name = str(message.get("name") or "")
    if isinstance(called, dict):
        # OpenAI's older form has no ids: the result answers the latest call of that function.
        ids.append(f"function {called.get('name')}")
    answers = f"function {name}" if message["role"] == "function" else str(message.get("tool_call_id") or "")
    return Message(
        role=_ROLES.get(message["role"], Role.USER),
        text=text,
        name=name,
        keep=_is_kept(message, f"messages[{position}]"),
        tool_call_ids=tuple(ids),
        tool_result_of=answers,
        extra_tokens=IMAGE_TOKENS * sum(1 for part in parts if not isinstance(part, dict) or "text" not in part),
    )


def _rebuilt(
    value: Any,
    messages: Sequence[Mapping[str, Any]] | None,
    kept: Trimmed[Message],
    documents: Sequence[Chunk] | None,
    takes_documents: bool,
) -> Any:
    """The input in its original form, with only what is left."""
    if messages is not None:
        gone = {dropped.index for dropped in kept.dropped}
        left = [message for i, message in enumerate(messages) if i not in gone]
        value = without_marks({**value, "messages": left} if isinstance(value, dict) else left)
    if documents is None:
        return value
    if takes_documents:
        return {**value, "documents": [_document(chunk) for chunk in documents]}
    plain = {name: part for name, part in value.items() if name != "documents"}
    return _with_text(plain, _as_text(documents)) if documents else plain


def _document(chunk: Chunk) -> dict[str, str]:
    named = {"id": chunk.id, "title": chunk.title, "text": chunk.text}
    return {name: text for name, text in named.items() if text}


def _as_text(documents: Sequence[Chunk]) -> str:
    return "\n\n".join(f"[{number}] {chunk.rendered}" for number, chunk in enumerate(documents, 1))


def _with_text(value: dict[str, Any], documents: str) -> dict[str, Any]:
    """The input with the documents before the question, in the same message, because some templates require turns."""
    messages = messages_in(value)
    if messages is None:
        prompt = plain_text(value)
        return value if prompt is None else {**value, "inputs": f"{documents}\n\n{prompt}"}
    last = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=None)
    if last is None:
        return {**value, "messages": [*messages, {"role": "user", "content": documents}]}
    asked = messages[last].get("content")
    content: Any = [{"type": "text", "text": documents}, *asked] if isinstance(asked, list) else None
    changed = {**messages[last], "content": content or f"{documents}\n\n{asked or ''}"}
    return {**value, "messages": [*messages[:last], changed, *messages[last + 1 :]]}
