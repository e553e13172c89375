"""The trimming sets of ``TOLLGATE_DATA`` in one shape: passages in order, questions, the places of their evidence."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TURN_ID = re.compile(r"D\d+:\d+")


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the indices of the passages that hold its answer."""

    text: str
    evidence: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One conversation, meeting or set of paragraphs.

    Args:
        passages: what is counted and sent, in order.
        titles: per passage the title of its document; empty in conversations.
        questions: what is asked about it.
    """

    passages: tuple[str, ...]
    titles: tuple[str, ...]
    questions: tuple[Question, ...]


def tokens(text: str) -> int:
    """Characters / 4, rounded up: the measure of the published baselines."""
    return -(-len(text) // 4)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def locomo(folder: Path) -> list[Record]:
    """LoCoMo: turns with the session's date, the speaker and the caption of a shared image, about 23,000 tokens."""
    with gzip.open(folder / "locomo.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    return [_locomo_record(row) for row in rows]


def _locomo_record(row: dict[str, Any]) -> Record:
    conversation = row["conversation"]
    sessions = sorted(
        (key for key, value in conversation.items() if isinstance(value, list)), key=lambda key: int(key.split("_")[1])
    )
    index: dict[str, int] = {}
    passages: list[str] = []
    for session in sessions:
        date = conversation[f"{session}_date_time"]
        for turn in conversation[session]:
            index[turn["dia_id"]] = len(passages)
            image = f" [image: {turn['blip_caption']}]" if "blip_caption" in turn else ""
            passages.append(f"[{date}] {turn['speaker']}: {turn['text']}{image}")
    questions = []
    for entry in row["qa"]:
        # Two entries hold several ids in one string, and two ids name no turn.
        evidence = [index[turn] for turn in _TURN_ID.findall(" ".join(entry["evidence"])) if turn in index]
        if evidence:
            questions.append(Question(entry["question"], tuple(evidence)))
    return Record(tuple(passages), ("",) * len(passages), tuple(questions))


def qmsum(folder: Path) -> list[Record]:
    """QMSum's validation part: turns with their speaker; the questions that have answering spans."""
    records = []
    for row in _lines(folder / "qmsum_val.jsonl.gz"):
        passages = tuple(f"{turn['speaker']}: {turn['content']}" for turn in row["meeting_transcripts"])
        questions = []
        for entry in row["specific_query_list"]:
            spans = [range(int(first), int(last) + 1) for first, last in entry["relevant_text_span"]]
            evidence = sorted({i for span in spans for i in span if i < len(passages)})
            if evidence:
                questions.append(Question(entry["query"], tuple(evidence)))
        records.append(Record(passages, ("",) * len(passages), tuple(questions)))
    return records


def hotpot(folder: Path) -> list[Record]:
    """HotpotQA with distractors: sentences with the title of their paragraph, ten paragraphs a question."""
    records = []
    for row in _lines(folder / "hotpot_distractor_100.jsonl.gz"):
        context = row["context"]
        places = [
            (title, number, sentence.strip())
            for title, sentences in zip(context["title"], context["sentences"], strict=True)
            for number, sentence in enumerate(sentences)
        ]
        index = {(title, number): i for i, (title, number, _) in enumerate(places)}
        facts = zip(row["supporting_facts"]["title"], row["supporting_facts"]["sent_id"], strict=True)
        evidence = tuple(index[fact] for fact in facts if fact in index)
        records.append(
            Record(
                tuple(sentence for *_, sentence in places),
                tuple(title for title, *_ in places),
                (Question(row["question"], evidence),),
            )
        )
    return records
