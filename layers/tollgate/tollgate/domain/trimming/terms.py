"""What trimming takes and returns, whatever is trimmed: the report, the token counter, the exact duplicates."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tollgate.domain.errors import InputBudgetError

type TokenCounter = Callable[[str], int]
"""Counts the tokens of a text: an estimate (`tollgate.domain.tokens`) or the model's own tokenizer."""

DUPLICATE_MIN_CHARACTERS = 40
"""Shorter texts are never folded: a second "yes" answers another question."""


class DropReason(StrEnum):
    """Why something was not sent."""

    BUDGET = "budget"
    DUPLICATE = "duplicate"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something, or a part of it, that was not sent.

    Args:
        index: its place in what the caller gave, from 0.
        id: the caller's own name for it, or its index as text.
        tokens: input tokens saved by it.
        reason: why.
        is_partial: the rest of it was sent.
    """

    index: int
    id: str
    tokens: int
    reason: DropReason
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Trimmed[Item]:
    """What is to be sent, and what is not.

    Args:
        items: what is left, in the caller's order.
        dropped: what is left out, in the caller's order.
        input_tokens_before: tokens of everything that the caller gave.
        input_tokens_after: tokens of ``items``; never above the budget.
    """

    items: tuple[Item, ...]
    dropped: tuple[Dropped, ...]
    input_tokens_before: int
    input_tokens_after: int

    @property
    def input_tokens_saved(self) -> int:
        """Tokens that need not be paid for."""
        return self.input_tokens_before - self.input_tokens_after


def require_room(needed: int, budget_tokens: int, what: str) -> None:
    """Check that what may not be dropped fits.

    Raises:
        InputBudgetError: it does not.
    """
    if needed > budget_tokens:
        raise InputBudgetError(needed=needed, budget=budget_tokens, what=what)


def foldable(keys: Sequence[Hashable | None], is_fixed: Sequence[bool], *, keep_first: bool) -> set[int]:
    """Positions that need not be sent because an equal one is.

    Among equal ones every fixed one stays; without a fixed one the first or the last stays.

    Args:
        keys: equal keys mean equal positions; None is equal to nothing.
        is_fixed: per position, whether it may not be dropped.
        keep_first: which of equal ones stays.
    """
    kept = {key for key, held in zip(keys, is_fixed, strict=True) if held}
    folded: set[int] = set()
    for position in range(len(keys)) if keep_first else range(len(keys) - 1, -1, -1):
        key = keys[position]
        if key is None or is_fixed[position]:
            continue
        if key in kept:
            folded.add(position)
        kept.add(key)
    return folded
