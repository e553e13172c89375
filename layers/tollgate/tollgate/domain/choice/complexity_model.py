"""The learned part of the router: how it is stored, read and run, on the standard library alone.

The estimate is `prior + familiarity x correction`:

- the *prior* is the plain mean of standardised signals whose sign is known beforehand (longer, more steps,
  more conditions: harder). Equal weights are the improper linear models of R. Dawes (American Psychologist,
  1979): they cannot overfit, so they hold on kinds of prompts that nobody trained on;
- the *correction* comes from extremely randomised trees (P. Geurts et al., Machine Learning, 2006) over every
  feature: far better than the prior on kinds of prompts that it has seen, and worse than nothing on others;
- *familiarity*, 0..1, falls with the distance to the nearest of the training prompts' prototypes and rises with how
  surely a prompt is of one of the training tasks, so that the trees speak only about what they know.

For each known model there is a *leaning* as well, for prompts that are not familiar: a linear model of what the prior
leaves, shrunk so far that only what many training tasks have in common is left of it.
"""

from __future__ import annotations

import json
import sys
from array import array
from bisect import bisect_right
from functools import cache
from math import copysign, dist, exp, sumprod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tollgate.domain.choice.complexity_features import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL_FILE: Final = Path(__file__).parents[2] / "data" / "complexity.bin"

MAGIC: Final = b"tollgate-complexity-3\n"
"""First bytes of a model file: its name and the version of the layout."""

LEAF: Final = 255
"""Feature number that marks a leaf."""

LEAF_SCALE: Final = 10_000
"""Leaf values are whole ten-thousandths."""


class ComplexityModelError(ValueError):
    """The model file is not one that this code can run: cut, of another layout, or trained on other features."""


class Forest(NamedTuple):
    """Regression trees in one flat table; the left child of node `i` is `i + 1`.

    Args:
        roots: where each tree starts.
        feature: which measurement a node asks for, or `LEAF`.
        threshold: a node goes left where the measurement is at most this.
        target: the right child of a node; for a leaf, its row of `values`.
        values: `outputs` whole ten-thousandths a leaf, as differences from `means`.
        means: the average of each output over the training prompts.
    """

    roots: tuple[int, ...]
    feature: array[int]
    threshold: array[float]
    target: array[int]
    values: array[int]
    means: tuple[float, ...]

    def corrections(self, measured: list[float], outputs: Sequence[int] | None = None) -> list[float]:
        """Return how far the trees put this prompt from the average prompt, for each of the outputs (None for all)."""
        feature, threshold, target, values = self.feature, self.threshold, self.target, self.values
        width = len(self.means)
        leaves = []
        for node in self.roots:
            while (asked := feature[node]) != LEAF:
                node = node + 1 if measured[asked] <= threshold[node] else target[node]  # noqa: PLW2901 -- a walk
            leaves.append(target[node] * width)
        scale = LEAF_SCALE * len(self.roots)
        wanted = range(width) if outputs is None else outputs
        return [sum([values[start + place] for start in leaves]) / scale for place in wanted]


class Reading(NamedTuple):
    """How a prompt looks to a model, before any tree is asked.

    Args:
        standard: its standardised features.
        general: the prior's part of the need.
        strangeness: how far it is from the training prompts, less how surely it is of one of their tasks.
    """

    standard: tuple[float, ...]
    general: float
    strangeness: float


class ComplexityModel(NamedTuple):
    """A trained model as shipped.

    Args:
        centre: the training mean of each feature.
        spread: the training standard deviation of each feature.
        prior: feature number and sign (+1 or -1) of each of the prior's signals.
        prior_centre: the training mean of the prior.
        prior_weight: expected gain for one unit of the prior.
        prototypes: typical training prompts in standardised features.
        reach: the training deviation of the distance to the nearest prototype, the unit of strangeness.
        kinds: for each training task its weights, with the constant before them; the largest score says how surely a
            prompt is of one of them, in the same unit.
        near: the strangeness (distance less sureness) at which familiarity is one half.
        near_strict: the same for the quality of single models, which needs closer acquaintance.
        softness: how fast familiarity falls around `near`, in the same unit.
        need: the trees of the strong model's gain, one output.
        quality: the trees of each known model's quality, one output a model.
        known_models: the models of `quality`, in its order.
        leanings: for each of them the constant and the weights of its `leaning`.
        cautious: mean quality of each less one standard error over the training tasks.
        ranks: the need below which 0, 1, ... 100 % of the reference prompts lie.
        recovered: the share of the quality gap that is kept by sending every prompt of at least complexity 0,
            1/100, ... 1 to the strong model; a cautious figure (see the model card).
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    prior: tuple[tuple[int, int], ...]
    prior_centre: float
    prior_weight: float
    prototypes: tuple[tuple[float, ...], ...]
    reach: float
    kinds: tuple[tuple[float, tuple[float, ...]], ...]
    near: float
    near_strict: float
    softness: float
    need: Forest
    quality: Forest
    known_models: tuple[str, ...]
    leanings: tuple[tuple[float, tuple[float, ...]], ...]
    cautious: tuple[float, ...]
    ranks: tuple[float, ...]
    recovered: tuple[float, ...]

    def standardise(self, measured: list[float]) -> tuple[float, ...]:
        """Return the measurements in standard deviations from the training mean, held within four."""
        places = [
            place if -4.0 < (place := (value - centre) / spread) < 4.0 else copysign(4.0, place)
            for value, centre, spread in zip(measured, self.centre, self.spread, strict=True)
        ]
        return tuple(places)

    def strangeness(self, standard: tuple[float, ...]) -> float:
        """Return how little a prompt (its standardised features) resembles the training prompts."""
        nearest = min([dist(prototype, standard) for prototype in self.prototypes])
        surest = max([constant + sumprod(weights, standard) for constant, weights in self.kinds], default=0.0)
        return nearest / self.reach - surest

    def familiarity(self, strangeness: float, *, strict: bool = False) -> float:
        """Return how much a prompt resembles the training prompts: 0..1."""
        near = self.near_strict if strict else self.near
        return 1.0 / (1.0 + exp(max(-50.0, min(50.0, (strangeness - near) / self.softness))))

    def general(self, standard: tuple[float, ...]) -> float:
        """Return the prior's part of the need of a prompt."""
        parts = [
            part if -3.0 < (part := sign * standard[place]) < 3.0 else copysign(3.0, part) for place, sign in self.prior
        ]
        return self.prior_weight * (sum(parts) / len(parts) - self.prior_centre)

    def leaning(self, standard: tuple[float, ...], place: int) -> float:
        """Return how far from its mean tasks in general put a known model's quality on a prompt, beyond the prior."""
        constant, weights = self.leanings[place]
        return constant + sumprod(weights, standard)

    def read(self, measured: list[float]) -> Reading:
        """Return how a prompt looks, given by its `measure`ments."""
        standard = self.standardise(measured)
        return Reading(standard, self.general(standard), self.strangeness(standard))

    def need_of(self, measured: list[float], reading: Reading | None = None) -> tuple[float, float]:
        """Return the need and the familiarity of a prompt, given by its `measure`ments.

        Args:
            measured: the measurements.
            reading: of the same prompt, where it was taken before.
        """
        seen = reading or self.read(measured)
        known = self.familiarity(seen.strangeness)
        return seen.general + known * self.need.corrections(measured)[0], known

    def rank(self, need: float) -> float:
        """Return the share of the reference prompts whose need is lower, interpolated: 0..1."""
        ranks = self.ranks
        place = bisect_right(ranks, need)
        if place == 0:
            return 0.0
        if place == len(ranks):
            return 1.0
        low, high = ranks[place - 1], ranks[place]
        return (place - 1 + (need - low) / (high - low)) / (len(ranks) - 1)


def _numbers(code: str, raw: bytes) -> array[Any]:
    numbers: array[Any] = array(code)
    numbers.frombytes(raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def decode(raw: bytes) -> ComplexityModel:
    """Read a model file: `MAGIC`, four bytes for the length of a JSON head, the head, little-endian tables.

    Args:
        raw: the whole file.

    Returns:
        The model.

    Raises:
        ComplexityModelError: the file has another layout, is not whole, or was trained on other features.
    """
    if not raw.startswith(MAGIC):
        raise ComplexityModelError("not a complexity model of this version")
    start = len(MAGIC) + 4
    end = start + int.from_bytes(raw[len(MAGIC) : start], "little")
    try:
        head: dict[str, Any] = json.loads(raw[start:end])
    except ValueError as error:
        raise ComplexityModelError("the head of the complexity model is cut or damaged") from error
    if tuple(head["features"]) != FEATURES:
        raise ComplexityModelError("the model was trained on other features than this code measures")
    if len(raw) != end + sum(size for _, _, size in head["tables"]):
        # A short table would answer most prompts, some of them wrongly.
        raise ComplexityModelError("the complexity model has another length than its head says")
    tables: dict[str, array[Any]] = {}
    for name, code, size in head["tables"]:
        tables[name] = _numbers(code, raw[end : end + size])
        end += size
    width = len(FEATURES)
    flat = tables["prototypes"].tolist()
    prototypes = tuple(tuple(flat[at : at + width]) for at in range(0, len(flat), width))

    def lines(name: str) -> tuple[tuple[float, tuple[float, ...]], ...]:
        flat = tables[name].tolist()
        return tuple((flat[at], tuple(flat[at + 1 : at + 1 + width])) for at in range(0, len(flat), width + 1))

    def forest(name: str) -> Forest:
        return Forest(
            roots=tuple(head[name]["roots"]),
            # Arrays, not lists: between two requests the numbers leave the cache, and small ones are soon back.
            feature=tables[f"{name}.feature"],
            threshold=tables[f"{name}.threshold"],
            target=tables[f"{name}.target"],
            values=tables[f"{name}.values"],
            means=tuple(head[name]["means"]),
        )

    return ComplexityModel(
        centre=tuple(tables["centre"]),
        spread=tuple(tables["spread"]),
        prior=tuple((place, sign) for place, sign in head["prior"]),
        prior_centre=head["prior_centre"],
        prior_weight=head["prior_weight"],
        prototypes=prototypes,
        reach=head["reach"],
        kinds=lines("kinds"),
        near=head["near"],
        near_strict=head["near_strict"],
        softness=head["softness"],
        need=forest("need"),
        quality=forest("quality"),
        known_models=tuple(head["known_models"]),
        leanings=lines("leanings"),
        cautious=tuple(head["cautious"]),
        ranks=tuple(head["ranks"]),
        recovered=tuple(head["recovered"]),
    )


@cache
def shipped_model() -> ComplexityModel:
    """Return the model that ships with the package, read on first use.

    Raises:
        ComplexityModelError: the file does not fit this code.
    """
    return decode(MODEL_FILE.read_bytes())
