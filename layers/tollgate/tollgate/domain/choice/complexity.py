"""How much a prompt needs the strong model, and how much of its quality is kept when routing by that.

Complexity is a rank: 0.7 means that 70 % of the reference prompts (every kind of task weighing the same)
need the strong model less. The default tiers therefore send about 30 % of such a mix to small models and 30
% to large ones. `docs/models/complexity.md` is the model card: what it was trained on, how it scores, where
it fails.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from tollgate.domain.catalogue import Tier
from tollgate.domain.choice.complexity_features import measure
from tollgate.domain.choice.complexity_model import Reading, shipped_model
from tollgate.domain.choice.policy import DEFAULT_THRESHOLDS, TierThresholds

_SHORT_FOLLOW_UP: Final = 200
"""A last user turn below this many characters is read together with the one before it."""


def estimate_complexity(text: str) -> float:
    """Estimate how much a prompt needs the strong model.

    Args:
        text: the prompt; of a conversation, its `routing_text`.

    Returns:
        0 (any model will do) to 1.
    """
    return weigh(measure(text))[0]


def weigh(measured: list[float], reading: Reading | None = None) -> tuple[float, float]:
    """Return the complexity and the familiarity of a prompt, each 0..1.

    Args:
        measured: what `measure` says of it.
        reading: the shipped model's, where it was taken before.
    """
    model = shipped_model()
    need, familiarity = model.need_of(measured, reading)
    return model.rank(need), familiarity


def routing_text(messages: Iterable[tuple[str, str]]) -> str:
    """Return the part of a conversation that decides which model it needs.

    That is the last user turn, together with the one before it where the last is a short follow-up ("and in
    French?"). System prompts are left out: they are the same for every request of an application and would
    drown what differs. Only where no user spoke does the last message count, whoever wrote it.

    Args:
        messages: role and text of each message, oldest first.

    Returns:
        The text to assess; empty where nobody said anything.
    """
    said = [(role, text) for role, text in messages if text]
    asked = [text for role, text in said if role == "user"]
    if len(asked) > 1 and len(asked[-1]) < _SHORT_FOLLOW_UP:
        return f"{asked[-2]}\n{asked[-1]}"
    if asked:
        return asked[-1]
    return said[-1][1] if said else ""


def choose_tier(complexity: float, thresholds: TierThresholds = DEFAULT_THRESHOLDS) -> Tier:
    """Return the smallest tier that will do.

    Args:
        complexity: from `estimate_complexity`, 0..1.
        thresholds: where the tiers begin.

    Returns:
        The tier.
    """
    if complexity < thresholds.medium:
        return Tier.SMALL
    return Tier.MEDIUM if complexity < thresholds.large else Tier.LARGE


def kept_quality(threshold: float, weak_quality: float, strong_quality: float) -> float:
    """Return the share of the strong model's mean quality that a threshold between two models keeps.

    With the gap recovered R(t) measured on prompts that the estimator had not seen (RouteLLM's performance
    gap recovered, arXiv 2406.18665, section 3), kept = (weak + R(t) x (strong - weak)) / strong.

    Args:
        threshold: prompts of at least this complexity go to the strong model, 0..1.
        weak_quality: the weak model's mean quality over the traffic, 0..1.
        strong_quality: the strong model's mean quality over the traffic, 0..1.

    Returns:
        The share, 1 meaning all of it. 1 or more where the strong model is no better than the weak one.

    Raises:
        ValueError: a quality or the threshold is out of range.
    """
    if not (0.0 <= threshold <= 1.0 and 0.0 <= weak_quality <= 1.0 and 0.0 < strong_quality <= 1.0):
        raise ValueError("threshold and qualities lie between 0 and 1, and the strong model's is not 0")
    if weak_quality >= strong_quality:
        return weak_quality / strong_quality
    curve = shipped_model().recovered
    place = threshold * (len(curve) - 1)
    below = min(int(place), len(curve) - 2)
    share = curve[below] + (place - below) * (curve[below + 1] - curve[below])
    return (weak_quality + share * (strong_quality - weak_quality)) / strong_quality


def threshold_for_quality(quality: float, weak_quality: float, strong_quality: float) -> float:
    """Return the highest threshold (the cheapest split) that keeps a share of the strong model's quality.

    Args:
        quality: the share to keep, 0..1: 0.95 keeps 95 % of the strong model's mean quality.
        weak_quality: the weak model's mean quality over the traffic, 0..1.
        strong_quality: the strong model's mean quality over the traffic, 0..1.

    Returns:
        The threshold, 0..1, in steps of 1/100: prompts of at least this complexity go to the strong model. 1
        where the weak model alone keeps enough, and nothing but the very hardest goes up.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0.0 <= quality <= 1.0:
        raise ValueError("quality lies between 0 and 1")
    steps = len(shipped_model().recovered) - 1
    # The quality kept falls with the threshold, so binary search finds the last step that keeps enough.
    enough = bisect_right(
        range(1, steps + 1), -quality, key=lambda step: -kept_quality(step / steps, weak_quality, strong_quality)
    )
    return enough / steps
