"""Relevance of each message of a conversation to a question, from words and positions alone.

A message is scored at three ranges: by itself, with its neighbours, and with the stretch of talk that it is part of.
Each range is a BM25 score (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) of a passage whose
term counts fade exponentially with distance, the idea of positional language models (Lv and Zhai, SIGIR 2009). So an
answer that repeats no word of the question is found next to the message that does, and a topic that was discussed
for twenty messages outweighs a stray mention. The inverse document frequency comes from the conversation itself.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tollgate.domain.trimming.words import QueryMatcher, fold, query_terms

_MOST_STEPS = 250_000
"""Terms times passages: each term's share is added to every passage, a microsecond each."""

_LEAST_TERMS = 32

_QUESTION_MARKS = ("?", "\uff1f", "\u061f", "\u037e")


@dataclass(frozen=True, slots=True)
class RangeWeights:
    """The shape of the score. The defaults are for dialogue; see ``benchmarks/trimming.py`` for what they reach.

    Args:
        saturation: BM25's k1, how soon further occurrences of a word stop counting.
        length_share: BM25's b, how far a long message is held to its length, 0..1.
        own: weight of a message by itself.
        near: weight of a message with its neighbours.
        near_fade: how much of a count is left one message further on, 0..1.
        wide: weight of a message with its stretch of talk.
        wide_fade: as ``near_fade``, for the stretch.
        answer: share of a question's score that the message after it inherits.
    """

    saturation: float = 1.0
    length_share: float = 0.5
    own: float = 1.0
    near: float = 2.0
    near_fade: float = 0.6
    wide: float = 4.0
    wide_fade: float = 0.92
    answer: float = 0.1


DIALOGUE = RangeWeights()


def inverse_frequency(passages: int, having: float) -> float:
    """BM25's inverse document frequency, in the form that is never negative."""
    return math.log(1.0 + (passages - having + 0.5) / (having + 0.5))


def length_norms(passages: Sequence[str], length_share: float) -> list[float]:
    """BM25's length factor per passage: 1 at the mean length. Counts characters, since words would need splitting."""
    mean = (sum(len(passage) + 4 for passage in passages) / len(passages)) if passages else 1.0
    return [1.0 - length_share + length_share * (len(passage) + 4) / mean for passage in passages]


def weighted_terms(
    folded: Sequence[str],
    query: str,
    *,
    length_share: float,
    titles: Iterable[str] | None = None,
    title_weight: float = 0.0,
) -> Iterator[tuple[float, dict[int, float]]]:
    """Each term of a query that occurs: its weight times its rarity, and its counts by passage.

    Counts are for passages of mean length (`length_norms`). Among thousands of passages only some of a long query's
    terms are looked for.

    Args:
        folded: the passages, folded.
        query: the question.
        length_share: BM25's b.
        titles: a folded title for each passage, if they have some.
        title_weight: what a term in the title adds to its count, whatever the length.
    """
    norms = length_norms(folded, length_share)
    terms = query_terms(query)
    most = max(_LEAST_TERMS, _MOST_STEPS // (1 + len(folded)))
    matcher = QueryMatcher(terms[:: -(-len(terms) // most)] if terms else ())
    in_titles = [{}] * len(matcher.terms) if titles is None else matcher.postings(titles)
    for term, in_text, in_title in zip(matcher.terms, matcher.postings(folded), in_titles, strict=True):
        counts = {i: count / norms[i] for i, count in in_text.items()}
        for i in in_title:
            counts[i] = counts.get(i, 0.0) + title_weight
        if counts:
            yield term.weight * inverse_frequency(len(folded), len(counts)), counts


def positional_scores(passages: Sequence[str], query: str, weights: RangeWeights = DIALOGUE) -> list[float]:
    """A score for each passage in the order of the conversation, 0 or more; all 0 where no word of the query occurs.

    Args:
        passages: the messages' text, speaker's name included if it should count.
        query: the question, in the same language.
        weights: the shape of the score.
    """
    scores = [0.0] * len(passages)
    folded = [fold(passage) for passage in passages]
    for importance, counts in weighted_terms(folded, query, length_share=weights.length_share):
        _add_term(scores, counts, importance, weights)
    if weights.answer:
        _pass_to_answers(scores, passages, weights.answer)
    return scores


def _add_term(scores: list[float], counts: Mapping[int, float], importance: float, weights: RangeWeights) -> None:
    """Add one term's share to every passage, at all three ranges, in time linear in the passages."""
    k1, near_fade, wide_fade = weights.saturation, weights.near_fade, weights.wide_fade
    own = importance * weights.own * (k1 + 1.0)
    near, wide = importance * weights.near, importance * weights.wide
    # The sum of the fading weights is 1 / (1 - fade) on each side; with this the stretch saturates like a message.
    wide_k = 0.35 * k1 / (1.0 - wide_fade)
    total = len(scores)
    before_near, before_wide = [0.0] * total, [0.0] * total
    carried_near = carried_wide = 0.0
    for i in range(total):
        here = counts.get(i, 0.0)
        carried_near = carried_near * near_fade + here
        carried_wide = carried_wide * wide_fade + here
        before_near[i], before_wide[i] = carried_near, carried_wide
    carried_near = carried_wide = 0.0
    for i in range(total - 1, -1, -1):
        in_near, in_wide = before_near[i] + carried_near, before_wide[i] + carried_wide
        score = near * in_near / (in_near + k1) + wide * in_wide / (in_wide + wide_k)
        here = counts.get(i, 0.0)
        if here:
            score += own * here / (here + k1)
        scores[i] += score
        carried_near = (carried_near + here) * near_fade
        carried_wide = (carried_wide + here) * wide_fade


def _pass_to_answers(scores: list[float], passages: Sequence[str], share: float) -> None:
    for i in range(1, len(scores)):
        if passages[i - 1].rstrip().endswith(_QUESTION_MARKS):
            scores[i] += share * scores[i - 1]


def density(score: float, tokens: int, price: float) -> float:
    """Score per token, damped: the order in which a knapsack is filled.

    Args:
        score: relevance, 0 or more.
        tokens: what the passage costs.
        price: 0 ignores the cost, 1 is score per token. Use a small value: a full price fills the budget with the
            shortest remarks.
    """
    return score / float((tokens + 10) ** price)
