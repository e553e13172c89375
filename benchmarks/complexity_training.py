"""The recipe of the complexity model: features, known signs, trees and the gate between them.

One recipe serves the shipped model and every cross-validated figure, so that what is measured is what ships.
Its constants were set once by reasoning and coarse looks, and are the same for both data sets and every
split.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge

from tollgate.domain.choice.complexity_features import FEATURES, measure
from tollgate.domain.choice.complexity_model import LEAF, LEAF_SCALE, MAGIC

type Array = np.ndarray[Any, Any]

SEED = 20_261_122
NEED_TREES = 64
QUALITY_TREES = 40
LEAST_LEAF = 8
LEAF_PART = 250
"""A leaf holds at least one in so many prompts: trees over many kinds are to be general, not fine."""
QUALITY_LEAF_PART = 400
"""The same for trees of several outputs, whose splits rest on more evidence."""
PROTOTYPES = 32
KINDS_PENALTY = 30.0
"""Of the ridge that tells the training tasks from each other."""
FAMILIAR_QUANTILE = 0.85
"""So many of the training prompts are more familiar than one half."""
STRICTLY_FAMILIAR_QUANTILE = 0.7
"""The same for predicting single models' quality, where a wrong guess picks a wrong model."""
SOFTNESS = 0.3
"""Width of the gate, in the unit of strangeness."""
PRIOR_WEIGHT = 0.15
"""Expected gain for one standard deviation of the prior, where the pair may be another than the trees learned from."""
KNOWN_PAIR = 0.5
"""How much of the prior is counted between two models that trees know, on a familiar prompt: the trees have learned the
same signals, so that with the whole weight they would count twice."""
TRANSFER = 0.5
"""How much of what trees learned from some pairs of models is believed of a pair that nobody trained on. Between pairs
of LLMRouter that have no model in common it is worth next to nothing; users' pairs are often kin to known ones."""
LEANING_PENALTY = 70.0
"""Of the ridge behind the leanings, over the number of training tasks: a task is one piece of evidence, however many
prompts it has. One task alone hardly moves them."""
LEANING_FEATURES = np.array([not name.startswith("count_") for name in FEATURES])
"""Words count there by their share alone: their number is mostly the length of the prompt over again."""

HARDER = (
    "bytes",
    "words",
    "sentences",
    "sentence_words",
    "word_letters",
    "long_words",
    "once_words",
    "numbers",
    "fractions",
    "comparisons",
    "operators",
    "latex",
    "code",
    "options",
    "bullets",
    "greek",
    "unknowns",
    "names",
    "commas",
    "colons",
    "brackets",
    "count_constraint",
    "count_condition",
    "count_negation",
    "count_quantifier",
    "count_ratio",
    "count_compared",
    "count_rest",
    "count_maths",
    "count_science",
    "count_logic",
    "count_abstract",
    "count_derive",
    "count_command",
    "count_ask_why",
    "count_ask_how",
    "count_code",
    "count_glue",
)
EASIER = ("share_ask_fact",)
PRIOR = [(FEATURES.index(name), 1) for name in HARDER] + [(FEATURES.index(name), -1) for name in EASIER]


def measured(prompts: Sequence[str]) -> Array:
    """Return a row of features for each prompt."""
    return np.array([measure(prompt) for prompt in prompts])


@dataclass(frozen=True, slots=True)
class Trained:
    """A recipe fitted to some prompts: the fields of `ComplexityModel`, with the trees as fitted."""

    centre: Array
    spread: Array
    prior_centre: float
    prior_deviation: float
    prototypes: Array
    reach: float
    kinds: Array
    near: float
    near_strict: float
    trees: ExtraTreesRegressor
    means: Array
    leanings: Array
    favours: Array

    def prior(self, rows: Array) -> Array:
        """Return the sign-only part of the estimate, in training standard deviations."""
        return (_raw_prior(self._standard(rows)) - self.prior_centre) / self.prior_deviation

    def familiarity(self, rows: Array, *, strict: bool = False) -> Array:
        """Return how much each prompt resembles the training prompts, 0..1."""
        near = self.near_strict if strict else self.near
        beyond = _strangeness(self._standard(rows), self.prototypes, self.reach, self.kinds) - near
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(beyond / SOFTNESS, -50.0, 50.0))))

    def corrections(self, rows: Array, *, strict: bool = False) -> Array:
        """Return the trees' difference from the average of each output, faded by familiarity."""
        told = self.trees.predict(rows).reshape(len(rows), -1) - self.means
        return np.asarray(told * self.familiarity(rows, strict=strict)[:, None])

    def leaning(self, rows: Array) -> Array:
        """Return what the prior leaves of each output, as far as many training tasks have it in common."""
        return np.asarray(self._standard(rows) @ self.leanings[:, 1:].T + self.leanings[:, 0])

    def need(self, rows: Array) -> Array:
        """Return the need of the strong one of two models that may be strangers to the trees."""
        return np.asarray(TRANSFER * self.corrections(rows)[:, 0] + PRIOR_WEIGHT * self.prior(rows))

    def gains(self, rows: Array) -> Array:
        """Return the estimate of each output, whose differences are gains between models that were trained on.

        The correction where a prompt is familiar, elsewhere the leaning.
        """
        known = self.familiarity(rows)[:, None]
        general = PRIOR_WEIGHT * self.prior(rows)[:, None] * self.favours * (1.0 - (1.0 - KNOWN_PAIR) * known)
        return np.asarray(general + (1.0 - known) * self.leaning(rows) + self.corrections(rows))

    def _standard(self, rows: Array) -> Array:
        return np.clip((rows - self.centre) / self.spread, -4.0, 4.0)


def _raw_prior(standard: Array) -> Array:
    places = [place for place, _ in PRIOR]
    signs = np.array([sign for _, sign in PRIOR])
    return np.asarray(np.clip(standard[:, places] * signs, -3.0, 3.0).mean(axis=1))


def _nearest(standard: Array, prototypes: Array) -> Array:
    squares = (standard**2).sum(1)[:, None] + (prototypes**2).sum(1) - 2.0 * standard @ prototypes.T
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0.0)))


def _strangeness(standard: Array, prototypes: Array, reach: float, kinds: Array) -> Array:
    """Return how far prompts are from the prototypes, less how surely they are of one of the training tasks.

    Either by itself takes many a new kind of prompt for a known one; both count in their deviations over the training
    prompts.
    """
    strange = _nearest(standard, prototypes) / reach
    if len(kinds):
        strange = strange - (standard @ kinds[:, 1:].T + kinds[:, 0]).max(axis=1)
    return np.asarray(strange)


def _fit_kinds(standard: Array, groups: Array) -> Array:
    """Return a row for each task (constant, then weights) whose largest score says how surely a prompt is of one."""
    names = sorted(set(groups))
    if len(names) < 2:
        return np.zeros((0, standard.shape[1] + 1))
    belongs = np.array([[group == name for name in names] for group in groups], float)
    ridge = Ridge(KINDS_PENALTY).fit(standard, belongs)
    return np.asarray(np.column_stack([ridge.intercept_, ridge.coef_]) / ridge.predict(standard).max(axis=1).std())


def _fit_leanings(standard: Array, beyond: Array, groups: Array) -> Array:
    """Return a row for each output (constant, then weights): a ridge in which every task weighs the same.

    Args:
        standard: standardised features.
        beyond: what the prior leaves of each output.
        groups: the task of each prompt.
    """
    weights = group_weights(groups)
    read = standard[:, LEANING_FEATURES]
    centre = weights @ read
    around = (read - centre) * weights[:, None]
    penalty = LEANING_PENALTY / len(set(groups)) * np.eye(read.shape[1])
    slopes = np.linalg.solve(around.T @ (read - centre) + penalty, around.T @ (beyond - weights @ beyond))
    leanings = np.zeros((beyond.shape[1], 1 + standard.shape[1]))
    leanings[:, 0] = -centre @ slopes
    leanings[:, 1:][:, LEANING_FEATURES] = slopes.T
    return leanings


def group_weights(groups: Array) -> Array:
    """Return weights under which every group weighs the same; they sum to 1."""
    kinds, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (len(kinds) * sizes[place]))


def fit(rows: Array, targets: Array, groups: Array, trees: int = NEED_TREES, favours: Array | None = None) -> Trained:
    """Fit the recipe.

    Args:
        rows: features of the training prompts.
        targets: what to predict, one column an output (or one-dimensional for one output).
        groups: the task of each training prompt.
        trees: how many.
        favours: for each output whether general signals speak for it, 1 or 0 (a large model's quality, a gain); None
            for all.

    Returns:
        The fitted recipe.
    """
    centre, spread = rows.mean(0), np.maximum(rows.std(0), 1e-3)
    standard = np.clip((rows - centre) / spread, -4.0, 4.0)
    raw = _raw_prior(standard)
    prototypes = KMeans(min(PROTOTYPES, len(rows) // 8), n_init=1, random_state=SEED).fit(standard).cluster_centers_
    reach = float(_nearest(standard, prototypes).std())
    kinds = _fit_kinds(standard, groups)
    strange = _strangeness(standard, prototypes, reach, kinds)
    wide = targets.reshape(len(rows), -1)
    favours = np.ones(wide.shape[1]) if favours is None else favours.astype(float)
    general = PRIOR_WEIGHT * (raw - raw.mean()) / raw.std()
    part = QUALITY_LEAF_PART if wide.shape[1] > 1 else LEAF_PART
    forest = ExtraTreesRegressor(
        trees,
        min_samples_leaf=max(LEAST_LEAF, len(rows) // part),
        max_features=0.3,
        random_state=SEED,
        n_jobs=1,
    )
    forest.fit(rows, wide if wide.shape[1] > 1 else wide[:, 0])
    return Trained(
        centre=centre,
        spread=spread,
        prior_centre=float(raw.mean()),
        prior_deviation=float(raw.std()),
        prototypes=prototypes,
        reach=reach,
        kinds=kinds,
        near=float(np.quantile(strange, FAMILIAR_QUANTILE)),
        near_strict=float(np.quantile(strange, STRICTLY_FAMILIAR_QUANTILE)),
        trees=forest,
        means=wide.mean(0),
        leanings=_fit_leanings(standard, wide - general[:, None] * favours, groups),
        favours=favours,
    )


def _flatten(trained: Trained, scale: float) -> tuple[dict[str, Array], dict[str, Any]]:
    """Turn fitted trees, their corrections scaled, into the flat table of `Forest`."""
    feature: list[int] = []
    threshold: list[float] = []
    target: list[int] = []
    values: list[Array] = []
    roots: list[int] = []
    for estimator in trained.trees.estimators_:
        tree = estimator.tree_
        roots.append(len(feature))
        waiting: list[tuple[int, int | None]] = [(0, None)]
        while waiting:
            node, parent = waiting.pop()
            if parent is not None:
                target[parent] = len(feature)
            left = tree.children_left[node]
            if left < 0:
                feature.append(LEAF)
                threshold.append(0.0)
                target.append(len(values))
                values.append(tree.value[node].reshape(-1) - trained.means)
            else:
                here = len(feature)
                feature.append(int(tree.feature[node]))
                threshold.append(float(tree.threshold[node]))
                target.append(0)
                # the left child comes next in the table; the right one tells this node where it ended up
                waiting.append((int(tree.children_right[node]), here))
                waiting.append((int(left), None))
    tables = {
        "feature": np.array(feature, "<u1"),
        "threshold": np.array(threshold, "<f4"),
        "target": np.array(target, "<u4"),
        "values": np.round(scale * np.array(values) * LEAF_SCALE).astype("<i2").reshape(-1),
    }
    return tables, {"roots": roots, "means": [round(float(mean), 6) for mean in trained.means]}


def _on_scale_of(need: Trained, quality: Trained) -> Array:
    """Return the leanings of `quality` for features that are standardised as for `need`."""
    leanings = quality.leanings.copy()
    leanings[:, 0] += leanings[:, 1:] @ ((need.centre - quality.centre) / quality.spread)
    leanings[:, 1:] *= need.spread / quality.spread
    return leanings


def cautious_means(scores: Array, groups: Array) -> Array:
    """Return each model's mean score less one standard error over the tasks.

    The error is of the difference from the average model, with tasks drawn anew: models whose lead rests on one kind of
    prompt lose it.
    """
    beyond = scores - scores.mean(axis=1, keepdims=True)
    names, sizes = np.unique(groups, return_counts=True)
    weights = sizes / sizes.sum()
    of_tasks = np.array([beyond[groups == name].mean(0) for name in names])
    squares = (weights[:, None] * (of_tasks - beyond.mean(0))) ** 2
    return np.asarray(scores.mean(0) - np.sqrt(squares.sum(0) * len(names) / max(1, len(names) - 1)))


def encode(
    need: Trained, quality: Trained, known_models: Sequence[str], *, cautious: Array, ranks: Array, recovered: Array
) -> bytes:
    """Write a model file as `tollgate.domain.choice.complexity_model.decode` reads it.

    Args:
        need: fitted to the strong model's gain.
        quality: fitted to the quality of each known model.
        known_models: their names.
        cautious: see `cautious_means`.
        ranks: the need below which 0, 1, ... 100 % of the reference prompts lie.
        recovered: the share of the gap recovered at complexity 0, 1/100, ... 1.

    Returns:
        The file.
    """
    tables: dict[str, Array] = {
        "centre": need.centre.astype("<f4"),
        "spread": need.spread.astype("<f4"),
        "prototypes": need.prototypes.astype("<f4").reshape(-1),
        "kinds": need.kinds.astype("<f4").reshape(-1),
        "leanings": _on_scale_of(need, quality).astype("<f4").reshape(-1),
    }
    head: dict[str, Any] = {
        "features": list(FEATURES),
        "prior": PRIOR,
        # Further digits depend on the threads and the processor that linear algebra ran on.
        "prior_centre": round(need.prior_centre, 12),
        "prior_weight": round(PRIOR_WEIGHT / need.prior_deviation, 12),
        "reach": round(need.reach, 12),
        "near": round(need.near, 12),
        "near_strict": round(need.near_strict, 12),
        "softness": SOFTNESS,
        "known_models": list(known_models),
        "cautious": [round(float(value), 4) for value in cautious],
        "ranks": [round(float(value), 7) for value in ranks],
        "recovered": [round(float(value), 4) for value in recovered],
    }
    for name, trained, scale in (("need", need, TRANSFER), ("quality", quality, 1.0)):
        flat, facts = _flatten(trained, scale)
        head[name] = facts
        tables |= {f"{name}.{part}": table for part, table in flat.items()}
    codes = {"u1": "B", "f4": "f", "u4": "I", "i2": "h"}
    head["tables"] = [(name, codes[table.dtype.str[1:]], table.nbytes) for name, table in tables.items()]
    packed = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([MAGIC, len(packed).to_bytes(4, "little"), packed, *(t.tobytes() for t in tables.values())])
