"""How much of the evidence survives trimming, beside baselines in the same run, and what it costs in time.

    make bench-trimming      (TOLLGATE_DATA names the data, default ../shared/data; skipped where absent)

**Evidence kept** is, per question, the share of its evidence passages whose text is sent whole, and the mean of that
over questions. Evidence is LoCoMo's turn ids, the turns in QMSum's answering spans (inclusive), HotpotQA's supporting
sentences. A passage's tokens are its characters / 4, rounded up, on the text as it would be sent; what no longer fits
is skipped and the next one tried. The question itself is not charged. A turn that was folded counts as sent where its
exact duplicate is sent.

How that compares with the published baselines of these rows:

- HotpotQA: with one sentence as the passage, sent as "title sentence", the first sentences that fit keep .172 / .359,
  the published figures to the digit; BM25 comes to .723 / .882, published .719 / .869. Paragraphs cut to sentences pay
  for their title once, so both ways are printed.
- QMSum: "speaker: text". Published: last turns .058 / .145 / .344, BM25 over 7-turn windows .304 / .432 / .593. Here
  windows without overlap come near that; overlapping ones, printed too, are stronger. Counting turns rewards short
  ones ("Right."), so the share by characters is printed as well.
- LoCoMo: turns with date, speaker and image caption come closest to the published size (23,400 tokens) and last-turns
  figures (.012 / .034 / .085 / .174). BM25 with neighbours is stronger here than published
  (.605 / .674 / .744 / .805). Which rows the published figures were taken on is not known.

The scorer's weights were chosen on the rows called "tuned on": two of the four conversations, the first 17 meetings,
every other HotpotQA question. The other rows were set aside. Intervals: 95 %, percentile bootstrap over questions.
"""

import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import trimming_baselines as baselines
from trimming_data import Record, hotpot, locomo, qmsum, tokens

from tollgate.domain.trimming.chunks import Chunk, trim_chunks
from tollgate.domain.trimming.conversation import Message, Role, trim_conversation
from tollgate.domain.trimming.terms import DropReason

type Make = Callable[[Record, list[int]], baselines.Chooser]
RESAMPLES = 1_000
GOALS = {
    "LoCoMo": {512: 0.605, 1_024: 0.674, 2_048: 0.744, 4_096: 0.805},
    "QMSum": {1_024: 0.304, 2_048: 0.432, 4_096: 0.593},
    "HotpotQA": {256: 0.719, 512: 0.869},
}


def by_conversation(record: Record, costs: list[int]) -> baselines.Chooser:
    """Tollgate's conversation trimming; nothing is pinned, so that all of the budget is its own choice."""
    messages = [Message(Role.USER, text, id=str(i), tokens=costs[i]) for i, text in enumerate(record.passages)]

    def choose(question: str, budget: int) -> set[int]:
        trimmed = trim_conversation(messages, budget, question, keep_last=0)
        _check(trimmed.input_tokens_after, budget)
        sent = {message.text for message in trimmed.items}
        folded = {entry.index for entry in trimmed.dropped if entry.reason is DropReason.DUPLICATE}
        return {int(message.id) for message in trimmed.items} | {i for i in folded if record.passages[i] in sent}

    return choose


def by_sentence_chunks(record: Record, _costs: list[int]) -> baselines.Chooser:
    """Tollgate's chunk trimming, every sentence a chunk with its title."""
    chunks = [Chunk(text, id=str(i), title=record.titles[i]) for i, text in enumerate(record.passages)]

    def choose(question: str, budget: int) -> set[int]:
        trimmed = trim_chunks(chunks, question, budget_tokens=budget, count_tokens=tokens)
        _check(trimmed.input_tokens_after, budget)
        return {int(chunk.id) for chunk in trimmed.items}

    return choose


def by_paragraph_chunks(record: Record, _costs: list[int]) -> baselines.Chooser:
    """Tollgate's chunk trimming, every paragraph a chunk that may be cut to sentences."""
    chunks = [
        Chunk(
            " ".join(text for text, of in zip(record.passages, record.titles, strict=True) if of == title), title=title
        )
        for title in dict.fromkeys(record.titles)
    ]

    def choose(question: str, budget: int) -> set[int]:
        trimmed = trim_chunks(chunks, question, budget_tokens=budget, cut_sentences=True, count_tokens=tokens)
        _check(trimmed.input_tokens_after, budget)
        sent = {chunk.title: chunk.text for chunk in trimmed.items}
        pairs = enumerate(zip(record.passages, record.titles, strict=True))
        return {i for i, (text, title) in pairs if text in sent.get(title, "")}

    return choose


def _check(used: int, budget: int) -> None:
    if used > budget:
        raise RuntimeError(f"{used} tokens were sent on a budget of {budget}")


def kept(
    records: Sequence[Record], costs_of: Callable[[Record], list[int]], make: Make, budget: int, *, by_size: bool
) -> list[float]:
    """Per question, the share of its evidence that is sent, by passages or by their size."""
    shares = []
    for record in records:
        costs = costs_of(record)
        choose = make(record, costs)
        for question in record.questions:
            chosen = choose(question.text, budget)
            weights = [costs[i] if by_size else 1 for i in question.evidence]
            hits = sum(weight for i, weight in zip(question.evidence, weights, strict=True) if i in chosen)
            shares.append(hits / sum(weights))
    return shares


def interval(shares: list[float]) -> tuple[float, float, float]:
    """The mean and its 95 % interval."""
    source = random.Random(20260101)  # noqa: S311 - resampling, not security; a fixed seed makes runs agree
    means = sorted(sum(source.choices(shares, k=len(shares))) / len(shares) for _ in range(RESAMPLES))
    return sum(shares) / len(shares), means[RESAMPLES // 40], means[-RESAMPLES // 40]


def conversation_costs(record: Record) -> list[int]:
    """The tokens of each turn."""
    return [tokens(text) for text in record.passages]


def titled_costs(record: Record) -> list[int]:
    """The tokens of each sentence with its title."""
    return [tokens(f"{title} {text}") for title, text in zip(record.titles, record.passages, strict=True)]


def measure(
    name: str,
    parts: dict[str, list[Record]],
    costs_of: Callable[[Record], list[int]],
    methods: dict[str, Make],
    *,
    by_size: bool = False,
) -> None:
    """Print one set's table."""
    for part, records in parts.items():
        questions = sum(len(record.questions) for record in records)
        size = sum(sum(costs_of(record)) for record in records) / len(records)
        measured = "by characters" if by_size else "by passages"
        print(f"\n{name}, {part}: {len(records)} records of {size:,.0f} tokens, {questions} questions, {measured}")
        for method, make in methods.items():
            cells = []
            for budget, goal in GOALS[name].items():
                mean, low, high = interval(kept(records, costs_of, make, budget, by_size=by_size))
                sign = "" if by_size or not method.startswith("Tollgate") else ">" if low > goal else "!"
                cells.append(f"{budget:>5}: {mean:.3f} [{low:.3f}, {high:.3f}]{sign}")
            print(f"  {method:36s}", "  ".join(cells), flush=True)
    if by_size:
        return
    goals = " / ".join(f"{goal:.3f}" for goal in GOALS[name].values())
    print(f"  to beat: {goals}; '>' marks an interval wholly above")


def split[Item](items: Sequence[Item], first: slice, second: slice) -> dict[str, list[Item]]:
    """The rows that were tuned on and those set aside, as far as there are any: another set may be smaller."""
    parts = {"tuned on": list(items[first]), "set aside": list(items[second]), "all": list(items)}
    return {part: rows for part, rows in parts.items() if rows}


def speed(records: Sequence[Record]) -> None:
    """Print the CPU time of a trim to 2,048 tokens, by the length of the conversation."""
    turns = [text for record in records for text in record.passages]
    questions = [question.text for question in records[0].questions]
    print(
        "\nCPU of one trim_conversation to 2,048 tokens, tokens estimated as in production (min and median of 40 runs)"
    )
    for target in (2_900, 5_750, 11_500, 23_000, 46_000, 92_000):
        messages = list(_messages(turns, target))
        times = []
        for question in (questions * 40)[:40]:
            start = time.process_time_ns()
            trim_conversation(messages, 2_048, question)
            times.append((time.process_time_ns() - start) / 1e6)
        times.sort()
        print(f"  {target:>6,} tokens, {len(messages):>5} messages: {times[0]:6.2f} ms, {times[20]:6.2f} ms")


def chunk_speed(records: Sequence[Record]) -> None:
    """Print the CPU time of a trim of chunks to 2,048 tokens, by their number."""
    print("\nCPU of one trim_chunks to 2,048 tokens, cut to sentences (min and median of 20 runs)")
    for wanted in (10, 50, 200):
        chunks = [
            Chunk(" ".join(record.passages[i] for i in range(len(titles)) if titles[i] == title), title=title)
            for record in records
            for titles in [record.titles]
            for title in dict.fromkeys(titles)
        ][:wanted]
        times = []
        for record in records[:20]:
            start = time.process_time_ns()
            trim_chunks(chunks, record.questions[0].text, budget_tokens=2_048, cut_sentences=True)
            times.append((time.process_time_ns() - start) / 1e6)
        times.sort()
        size = sum(tokens(chunk.rendered) for chunk in chunks)
        print(f"  {size:>6,} tokens, {wanted:>4} chunks: {times[0]:6.2f} ms, {times[len(times) // 2]:6.2f} ms")


def _messages(turns: Sequence[str], target: int) -> Iterator[Message]:
    used = 0
    for i in range(10**6):
        text = turns[i % len(turns)]
        used += tokens(text)
        if used > target:
            return
        # The set holds about 90,000 tokens; what comes round again is marked, for duplicates would be folded.
        yield Message(Role.USER if i % 2 else Role.ASSISTANT, f"{text} {i}" if i >= len(turns) else text)


def main() -> int:
    """Run every set that is there."""
    folder = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "trimming"
    if not folder.exists():
        print(f"skipped: {folder} is absent; set TOLLGATE_DATA to the folder of benchmark data")
        return 0
    conversations, meetings, questions = locomo(folder), qmsum(folder), hotpot(folder)
    measure(
        "LoCoMo",
        split(conversations, slice(2), slice(2, None)),
        conversation_costs,
        {
            "keep last": lambda _, costs: baselines.keep_last(costs),
            "BM25": lambda record, costs: baselines.bm25_with_neighbours(record.passages, costs, 0),
            "BM25 with neighbours": lambda record, costs: baselines.bm25_with_neighbours(record.passages, costs, 1),
            "Tollgate": by_conversation,
        },
    )
    windows: dict[str, Make] = {
        "keep last": lambda _, costs: baselines.keep_last(costs),
        "BM25, 7-turn windows": lambda record, costs: baselines.bm25_windows(record.passages, costs, 7, 7),
        "BM25, 7-turn windows, overlapping": lambda record, costs: baselines.bm25_windows(record.passages, costs, 7, 1),
        "Tollgate": by_conversation,
    }
    parts = split(meetings, slice(17), slice(17, None))
    measure("QMSum", parts, conversation_costs, windows)
    measure("QMSum", {"all": meetings}, conversation_costs, windows, by_size=True)
    measure(
        "HotpotQA",
        split(questions, slice(0, None, 2), slice(1, None, 2)),
        titled_costs,
        {
            "first sentences": lambda _, costs: baselines.keep_first(costs),
            "BM25": lambda record, costs: baselines.bm25_with_neighbours(_titled(record), costs, 0),
            "Tollgate, sentences as chunks": by_sentence_chunks,
            "Tollgate, paragraphs cut to sentences": by_paragraph_chunks,
        },
    )
    speed(conversations)
    chunk_speed(questions)
    return 0


def _titled(record: Record) -> list[str]:
    return [f"{title} {text}" for title, text in zip(record.titles, record.passages, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
