"""The routers to beat, computed in the same run on the same folds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

type Array = np.ndarray[Any, Any]
type Prompts = Sequence[str] | Array


def length(prompts: Prompts) -> Array:
    """Return the number of characters of each prompt."""
    return np.array([len(prompt) for prompt in prompts], float)


def chance(prompts: Prompts) -> Array:
    """Return a fixed random need for each prompt."""
    return np.random.default_rng(11).random(len(prompts))


def tfidf_ridge(train: Prompts, targets: Array, test: Prompts, penalty: float) -> Array:
    """Fit TF-IDF of words and word pairs with ridge regression, and return its predictions.

    Args:
        train: the training prompts.
        targets: one value or one row of values for each of them.
        test: the prompts to predict.
        penalty: the ridge's.

    Returns:
        One value or one row for each test prompt.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    model = Ridge(penalty, solver="sparse_cg", random_state=0)
    model.fit(words.fit_transform(train), targets)
    return np.asarray(model.predict(words.transform(test)))
