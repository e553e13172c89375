"""Nine models at nine prices: what a dial buys at equal spend, and whether its promise of quality is kept."""

from typing import Any

import numpy as np
from complexity_shipping import folds, rank_table, recovered_curve, unseen_needs
from complexity_training import PRIOR_WEIGHT, fit
from routing_data import ModelSet
from routing_metrics import interval

from tollgate.domain.catalogue import Tier
from tollgate.domain.model_choice import GENERAL_SHARE

type Array = np.ndarray[Any, Any]
DIALS = np.linspace(0.0, 1.0, 201)


def chosen(predicted: Array, prices: Array, dial: float) -> Array:
    """Return the model for each prompt under the rule of `choose_model`, for many prompts at once."""
    predicted = np.clip(predicted, 0.0, 1.0)
    by_price = np.lexsort((-predicted.mean(0), prices))
    enough = predicted[:, by_price] >= dial * predicted.max(axis=1, keepdims=True)
    first = enough.argmax(axis=1)
    price = prices[by_price[first]]
    equal = np.where((prices == price[:, None]), predicted, -np.inf)
    return np.asarray(equal.argmax(axis=1))


def at_spend(predicted: Array, many: ModelSet, budget: float) -> tuple[Array, float]:
    """Return each prompt's reward and the mean price, at the highest dial within a budget.

    The dial is chosen by price alone; rewards are not looked at.
    """
    best = None
    for dial in DIALS:
        models = chosen(predicted, many.prices, dial)
        price = many.prices[models].mean()
        if price <= budget + 1e-9:
            best = models, price
    if best is None:
        raise ValueError(f"no dial keeps the mean price within {budget}")
    return many.scores[np.arange(len(models)), best[0]], float(best[1])


def with_records(predicted: Array, many: ModelSet, *, by_group: bool) -> Array:
    """Return predictions without the models that `choose_model` rules out by record.

    The records are mean scores over each prompt's training folds; a model that costs more than another and
    has the lower record is given no quality at all, and so is never chosen.
    """
    kept = np.clip(predicted, 0.0, 1.0)
    for train, test in folds(many.tasks, by_group=by_group):
        record = many.scores[train].mean(0)
        for model, price in enumerate(many.prices):
            if (record[many.prices < price] >= record[model]).any():
                kept[test, model] = 0.0
    return kept


def reward_table(routers: dict[str, Array], many: ModelSet) -> None:
    """Print reward at the spend of each price level, beside the best single model that costs no more."""
    print(f"{'spend <=':>8}  {'best single model':<42}" + "".join(f"{name:<44}" for name in routers))
    means = many.scores.mean(0)
    for budget in (0.1, 0.2, 0.3, 0.5, 0.9):
        affordable = np.where(many.prices <= budget + 1e-9)[0]
        single = affordable[means[affordable].argmax()]
        row = f"{budget:8.2f}  {many.models[single]:<34} {means[single]:.3f}  "
        for predicted in routers.values():
            reward, price = at_spend(predicted, many, budget)
            difference = reward - many.scores[:, single]
            low, high = _mean_interval(difference)
            row += f" {reward.mean():.3f} at {price:.2f}, {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]  "
        print(row)


def _mean_interval(values: Array) -> tuple[float, float]:
    return interval(lambda times: float((values * times).mean()), len(values))


def promise_table(rows: Array, pairs: dict[str, tuple[Array, Array]], groups: Array, *, by_group: bool) -> None:
    """Print what is kept of the strong model's quality where a share of it was asked for.

    Everything that the promise rests on (trees, ranks, the curve of the gap recovered, both models' mean
    quality) comes from the training half; what is kept is counted on the other half. Two repetitions.
    """
    kinds = sorted(set(groups))
    rng = np.random.default_rng(3)
    kept: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for _ in range(2):
        if by_group:
            testing = np.isin(groups, rng.choice(kinds, len(kinds) // 2, replace=False))
        else:
            testing = rng.random(len(groups)) < 0.5
        train, test = np.where(~testing)[0], np.where(testing)[0]
        for name, (weak, strong) in pairs.items():
            gain = strong - weak
            has = train[~np.isnan(gain[train])]
            seen = test[~np.isnan(gain[test])]
            model = fit(rows[has], gain[has], 40)
            curves, tables = [], []
            for strict in (False, True):
                if strict and len(set(groups[has])) < 2:
                    continue
                needs = unseen_needs(rows[has], gain[has], groups[has], by_group=strict)
                tables.append(rank_table(needs, groups[has]))
                curves.append(recovered_curve(needs, gain[has][:, None], tables[-1]))
            curve = np.minimum.reduce(curves)
            need = model.need(rows[seen])[:, 0]
            for quality in (0.9, 0.95, 0.98):
                low, high = weak[has].mean(), strong[has].mean()
                good = np.where((low + curve * (high - low)) / high >= quality)[0]
                step = int(good.max()) if len(good) else 0
                up = need >= tables[0][step] if step else np.ones(len(seen), bool)
                reward = np.where(up, strong[seen], weak[seen]).sum() / strong[seen].sum()
                kept.setdefault((name, quality), []).append((float(reward), float(up.mean())))
    for (name, quality), results in kept.items():
        shares = ", ".join(f"{reward:.3f} with {up:.0%} strong calls" for reward, up in results)
        print(f"{name:<44} asked {quality:.2f}: kept {shares}")


def by_fold(rows: Array, many: ModelSet, *, by_group: bool) -> tuple[Array, Array, Array]:
    """Return what models say of prompts that they did not train on (or whose task they did not see).

    Args:
        rows: features.
        many: the prompts' scores.
        by_group: leave out whole tasks instead of random rows.

    Returns:
        For each prompt: every model's correction, the prior, and every model's predicted quality as
        `predict_qualities` gives it.
    """
    told, quality, prior = np.zeros(many.scores.shape), np.zeros(many.scores.shape), np.zeros(len(rows))
    large = np.where(many.prices > 0.5, GENERAL_SHARE[Tier.LARGE], GENERAL_SHARE[Tier.SMALL])
    for train, test in folds(many.tasks, by_group=by_group):
        model = fit(rows[train], many.scores[train], 40)
        told[test] = model.corrections(rows[test])
        prior[test] = model.prior(rows[test])
        general = PRIOR_WEIGHT * prior[test][:, None] * large
        quality[test] = model.means + model.corrections(rows[test], strict=True) + general
    return told, prior, quality
