"""Relevance of each passage of retrieved documents to a question, with a second hop.

Three ideas on top of BM25 over text and title: a passage profits from its document and its neighbours; a document's
first passage says what it is about; and where a good passage names another document's title, that document is likely
to hold the rest of the answer, though it may share no word with the question ("Which company owns the maker of X?").
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tollgate.domain.trimming.relevance import inverse_frequency, weighted_terms
from tollgate.domain.trimming.words import QueryMatcher, fold, query_terms

_HALF = 0.5
_HEADING_CHARACTERS = 80
_MOST_LINKED = 500
"""Documents among which it is looked which names which; a retriever gives dozens."""

# Words that begin with a capital or a digit, and the small words between them.
_NAME = re.compile(r"\s*((?:[^\W_a-z]\S*\s+|(?:of|the|and|for|in|de|du|la|von|van|der)\s+)*[^\W_a-z][^\s,.:;(]*)")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document.

    Args:
        document: passages with the same key belong together; they come next to one another, in reading order.
        title: the document's title, or empty.
        text: the piece itself, without the title.
    """

    document: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class PassageWeights:
    """The shape of the score; see ``benchmarks/trimming.py`` for what the defaults reach.

    Args:
        saturation: BM25's k1.
        length_share: BM25's b.
        title: what a query term in the title adds to its count in the text.
        document: share of the whole document's score.
        neighbour: share of each neighbour's own score.
        lead: extra share of a document's first passage.
        hop: share of the score of a passage that names this document's title.
        hop_rest: the part of ``hop`` that passages after the document's first get.
        hop_sources: how many of the best passages may point on.
    """

    saturation: float = 1.2
    length_share: float = 0.5
    title: float = 1.0
    document: float = 0.3
    neighbour: float = 0.15
    lead: float = 0.15
    hop: float = 1.0
    hop_rest: float = 0.5
    hop_sources: int = 6


PROSE = PassageWeights()


def leading_name(text: str) -> str:
    """The likely topic of a document without a title: its short first line, or the name that it begins with."""
    # No regular expression: on nothing but spaces, one that finds this takes quadratic time.
    line, ended, _ = text.lstrip().lstrip("#").lstrip().partition("\n")
    if ended and 0 < len(line) <= _HEADING_CHARACTERS:
        return line
    name = _NAME.match(text[:_HEADING_CHARACTERS])
    return name[1] if name else ""


def passage_scores(passages: Sequence[Passage], query: str, weights: PassageWeights = PROSE) -> list[float]:
    """A score for each passage, 0 or more; all 0 where no word of the query occurs.

    Args:
        passages: in the order in which they were given.
        query: the question, in the same language.
        weights: the shape of the score.
    """
    texts = [fold(passage.text) for passage in passages]
    own, scores = _first_hop(passages, texts, query, weights)
    for i, passage in enumerate(passages):
        is_first = i == 0 or passages[i - 1].document != passage.document
        if is_first:
            scores[i] *= 1.0 + weights.lead
        else:
            scores[i] += weights.neighbour * own[i - 1]
            scores[i - 1] += weights.neighbour * own[i]
    return [score + extra for score, extra in zip(scores, _second_hop(passages, texts, scores, weights), strict=True)]


def _first_hop(
    passages: Sequence[Passage], texts: Sequence[str], query: str, weights: PassageWeights
) -> tuple[list[float], list[float]]:
    """Scores from the passage alone, and with the share of its document."""
    k1 = weights.saturation
    own = [0.0] * len(passages)
    by_document = dict.fromkeys((passage.document for passage in passages), 0.0)
    terms = weighted_terms(
        texts,
        query,
        length_share=weights.length_share,
        titles=(fold(passage.title) for passage in passages),
        title_weight=weights.title,
    )
    for weight, counts in terms:
        importance = weight * (k1 + 1.0)
        best: dict[str, float] = {}
        for i, c in counts.items():
            share = importance * c / (c + k1)
            own[i] += share
            document = passages[i].document
            best[document] = max(best.get(document, 0.0), share)
        for document, share in best.items():
            by_document[document] += share
    return own, [
        score + weights.document * by_document[passage.document] for score, passage in zip(own, passages, strict=True)
    ]


def _second_hop(
    passages: Sequence[Passage], texts: Sequence[str], scores: Sequence[float], weights: PassageWeights
) -> list[float]:
    """What each passage gains because better ones name its document.

    A title counts as named where more than half of it, by inverse document frequency, occurs in the passage.
    """
    gains = [0.0] * len(passages)
    members: dict[str, list[int]] = {}
    for i, passage in enumerate(passages):
        members.setdefault(passage.document, []).append(i)
    sources = sorted((i for i, score in enumerate(scores) if score > 0), key=lambda i: -scores[i])
    sources = sources[: weights.hop_sources]
    if not sources or not 2 <= len(members) <= _MOST_LINKED:
        return gains
    titles = {document: query_terms(passages[indices[0]].title) for document, indices in members.items()}
    matcher = QueryMatcher(dict.fromkeys(term for terms in titles.values() for term in terms))
    found = dict(zip(matcher.terms, matcher.postings(texts), strict=True))
    having = {term: set(positions) for term, positions in found.items()}
    for document, indices in members.items():
        for term in titles[document]:
            having[term].update(indices)
    rarity = {term: inverse_frequency(len(passages), len(positions)) for term, positions in having.items()}
    for document, indices in members.items():
        whole = sum(rarity[term] for term in titles[document])
        best = 0.0
        for i in sources:
            if whole and passages[i].document != document:
                named = sum(rarity[term] for term in titles[document] if i in found[term]) / whole
                best = max(best, named * scores[i] if named > _HALF else 0.0)
        for place, i in enumerate(indices):
            gains[i] = best * weights.hop * (weights.hop_rest if place else 1.0)
    return gains
