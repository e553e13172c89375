"""Exact token counts, by a model's own tokenizer."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tollgate.domain.trimming.terms import TokenCounter


class TokenizerSource(Protocol):
    """Where tokenizers come from."""

    def counter(self, name: str) -> "TokenCounter | None":
        """What counts tokens as the named tokenizer does; None where it cannot be had."""
        ...
