"""Two sizes and the records that their own traffic leaves: what it costs to rule the larger one out by them."""

from typing import Any

import numpy as np
from routing_data import ModelSet

from tollgate.domain.choice.complexity import estimate_complexity
from tollgate.domain.choice.model_choice import ENOUGH_RECORDS
from tollgate.domain.choice.outcomes import topic_of

type Array = np.ndarray[Any, Any]
JUDGED = 400
DRAWS = 50
THRESHOLDS = (0.3, 0.5, 0.7)


def records_table(many: ModelSet, pairs: tuple[tuple[str, str], ...]) -> None:
    """Print the reward that the rule costs where prompts of all tasks are split by complexity and judged.

    Each size is judged on the prompts that it was given, the larger one on the harder ones; the rule then sends prompts
    down on which the larger one's record is no better. Beside it the rule with a size's outcomes on the topic held
    against another's on every topic, where one of them has too few on the topic.
    """
    complexity = np.array([estimate_complexity(prompt) for prompt in many.prompts])
    topics = np.array([topic_of(prompt) for prompt in many.prompts])
    rng = np.random.default_rng(5)
    print(f"\nRuled out by own records, {JUDGED} judged prompts: sent down of those above the threshold, reward lost")
    print(f"{'threshold':>9}  {'one footing':<32}{'each its own':<32}")
    for threshold in THRESHOLDS:
        row = f"{threshold:9.1f}  "
        for same in (True, False):
            told = []
            for pair in pairs:
                low, high = many.gain(*pair)
                for _ in range(DRAWS):
                    at = rng.integers(0, len(low), JUDGED)
                    up = complexity[at] >= threshold
                    down = up & _ruled_out(low[at], high[at], up, topics[at], same=same)
                    told.append((down.sum() / up.sum(), (down * (high - low)[at]).mean()))
            sent, lost = np.mean(told, axis=0)
            row += f"{f'{sent:.0%}, {lost:.4f}':<32}"
        print(row)
    print("The larger size where the smaller one failed, beside both means (why second answers are kept apart):")
    for pair in pairs:
        low, high = many.gain(*pair)
        print(f"  {pair[0]} > {pair[1]}: {low.mean():.3f}, {high.mean():.3f}, {high[low < 0.5].mean():.3f}")


def _ruled_out(low: Array, high: Array, up: Array, topics: Array, *, same: bool) -> Array:
    """Say for each prompt whether the larger size's record is no better than the smaller one's."""
    found = np.zeros(len(low), bool)
    for topic in set(topics):
        here = topics == topic
        little, big = low[~up & here], high[up & here]
        few = [len(one) < ENOUGH_RECORDS for one in (little, big)]
        if few[0] or (same and few[1]):
            little = low[~up]
        if few[1] or (same and few[0]):
            big = high[up]
        enough = min(len(little), len(big)) >= ENOUGH_RECORDS
        found[here] = enough and big.mean() <= little.mean()
    return found
