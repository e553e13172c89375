"""What trimming is compared with: the order of the text, and plain BM25."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

_WORD = re.compile(r"[a-z0-9]+")
type Chooser = Callable[[str, int], set[int]]
"""Gives the indices of the passages to send for a question and a budget."""


def fill(order: Sequence[int], costs: Sequence[int], budget: int) -> set[int]:
    """Take what still fits, in the given order."""
    chosen: set[int] = set()
    used = 0
    for i in order:
        if i not in chosen and used + costs[i] <= budget:
            chosen.add(i)
            used += costs[i]
    return chosen


def keep_last(costs: Sequence[int]) -> Chooser:
    """The latest passages."""
    return lambda _question, budget: fill(range(len(costs) - 1, -1, -1), costs, budget)


def keep_first(costs: Sequence[int]) -> Chooser:
    """The earliest passages."""
    return lambda _question, budget: fill(range(len(costs)), costs, budget)


def bm25(documents: Sequence[str]) -> Callable[[str], list[float]]:
    """BM25 with k1 = 1.5 and b = 0.75 over lower-case words and digits."""
    words = [_WORD.findall(document.lower()) for document in documents]
    mean = sum(map(len, words)) / len(words)
    postings: dict[str, dict[int, int]] = {}
    for i, document in enumerate(words):
        for word, count in Counter(document).items():
            postings.setdefault(word, {})[i] = count

    def score(question: str) -> list[float]:
        scores = [0.0] * len(words)
        for word in set(_WORD.findall(question.lower())):
            found = postings.get(word, {})
            rarity = math.log(1 + (len(words) - len(found) + 0.5) / (len(found) + 0.5))
            for i, count in found.items():
                scores[i] += rarity * count * 2.5 / (count + 1.5 * (0.25 + 0.75 * len(words[i]) / mean))
        return scores

    return score


def bm25_with_neighbours(passages: Sequence[str], costs: Sequence[int], reach: int) -> Chooser:
    """The best passages by BM25, each followed by those next to it up to a distance."""
    score = bm25(passages)
    offsets = [0, *(offset for step in range(1, reach + 1) for offset in (-step, step))]

    def choose(question: str, budget: int) -> set[int]:
        scores = score(question)
        best = sorted(range(len(scores)), key=lambda i: -scores[i])
        order = [i + offset for i in best for offset in offsets if 0 <= i + offset < len(scores)]
        return fill(order, costs, budget)

    return choose


def bm25_windows(passages: Sequence[str], costs: Sequence[int], size: int, step: int) -> Chooser:
    """The best windows of consecutive passages by BM25."""
    windows = [range(start, min(len(passages), start + size)) for start in range(0, len(passages), step)]
    score = bm25([" ".join(passages[i] for i in window) for window in windows])

    def choose(question: str, budget: int) -> set[int]:
        scores = score(question)
        best = sorted(range(len(windows)), key=lambda number: -scores[number])
        return fill([i for number in best for i in windows[number]], costs, budget)

    return choose
