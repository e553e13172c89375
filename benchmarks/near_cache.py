"""Near-duplicate matching on question pairs that somebody else labelled, against cosine in the same run.

Data: `cache/qqp_pairs.csv.gz` and `cache/banking77_train.csv.gz` in the folder `TOLLGATE_DATA` (default
`../shared/data`); without it the benchmark says so and stops. Sentence vectors are those of the product: the packaged
MiniLM int8 on one thread, packed; where it is not installed, words are judged alone. (The same model in 32 bits gives
the same cosines to 0.001, and the same recalls.)

How the numbers are defined. A pair is one lookup that found one candidate. It is a *hit* where the verifier
accepts, and *wrong* where the label says "not duplicate". Recall is hits on labelled duplicates over all
labelled duplicates; wrong-hit rate is wrong hits over hits. "Recall at wrong hits <= 10 %" is the largest
recall of any threshold that keeps the rate; it leans on the sample, and 5 to 10 % of the labels are wrong themselves.
So recall and precision at the shipped thresholds are printed with 95 % Wilson intervals, and what each method finds
where it is as often wrong as a cosine. The hard slice is all pairs with word overlap >= 0.6.
Rows with an id below 50,000 were looked at when the rules and the weights were written; the report is on the
rows from there on, or on all of a file that has none, unless `--rows seen` or `--rows all`.

    python benchmarks/near_cache.py [--pairs 12000] [--rows unseen|seen|all]
"""

import argparse
import csv
import gzip
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.fakes.near_index import NearIndex
from tollgate.adapters.texts.sentence_model import SentenceModel, SentenceModelError
from tollgate.adapters.texts.word_vectors import likeness
from tollgate.domain.near.guard import ladder_of
from tollgate.domain.near.index import MAX_CANDIDATES
from tollgate.domain.near.match import LOOSEST_THRESHOLD, Disagreement, disagreements, verify_match
from tollgate.domain.near.policy import Likeness, NearPolicy, Strictness
from tollgate.domain.near.reading import Reading, read
from tollgate.domain.near.vector import vector_cosine

INDEX_ENTRIES = 100_000
HARD_OVERLAP = 0.6
LOOKUPS = 300
FIRST_UNSEEN_ID = 50_000
BASELINE = (0.95, 0.98)
"""Thresholds of the cosine alone. On all rows of the file they find 0.209 and 0.082 of the duplicates."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One labelled row."""

    a: str
    b: str
    duplicate: bool
    overlap: float


@dataclass(frozen=True, slots=True)
class Scored:
    """One row with a score from one method; a refusal scores -1."""

    pair: Pair
    score: float


def wilson(successes: int, trials: int) -> str:
    """A proportion with its 95 % Wilson interval, as text."""
    if not trials:
        return "none"
    z = 1.96
    rate = successes / trials
    middle = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return f"{rate:.3f} [{max(0.0, middle - spread):.3f}, {min(1.0, middle + spread):.3f}]"


def best_recall(scored: Sequence[Scored], wrong_rate: float) -> tuple[float, float]:
    """Largest recall of any threshold whose wrong-hit rate is within `wrong_rate`, and that threshold."""
    duplicates = sum(row.pair.duplicate for row in scored)
    ranked = sorted((row for row in scored if row.score >= 0), key=lambda row: -row.score)
    right, best, threshold = 0, 0, 1.0
    for position, row in enumerate(ranked, 1):
        right += row.pair.duplicate
        last_of_tie = position == len(ranked) or ranked[position].score < row.score
        if last_of_tie and position - right <= wrong_rate * position:
            best, threshold = right, row.score
    return best / duplicates, threshold


def found(scored: Sequence[Scored], wrong_rate: float) -> str:
    """The best recall with its interval, and its threshold."""
    duplicates = sum(row.pair.duplicate for row in scored)
    recall, threshold = best_recall(scored, wrong_rate)
    return f"{wilson(round(recall * duplicates), duplicates)} (from {threshold:.3f})"


def report(name: str, scored: Sequence[Scored], thresholds: Sequence[float]) -> None:
    """Print one method: the best recalls, then each threshold with intervals."""
    duplicates = sum(row.pair.duplicate for row in scored)
    print(f"\n{name}")
    print(f"  recall at wrong hits <= 10 %: {found(scored, 0.10)}")
    print(f"  recall at wrong hits <=  5 %: {found(scored, 0.05)}")
    for threshold in thresholds:
        hits = [row for row in scored if row.score >= threshold]
        right = sum(row.pair.duplicate for row in hits)
        hard = [row for row in hits if row.pair.overlap >= HARD_OVERLAP]
        hard_right = sum(row.pair.duplicate for row in hard)
        print(
            f"  from {threshold:.3f}: recall {wilson(right, duplicates)}, "
            f"precision {wilson(right, len(hits))}, "
            f"on overlap >= {HARD_OVERLAP} precision {wilson(hard_right, len(hard))} of {len(hard)}"
        )


def load_pairs(path: Path, rows: str, limit: int) -> list[Pair]:
    """The first `limit` of the wanted rows of the file; 0 means all of them."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        every = [
            (int(row["id"]), Pair(row["text_a"], row["text_b"], row["duplicate"] == "1", float(row["word_jaccard"])))
            for row in csv.DictReader(file)
        ]
    seen = {"unseen": {False}, "seen": {True}, "all": {False, True}}[rows]
    pairs = [pair for number, pair in every if (number < FIRST_UNSEEN_ID) in seen] or [pair for _, pair in every]
    return pairs[:limit] if limit else pairs


def load_texts(path: Path, column: str) -> list[str]:
    """One column of a gzipped CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


def load_model() -> SentenceModel | None:
    """The packaged sentence model as the product runs it, None where it is not installed."""
    try:
        return SentenceModel()
    except SentenceModelError:
        return None


@dataclass(frozen=True, slots=True)
class Read:
    """The pairs, and what was read of each text.

    Attributes:
        vectors: packed, by text; empty without the model.
        embedding_cpu: seconds a text.
    """

    pairs: Sequence[Pair]
    readings: Mapping[str, Reading]
    vectors: Mapping[str, bytes]
    embedding_cpu: float


def read_pairs(pairs: Sequence[Pair], model: SentenceModel | None) -> Read:
    """Read every text once, and make its vector."""
    texts = dict.fromkeys(text for pair in pairs for text in (pair.a, pair.b))
    readings = {text: read(text) for text in texts}
    started = time.process_time()
    vectors = {} if model is None else {text: model.vector(text) for text in texts}
    return Read(pairs, readings, vectors, (time.process_time() - started) / len(texts))


def verified(known: Read, alike: Callable[[Pair], float]) -> list[Scored]:
    """The pairs as the verifier scores them by some likeness."""
    scored: list[Scored] = []
    for pair in known.pairs:
        one, other = known.readings[pair.a], known.readings[pair.b]
        verdict = verify_match(one, other, cosine=partial(alike, pair), threshold=LOOSEST_THRESHOLD)
        refused = verdict.reasons and verdict.reasons != (Disagreement.SCORE,)
        scored.append(Scored(pair, -1 if refused else verdict.score))
    return scored


def verify_sentences(known: Read) -> None:
    """Print the cosine of sentence vectors alone, after the rules, and with all that the verifier adds."""

    def cosine(pair: Pair) -> float:
        return vector_cosine(known.vectors[pair.a], known.vectors[pair.b])

    baseline = [Scored(pair, cosine(pair)) for pair in known.pairs]
    report("baseline: MiniLM cosine alone", baseline, BASELINE)
    kept = [not disagreements(known.readings[row.pair.a], known.readings[row.pair.b]) for row in baseline]
    ruled = [Scored(row.pair, row.score if keep else -1) for row, keep in zip(baseline, kept, strict=True)]
    report("rules that refuse, then the cosine", ruled, BASELINE)
    scored = verified(known, cosine)
    report('likeness = "sentences"', scored, thresholds_of(Likeness.SENTENCES))
    compare("sentences", scored, baseline)


def verify_words(known: Read) -> list[Pair]:
    """Print what comparing words finds; return the duplicates that its loosest policy takes."""
    started = time.process_time()
    alike = likeness()
    assert alike is not None  # noqa: S101 -- the repository has the vectors
    loading_cpu = time.process_time() - started
    scored = verified(known, lambda pair: alike(pair.a, pair.b))
    report('likeness = "words"', scored, thresholds_of(Likeness.WORDS))
    print(f"  {loading_cpu * 1e3:.0f} ms CPU once to read the vectors")
    loosest = thresholds_of(Likeness.WORDS)[0]
    return [row.pair for row in scored if row.pair.duplicate and row.score >= loosest]


def thresholds_of(by: Likeness) -> list[float]:
    """Where the policies start, the loosest first."""
    return [ladder_of(NearPolicy(each, likeness=by))[0] for each in reversed(Strictness)]


def compare(name: str, scored: Sequence[Scored], baseline: Sequence[Scored]) -> None:
    """Print what a method finds where it may be wrong as often as the baseline is from its two thresholds."""
    duplicates = sum(row.pair.duplicate for row in baseline)
    for threshold in BASELINE:
        hits = [row for row in baseline if row.score >= threshold]
        right = sum(row.pair.duplicate for row in hits)
        wrong = 1 - right / len(hits)
        print(
            f"  as often wrong as the cosine from {threshold} ({wrong:.1%}): the cosine finds "
            f"{wilson(right, duplicates)}, {name} {found(scored, wrong)}"
        )


def search_index(accepted: Sequence[Pair], others: Sequence[str]) -> None:
    """Print what the candidate index finds and reads, small and at 100,000 entries."""
    for entries in (1_000, 10_000, INDEX_ENTRIES):
        index = NearIndex()
        kept = accepted[: entries // 4]
        asked = {pair.b for pair in kept}
        partners = {pair.a for pair in kept}
        filler = [text for text in others if text not in asked and text not in partners][: entries - len(partners)]
        # The entries to be found go in first, so that all later ones compete with them for room.
        for text in (*partners, *filler):
            index.add("bench", read(text), text, expires_at=2, now=1)
        readings = [read(pair.b) for pair in kept]
        index.items_read = 0
        started = time.process_time()
        found = [index.candidates("bench", reading, now=1) for reading in readings]
        spent = (time.process_time() - started) / max(1, len(kept))
        hits = sum(pair.a in {entry.entry_id for entry in near} for pair, near in zip(kept, found, strict=True))
        fetched = sum(map(len, found))
        print(
            f"  {len(partners) + len(filler):>7,} entries: finds {wilson(hits, len(kept))} of partners; "
            f"{index.items_read / len(kept):.2f} buckets + {fetched / len(kept):.2f} entries read a lookup; "
            f"{spent * 1e6:.0f} us CPU; fullest bucket {index.largest_bucket()}"
        )


def time_lookups(known: Read, model: SentenceModel | None) -> None:
    """Print what whole lookups take at most: the most candidates, and no rule that spares a comparison."""
    alike = likeness()
    assert alike is not None  # noqa: S101 -- the repository has the vectors
    texts = list(known.readings)[: LOOKUPS * (MAX_CANDIDATES + 1)]
    groups = [texts[start::LOOKUPS] for start in range(LOOKUPS)]

    def by_words(asked: str, candidates: Sequence[str]) -> None:
        reading = read(asked)
        for text in candidates:
            verify_match(reading, text, cosine=alike(asked, text), threshold=LOOSEST_THRESHOLD)

    def by_sentences(asked: str, candidates: Sequence[str]) -> None:
        assert model is not None  # noqa: S101 -- only called with one
        reading, vector = read(asked), model.vector(asked)
        for text in candidates:
            verify_match(reading, text, cosine=vector_cosine(vector, known.vectors[text]), threshold=LOOSEST_THRESHOLD)

    ways = {"words": by_words} if model is None else {"words": by_words, "sentences": by_sentences}
    print(f"\nwhole lookups with {MAX_CANDIDATES} candidates, {LOOKUPS} of them: median and 95th of a hundred")
    for name, lookup in ways.items():
        cpu, wall = [], []
        for asked, *candidates in groups:
            began, started = time.process_time(), time.perf_counter()
            lookup(asked, candidates)
            cpu.append((time.process_time() - began) * 1e3)
            wall.append((time.perf_counter() - started) * 1e3)
        print(f"  {name}: CPU {_spread(cpu)} (goal <= 20), latency {_spread(wall)}")


def _spread(milliseconds: Sequence[float]) -> str:
    ordered = sorted(milliseconds)
    return f"{ordered[len(ordered) // 2]:.1f} and {ordered[len(ordered) * 95 // 100]:.1f} ms"


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=12_000, help="rows to judge; 0 for all (about 6 ms CPU a text)")
    parser.add_argument("--rows", choices=("unseen", "seen", "all"), default="unseen")
    arguments = parser.parse_args()
    data = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "cache"
    if not (data / "qqp_pairs.csv.gz").is_file():
        print(f"skipped: no question pairs in {data}; set TOLLGATE_DATA")
        return
    pairs = load_pairs(data / "qqp_pairs.csv.gz", arguments.rows, arguments.pairs)
    print(f"\n{len(pairs):,} pairs, rows {arguments.rows}, {sum(pair.duplicate for pair in pairs):,} duplicates")
    started = time.process_time()
    model = load_model()
    loading = time.process_time() - started
    known = read_pairs(pairs, model)
    if model is None:
        print("the sentence model is not installed: no baseline, and words only")
    else:
        print(f"sentence model: {loading * 1e3:.0f} ms CPU to load, {known.embedding_cpu * 1e3:.1f} ms a text")
        verify_sentences(known)
    accepted = verify_words(known)
    time_lookups(known, model)
    everything = load_pairs(data / "qqp_pairs.csv.gz", "all", 0)
    banking = load_texts(data / "banking77_train.csv.gz", "text")
    others = list(dict.fromkeys((*(text for pair in everything for text in (pair.a, pair.b)), *banking)))
    print("\ncandidate index")
    search_index(accepted, others)


if __name__ == "__main__":
    main()
