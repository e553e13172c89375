"""What the shipped model is fitted to, and how its ranks and its cautious quality curve come about."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from complexity_training import SEED, fit, group_weights
from routing_data import ModelSet, PairSet

type Array = np.ndarray[Any, Any]

WEAK, STRONG = "llama-3.1-8b-instruct", "llama-3.1-nemotron-51b-instruct"
"""Two sizes of one family, so that their difference is size rather than habits of format."""

OTHER_PAIRS = (
    ("qwen2.5-7b-instruct", STRONG),
    ("mistral-7b-instruct-v0.3", STRONG),
    ("qwen2.5-7b-instruct", "llama-3.3-nemotron-super-49b-v1"),
)
SMALL_MODELS = (WEAK, "qwen2.5-7b-instruct", "mistral-7b-instruct-v0.3", "codegemma-7b")
LARGE_MODELS = (STRONG, "llama-3.3-nemotron-super-49b-v1")
"""Left out: both chatqa models, which answer choice questions in a form that the grader rejects, and the 9B
between.
"""
OTHERS_WEIGHT = 0.5
"""How much all small and large models weigh in the learned gain, against 1 for the one family: a single pair
has quirks (its large model is the worse one in competition mathematics) that no other pair shares."""
STEPS = 100
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Merged:
    """Both data sets as one.

    Args:
        rows: features, LLMRouter's prompts first.
        gains: one column for each pair of models, with NaN where a set does not have the pair.
        target: the gain that is learned.
        groups: the task of each prompt, GSM8K's rows under `gsm8k`.
    """

    rows: Array
    gains: Array
    target: Array
    groups: Array


def learned_gain(many: ModelSet) -> Array:
    """Return what the shipped model learns from LLMRouter: one family's gain, partly that of the others."""
    weak, strong = many.gain(WEAK, STRONG)
    small = many.scores[:, [many.models.index(name) for name in SMALL_MODELS]].mean(1)
    large = many.scores[:, [many.models.index(name) for name in LARGE_MODELS]].mean(1)
    return np.asarray((strong - weak + OTHERS_WEIGHT * (large - small)) / (1.0 + OTHERS_WEIGHT))


def merge(many: ModelSet, many_rows: Array, pair: PairSet, pair_rows: Array) -> Merged:
    """Join the sets, taking levels from LLMRouter alone.

    How much a strong model gains on average differs between pairs of models (GPT-4 over Mixtral gains 0.22
    on the very kind of prompt where 51B over 8B gains 0.01). That says something about the pairs, nothing
    about prompts, so GSM8K's gains are shifted to the mean of LLMRouter's own grade-school mathematics.
    """
    weak, strong = many.gain(WEAK, STRONG)
    target = learned_gain(many)
    level = target[many.tasks == "gsm8k"].mean()
    extra = pair.strong - pair.weak
    columns = [np.concatenate([strong - weak, np.full(len(extra), np.nan)])]
    for one, other in OTHER_PAIRS:
        low, high = many.gain(one, other)
        columns.append(np.concatenate([high - low, np.full(len(extra), np.nan)]))
    columns.append(np.concatenate([np.full(len(weak), np.nan), extra]))
    return Merged(
        rows=np.concatenate([many_rows, pair_rows]),
        gains=np.array(columns).T,
        target=np.concatenate([target, extra - extra.mean() + level]),
        groups=np.concatenate([many.tasks, np.full(len(extra), "gsm8k")]),
    )


def folds(groups: Array, *, by_group: bool) -> Iterator[tuple[Array, Array]]:
    """Yield train and test positions: five random folds, or one for each group."""
    if by_group:
        for group in sorted(set(groups)):
            yield np.where(groups != group)[0], np.where(groups == group)[0]
        return
    fold = np.random.default_rng(SEED).permutation(len(groups)) % FOLDS
    for number in range(FOLDS):
        yield np.where(fold != number)[0], np.where(fold == number)[0]


def unseen_needs(rows: Array, target: Array, groups: Array, *, by_group: bool) -> Array:
    """Return each prompt's need as estimated by models that did not train on it (or its whole group)."""
    needs = np.zeros(len(rows))
    for train, test in folds(groups, by_group=by_group):
        needs[test] = fit(rows[train], target[train], groups[train]).need(rows[test])
    return needs


def rank_table(needs: Array, groups: Array) -> Array:
    """Return the need below which 0, 1, ... 100 % of the prompts lie, every group weighing the same."""
    order = np.argsort(needs)
    share = np.cumsum(group_weights(groups)[order])
    return np.asarray(np.interp(np.linspace(0.0, 1.0, STEPS + 1), share, needs[order]))


def recovered_curve(needs: Array, gains: Array, ranks: Array) -> Array:
    """Return the share of the gap recovered at each threshold, averaged over pairs and at most 1."""
    curves = []
    for column in gains.T:
        has = ~np.isnan(column)
        gained = [
            column[has & (needs >= ranks[step])].sum() if step else column[has].sum() for step in range(STEPS + 1)
        ]
        curves.append(np.array(gained) / gained[0])
    mean = np.minimum(np.mean(curves, axis=0), 1.0)
    return np.asarray(np.minimum.accumulate(np.maximum(mean, 0.0)))
