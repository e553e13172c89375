"""Trimming a conversation to a token budget.

System messages, the last turns, and messages that the caller marks ``keep`` always stay. The rest competes for the
budget by relevance to the query (`tollgate.domain.trimming.relevance`), whole messages at a time and in the caller's
order. A tool call and its results are one piece: providers reject one without the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tollgate.domain.tokens import estimate_tokens
from tollgate.domain.trimming.relevance import density, positional_scores
from tollgate.domain.trimming.terms import (
    DUPLICATE_MIN_CHARACTERS,
    Dropped,
    DropReason,
    TokenCounter,
    Trimmed,
    foldable,
    require_room,
)

MESSAGE_OVERHEAD_TOKENS = 4
"""Role and separators of one message in a chat template. OpenAI's cookbook, "How to count tokens", gives 3 and one
more for a name; ChatML templates (SmolLM2, Qwen) take 4 to 5."""

TOKEN_PRICE = 0.13
"""How strongly a message's length counts against it, see `tollgate.domain.trimming.relevance.density`."""

_RECENCY = 1e-6


class Role(StrEnum):
    """The speaker's role, in the terms of chat APIs."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Message:
    """The parts of a message that trimming needs.

    Args:
        role: who speaks.
        text: what is said; for a tool call its name and arguments.
        id: the caller's name for it in reports; its index if empty.
        name: the speaker, where there are more than two.
        keep: never drop it, never cut inside it.
        tool_call_ids: the calls that an assistant's message makes.
        tool_result_of: the call that a tool's message answers.
        tokens: its exact tokens with overhead, if known; otherwise they are counted.
        extra_tokens: tokens of content other than text, such as images.
    """

    role: Role
    text: str
    id: str = ""
    name: str = ""
    keep: bool = False
    tool_call_ids: tuple[str, ...] = ()
    tool_result_of: str = ""
    tokens: int | None = None
    extra_tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    """Messages that stay or go together, by their indices in ascending order."""

    members: tuple[int, ...]
    tokens: int
    is_fixed: bool
    is_orphan: bool


def message_tokens(message: Message, count_tokens: TokenCounter = estimate_tokens) -> int:
    """What a message costs as input: its own figure if it has one, else text, name, overhead and extras."""
    if message.tokens is not None:
        return message.tokens
    text = f"{message.name}\n{message.text}" if message.name else message.text
    return count_tokens(text) + MESSAGE_OVERHEAD_TOKENS + message.extra_tokens


def trim_conversation(
    messages: Sequence[Message],
    budget_tokens: int,
    query: str | None = None,
    *,
    keep_last: int = 2,
    fold_duplicates: bool = True,
    count_tokens: TokenCounter = estimate_tokens,
    sizes: Sequence[int] | None = None,
) -> Trimmed[Message]:
    """Choose the messages that answer the query best within a budget.

    Exact duplicates of at least `DUPLICATE_MIN_CHARACTERS` characters are folded even where everything would fit.
    Tool results whose call is not in the conversation are dropped unless they must stay. Without a query, or where
    no word of it occurs, the latest messages win.

    Args:
        messages: the conversation, oldest first.
        budget_tokens: input tokens that the result never exceeds, by ``count_tokens``.
        query: what the answer is about; the last user message if None.
        keep_last: this many of the last messages always stay, with the tool calls that belong to them.
        fold_duplicates: send equal messages once.
        count_tokens: counts a text's tokens.
        sizes: the `message_tokens` of each message, if they were counted before.

    Raises:
        InputBudgetError: the messages that must stay exceed the budget.
    """
    tokens = [message_tokens(message, count_tokens) for message in messages] if sizes is None else sizes
    pieces = _pieces(messages, tokens, keep_last)
    fixed_tokens = sum(piece.tokens for piece in pieces if piece.is_fixed)
    require_room(fixed_tokens, budget_tokens, "The system messages, the last turns and those marked keep")

    reasons = {number: DropReason.ORPHAN for number, piece in enumerate(pieces) if piece.is_orphan}
    if fold_duplicates:
        keys = [_duplicate_key(messages, piece) for piece in pieces]
        # The last one: the model reads it where it was last needed.
        folded = foldable(keys, [piece.is_fixed for piece in pieces], keep_first=False)
        reasons |= dict.fromkeys(folded - reasons.keys(), DropReason.DUPLICATE)
    candidates = [n for n, piece in enumerate(pieces) if not piece.is_fixed and n not in reasons]
    if fixed_tokens + sum(pieces[n].tokens for n in candidates) > budget_tokens:
        order = _by_density(messages, pieces, candidates, _query_of(messages) if query is None else query)
        used = fixed_tokens
        for number in order:
            if used + pieces[number].tokens <= budget_tokens:
                used += pieces[number].tokens
            else:
                reasons[number] = DropReason.BUDGET

    reason_of = {i: reason for number, reason in reasons.items() for i in pieces[number].members}
    return Trimmed(
        items=tuple(message for i, message in enumerate(messages) if i not in reason_of),
        dropped=tuple(
            Dropped(i, messages[i].id or str(i), tokens[i], reason) for i, reason in sorted(reason_of.items())
        ),
        input_tokens_before=sum(tokens),
        input_tokens_after=sum(count for i, count in enumerate(tokens) if i not in reason_of),
    )


def _pieces(messages: Sequence[Message], tokens: Sequence[int], keep_last: int) -> list[_Piece]:
    """The conversation as pieces: a message alone, or an assistant's message with the results of its calls."""
    caller_of: dict[str, int] = {}
    members: dict[int, list[int]] = {}
    orphans: set[int] = set()
    for i, message in enumerate(messages):
        # A repeated call id belongs to the latest message that made it.
        caller_of |= dict.fromkeys(message.tool_call_ids, i)
        caller = caller_of.get(message.tool_result_of) if message.role is Role.TOOL else None
        members.setdefault(i if caller is None else caller, []).append(i)
        if message.role is Role.TOOL and caller is None:
            orphans.add(i)
    first_of_last = len(messages) - keep_last
    pieces = []
    for first, indices in sorted(members.items()):
        is_fixed = any(_must_stay(messages[i]) or i >= first_of_last for i in indices)
        total = sum(tokens[i] for i in indices)
        pieces.append(_Piece(tuple(indices), total, is_fixed, first in orphans and not is_fixed))
    return pieces


def _must_stay(message: Message) -> bool:
    return message.keep or message.role in {Role.SYSTEM, Role.DEVELOPER}


def _duplicate_key(messages: Sequence[Message], piece: _Piece) -> tuple[tuple[Role, str, str], ...] | None:
    """A key equal for pieces in which the same speakers say the same things, whatever the ids of their calls."""
    if sum(len(messages[i].text) for i in piece.members) < DUPLICATE_MIN_CHARACTERS:
        return None
    if any(messages[i].extra_tokens for i in piece.members):
        return None  # images and the like cannot be compared here
    return tuple((messages[i].role, messages[i].name, messages[i].text) for i in piece.members)


def _query_of(messages: Sequence[Message]) -> str:
    return next((message.text for message in reversed(messages) if message.role is Role.USER), "")


def _by_density(
    messages: Sequence[Message], pieces: Sequence[_Piece], candidates: Sequence[int], query: str
) -> list[int]:
    """The candidates by relevance for their price, best first; of equal ones the latest first."""
    passages = [" ".join(f"{messages[i].name} {messages[i].text}" for i in piece.members) for piece in pieces]
    scores = positional_scores(passages, query)
    values = {n: density(scores[n], pieces[n].tokens, TOKEN_PRICE) + _RECENCY * n / len(pieces) for n in candidates}
    return sorted(candidates, key=lambda n: (-values[n], -n))
