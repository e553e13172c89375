"""Tokenizers in memory."""

from dataclasses import dataclass, field

from tollgate.domain.trimming.terms import TokenCounter


def count_words(text: str) -> int:
    """A tokenizer whose tokens are the words between spaces."""
    return len(text.split())


@dataclass
class InMemoryTokenizers:
    """The `TokenizerSource` of tests: counters by name."""

    counters: dict[str, TokenCounter] = field(default_factory=dict)

    def counter(self, name: str) -> TokenCounter | None:
        """See `TokenizerSource`."""
        return self.counters.get(name)
