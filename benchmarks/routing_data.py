"""The open routing data that the benchmarks and the training read; none of it is in the repository."""

import ast
import csv
import gzip
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

type Array = np.ndarray[Any, Any]
LARGE_PRICE = 0.5
"""Dollars a million tokens; models above it are of the large tier."""


@dataclass(frozen=True, slots=True)
class PairSet:
    """Prompts with the outcome of a weak and a strong model.

    Args:
        prompts: what was asked.
        weak: the weak model's outcome for each prompt, 0..1.
        strong: the strong model's outcome for each prompt, 0..1.
    """

    prompts: list[str]
    weak: Array
    strong: Array


@dataclass(frozen=True, slots=True)
class ModelSet:
    """Prompts of several tasks with the score of several models.

    Args:
        prompts: what was asked.
        tasks: the task of each prompt.
        models: the models' names, in the order of the columns of `scores`.
        scores: a row for each prompt and a column for each model, 0..1.
        prices: US dollars a million tokens, for each model.
    """

    prompts: list[str]
    tasks: Array
    models: tuple[str, ...]
    scores: Array
    prices: Array

    @property
    def is_large(self) -> Array:
        """Whether each model is of the large tier, which general signals speak for."""
        return np.asarray(self.prices > LARGE_PRICE)

    def gain(self, weak: str, strong: str) -> tuple[Array, Array]:
        """Return the scores of two models."""
        return self.scores[:, self.models.index(weak)], self.scores[:, self.models.index(strong)]


def data_folder() -> Path:
    """Return the folder with the data sets, or end the program saying that it is absent."""
    folder = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "routing"
    if not folder.is_dir():
        print(f"skipped: no routing data in {folder}; set TOLLGATE_DATA to the folder that has it")
        sys.exit(0)
    return folder


def load_gsm8k(folder: Path) -> PairSet:
    """Load RouteLLM's GSM8K outcomes of Mixtral-8x7B and GPT-4, without the contaminated rows."""
    with gzip.open(folder / "routellm_gsm8k.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["contaminated"] != "True"]
    return PairSet(
        [row["prompt"] for row in rows],
        np.array([row["weak_correct"] == "True" for row in rows], float),
        np.array([row["strong_correct"] == "True" for row in rows], float),
    )


def load_llmrouter(folder: Path) -> ModelSet:
    """Load LLMRouter's scores of nine models over fourteen tasks, with the prices of the models."""
    with gzip.open(folder / "llmrouter_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        if isinstance(row["scores"], str):
            row["scores"] = ast.literal_eval(row["scores"])
    models = tuple(sorted(rows[0]["scores"]))
    cards = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    return ModelSet(
        [row["question"] for row in rows],
        np.array([row["task"] for row in rows]),
        models,
        np.array([[row["scores"][model] for model in models] for row in rows], float),
        np.array([cards[model]["input_price"] for model in models], float),
    )


def same_question(prompt: str) -> str:
    """Return a key that copies of a prompt share, whatever their punctuation or closing line."""
    return re.sub(r"\W+", " ", prompt.lower()).strip()[:100]
