"""Trimming retrieved chunks to a token budget or to the best few.

Chunks are chosen by relevance (`tollgate.domain.trimming.chunk_relevance`) and diversity: text that repeats a chosen
piece is worth less, as in maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998). If the caller allows it the
choice is made sentence by sentence, and a chunk is sent as its title with the chosen sentences.
"""

import heapq
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import replace
from dataclasses import dataclass
from itertools import batched

from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.tokens import estimate_tokens
from tollgate.domain.trimming.chunk_relevance import Passage, leading_name, passage_scores
from tollgate.domain.trimming.relevance import density
from tollgate.domain.trimming.terms import (
    Dropped,
    DropReason,
    TokenCounter,
    Trimmed,
    foldable,
    require_room,
)
from tollgate.domain.trimming.words import topic_words

SENTENCE_PRICE = 0.3
"""How strongly a piece's length counts against it, see `tollgate.domain.trimming.relevance.density`."""

ELLIPSIS = " \u2026 "
"""Marks sentences left out of a chunk."""

MOST_UNITS = 1_000
"""Most sentences chosen among one by one. Each is compared with those chosen before, so the time grows with the square
of their number; if there are more, neighbours are taken together.
"""

_MOST_COUNTED = 40_000_000
"""Characters. A chunk's tokens are counted anew with each sentence that might be added to it."""

_MOST_COMPARED = 4_000_000
"""Words. Pieces are compared with one another until this many were; the rest are chosen by what is known by then."""

_RANK_PRIOR = 1e-6
# After an end mark, where what follows does not begin in lower case; after an East Asian one; at a blank line.
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])[\"')\]\u201d\u2019]?\s+(?=[^\sa-z])|(?<=[\u3002\uff01\uff1f])|\n\s*\n")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A retrieved piece of a document.

    Args:
        text: its words.
        id: the caller's name for it in reports; its index if empty.
        title: the document's title, sent above the text; chunks of one title are read as one document.
        keep: never drop it, never cut inside it.
    """

    text: str
    id: str = ""
    title: str = ""
    keep: bool = False

    @property
    def rendered(self) -> str:
        """The chunk as it is counted and sent."""
        return f"{self.title}\n{self.text}" if self.title else self.text


def trim_chunks(
    chunks: Sequence[Chunk],
    query: str,
    *,
    budget_tokens: int | None = None,
    top_k: int | None = None,
    diversity: float = 0.3,
    cut_sentences: bool = False,
    count_tokens: TokenCounter = estimate_tokens,
) -> Trimmed[Chunk]:
    """Choose the chunks, or the sentences of them, that answer the query best.

    Exact duplicates are folded. The order stays the caller's; of otherwise equal chunks the earlier one, which the
    retriever ranked higher, wins.

    Args:
        chunks: what was retrieved, best first if the retriever ranks.
        query: the question.
        budget_tokens: input tokens that the result never exceeds, by ``count_tokens``; None for no limit.
        top_k: send at most this many chunks besides those marked keep; None for no limit.
        diversity: 0 looks at relevance alone, 1 gives nothing for a piece whose words were all chosen already.
        cut_sentences: allow chunks that are not marked keep to be cut to their best sentences.
        count_tokens: counts a text's tokens.

    Raises:
        InputBudgetError: the chunks marked keep exceed the budget.
        InvalidRequestError: neither a budget nor a number of chunks is given, or diversity is not in 0..1.
    """
    if budget_tokens is None and top_k is None:
        raise InvalidRequestError("Give a token budget or a number of chunks.", param="budget_tokens")
    if not 0.0 <= diversity <= 1.0:
        raise InvalidRequestError("Diversity is a number from 0 to 1.", param="diversity")
    whole = [count_tokens(chunk.rendered) for chunk in chunks]
    fixed = [chunk.keep for chunk in chunks]
    fixed_tokens = sum(count for count, keep in zip(whole, fixed, strict=True) if keep)
    limit = sum(whole) if budget_tokens is None else budget_tokens
    require_room(fixed_tokens, limit, "The chunks marked keep")

    # The first one: it has the retriever's better rank.
    folded = foldable([(chunk.title, chunk.text) for chunk in chunks], fixed, keep_first=True)
    left = [i for i in range(len(chunks)) if i not in folded]
    most = len(chunks) if top_k is None else top_k
    if sum(whole[i] for i in left) <= limit and sum(not fixed[i] for i in left) <= most:
        texts = {i: chunks[i].text for i in left}
    else:
        price = 0.0 if budget_tokens is None else SENTENCE_PRICE
        choice = _Choice(chunks, left, whole, count_tokens, cut_sentences=cut_sentences)
        texts = choice.make(query, limit, most, diversity, price)
    return _report(chunks, whole, folded, texts, count_tokens)


@dataclass(frozen=True, slots=True)
class _Unit:
    """The unit of choice: a chunk, or a sentence of one.

    Args:
        chunk: index of its chunk.
        start: where it begins in the chunk's text.
        end: where it ends.
    """

    chunk: int
    start: int
    end: int


class _Choice:
    """The state of one greedy choice among units."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        candidates: Sequence[int],
        whole: Sequence[int],
        count_tokens: TokenCounter,
        *,
        cut_sentences: bool,
    ) -> None:
        self._chunks = chunks
        self._count = count_tokens
        self._units = _units(chunks, candidates, cut_sentences=cut_sentences)
        self._texts = [chunks[unit.chunk].text[unit.start : unit.end] for unit in self._units]
        self._words: dict[int, frozenset[str]] = {}
        self._titles = {i: chunks[i].title or leading_name(chunks[i].text) for i in candidates}
        self._chosen: list[int] = []
        self._spans: dict[int, list[_Unit]] = {}
        self._tokens: dict[int, int] = {}
        self._comparable = _MOST_COMPARED
        for number, unit in enumerate(self._units):
            if chunks[unit.chunk].keep:
                self._take(number, whole[unit.chunk])

    def make(self, query: str, limit: int, most: int, diversity: float, price: float) -> dict[int, str]:
        """Choose units, and return the text to send for each chosen chunk.

        Every unit is compared with those chosen since it was last looked at, and only when it comes to the top:
        values only fall, so a unit whose value is up to date and still the highest is the best one.
        """
        values = self._values(query, price)
        overlaps = [0.0] * len(self._units)
        seen = [0] * len(self._units)
        fixed = frozenset(self._chosen)
        heap = [(-value, number) for number, value in enumerate(values) if number not in fixed]
        heapq.heapify(heap)
        used, opened = sum(self._tokens.values()), 0
        while heap:
            negative, number = heapq.heappop(heap)
            chunk = self._units[number].chunk
            is_new = chunk not in self._spans
            tokens = self._count(_with_title(self._chunks[chunk], self._text_of(chunk, number)))
            added = tokens - self._tokens.get(chunk, 0)
            if used + added > limit or (is_new and opened >= most):
                continue
            for other in self._chosen[seen[number] :] if diversity and self._comparable > 0 else ():
                overlaps[number] = max(overlaps[number], self._overlap(number, other))
            seen[number] = len(self._chosen)
            value = values[number] * (1.0 - diversity * overlaps[number])
            if heap and value < -heap[0][0] and value < -negative:
                heapq.heappush(heap, (-value, number))
                continue
            opened += is_new
            used += added
            self._take(number, tokens)
        return {chunk: self._text_of(chunk) for chunk in self._spans}

    def _values(self, query: str, price: float) -> list[float]:
        passages = [
            Passage(self._chunks[unit.chunk].title or f"\0{unit.chunk}", self._titles[unit.chunk], text)
            for unit, text in zip(self._units, self._texts, strict=True)
        ]
        last = len(self._units)
        return [
            density(score, self._count(_with_title(self._chunks[unit.chunk], text)), price)
            + _RANK_PRIOR * (1.0 - number / last)
            for number, (unit, text, score) in enumerate(
                zip(self._units, self._texts, passage_scores(passages, query), strict=True)
            )
        ]

    def _overlap(self, number: int, other: int) -> float:
        """The share of a unit's topic words that another one has too."""
        words = self._words_of(number)
        self._comparable -= 1 + len(words)
        return len(words & self._words_of(other)) / len(words) if words and self._comparable > 0 else 0.0

    def _words_of(self, number: int) -> frozenset[str]:
        if number not in self._words:
            self._words[number] = topic_words(self._texts[number])
        return self._words[number]

    def _take(self, number: int, chunk_tokens: int) -> None:
        unit = self._units[number]
        self._chosen.append(number)
        self._spans.setdefault(unit.chunk, []).append(unit)
        self._tokens[unit.chunk] = chunk_tokens

    def _text_of(self, chunk: int, added: int | None = None) -> str:
        """The chosen sentences of a chunk in reading order; a gap between them shows as an ellipsis."""
        units = self._spans.get(chunk, []) + ([] if added is None else [self._units[added]])
        text = self._chunks[chunk].text
        runs: list[tuple[int, int]] = []
        for unit in sorted(units, key=lambda unit: unit.start):
            if runs and runs[-1][1] == unit.start:
                runs[-1] = (runs[-1][0], unit.end)
            else:
                runs.append((unit.start, unit.end))
        if runs == [(0, len(text))]:
            return text
        return ELLIPSIS.join(text[start:end].strip() for start, end in runs)


def _units(chunks: Sequence[Chunk], candidates: Sequence[int], *, cut_sentences: bool) -> list[_Unit]:
    """The chunks, or where they may be cut, their sentences; neighbours are joined if there are too many."""
    spans = {
        i: _sentences(chunks[i].text) if cut_sentences and not chunks[i].keep else [(0, len(chunks[i].text))]
        for i in candidates
    }
    together = -(-sum(map(len, spans.values())) // MOST_UNITS) if cut_sentences else 1
    each = max(1, _MOST_COUNTED // (1 + sum(len(chunks[i].text) for i in candidates)))
    return [
        _Unit(i, several[0][0], several[-1][1])
        for i, found in spans.items()
        for several in batched(found, max(1, together, -(-len(found) // each)), strict=False)
    ]


def _sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text begin and end; together they are the whole text."""
    starts = [0, *(match.end() for match in _SENTENCE_END.finditer(text) if 0 < match.end() < len(text))]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def _with_title(chunk: Chunk, text: str) -> str:
    return replace(chunk, text=text).rendered


def _report(
    chunks: Sequence[Chunk],
    whole: Sequence[int],
    folded: AbstractSet[int],
    texts: Mapping[int, str],
    count_tokens: TokenCounter,
) -> Trimmed[Chunk]:
    items, dropped, after = [], [], 0
    for i, chunk in enumerate(chunks):
        text, tokens = texts.get(i), 0
        if text is not None:
            items.append(chunk if text == chunk.text else replace(chunk, text=text))
            tokens = whole[i] if text == chunk.text else count_tokens(items[-1].rendered)
            after += tokens
        if text != chunk.text:
            reason = DropReason.DUPLICATE if i in folded else DropReason.BUDGET
            dropped.append(Dropped(i, chunk.id or str(i), whole[i] - tokens, reason, is_partial=text is not None))
    return Trimmed(tuple(items), tuple(dropped), sum(whole), after)
