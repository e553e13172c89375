"""Nine models at nine prices: what a dial buys at equal spend, and whether its promise of quality is kept."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from complexity_shipping import folds, rank_table, recovered_curve, unseen_needs
from complexity_training import PRIOR_WEIGHT, QUALITY_TREES, Trained, cautious_means, fit
from routing_data import ModelSet
from routing_metrics import interval

from tollgate.domain.catalogue import Tier
from tollgate.domain.choice.exchange import best_lead, cautious_share, exchange_rate
from tollgate.domain.choice.model_choice import GENERAL_SHARE, GENERAL_SPREAD, MOST_LEANING, OWN_SPREAD

type Array = np.ndarray[Any, Any]
DIALS = np.concatenate([np.linspace(0.0, 0.78, 14), np.linspace(0.8, 0.945, 30), np.linspace(0.95, 1.0, 26)])
PROMISED = (0.9, 0.95, 0.98, 0.99, 1.0)
RATES = np.geomspace(1e-3, 100.0, 400)
BUDGETS = (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 0.9)
NO_QUALITY = -9.0
"""Of a model that may not be chosen."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a router says of each prompt (rows) and model (columns).

    Args:
        quality: of the model on the prompt.
        means: of the model over the prompts that the router was trained on.
        familiarity: of the prompt, 0..1.
        is_large: whether general signals count in favour of the model.
    """

    quality: Array
    means: Array
    familiarity: Array
    is_large: Array


def best_values(quality: Array, prices: Array, rate: Array | float) -> Array:
    """Return the model for each prompt that is worth its price at a rate: `best_value` for many prompts at once."""
    by_price = np.lexsort((-quality.mean(0), prices))
    values = quality - np.asarray(rate).reshape(-1, 1) * (prices / prices.max())
    return np.asarray(by_price[values[:, by_price].argmax(axis=1)])


def at_dial(told: Predicted, prices: Array, dial: float) -> Array:
    """Return the model for each prompt under the rule of `choose_model`."""
    general = tuple(np.where(told.is_large, GENERAL_SHARE[Tier.LARGE] * GENERAL_SPREAD, 0.0).tolist())
    price_shares = tuple(np.round(prices / prices.max(), 2).tolist())
    kinds, place = np.unique(np.column_stack([told.means, np.round(told.familiarity, 1)]), axis=0, return_inverse=True)
    shares = np.array([cautious_share(dial, one) for one in kinds[:, -1].tolist()])
    rates = [
        exchange_rate(tuple(means), price_shares, general, OWN_SPREAD * one, share)
        for (*means, one), share in zip(kinds.tolist(), shares.tolist(), strict=True)
    ]
    leads = np.array([best_lead(share) for share in shares.tolist()])
    quality = told.quality.copy()
    quality[np.arange(len(quality)), told.means.argmax(axis=1)] += leads[place]
    return best_values(quality, prices, np.array(rates)[place])


def curve(told: Predicted | Array, prices: Array) -> list[Array]:
    """Return the models for each prompt at every dial; for bare predictions at every rate, which is their best use."""
    if isinstance(told, Predicted):
        return [at_dial(told, prices, float(dial)) for dial in DIALS]
    return [best_values(told, prices, float(rate)) for rate in RATES]


def at_spend(models: list[Array], many: ModelSet, budget: float) -> tuple[Array, float]:
    """Return each prompt's reward and the mean price, at the setting that spends most of a budget.

    The setting is chosen by price alone; rewards are not looked at.
    """
    affordable = [(many.prices[one].mean(), place) for place, one in enumerate(models)]
    price, place = max((price, -place) for price, place in affordable if price <= budget + 1e-9)
    return many.scores[np.arange(len(many.scores)), models[-place]], float(price)


def with_records(told: Predicted, many: ModelSet, *, by_group: bool) -> Predicted:
    """Return predictions without the models that `choose_model` rules out by record.

    The records are mean scores over each prompt's training folds; a model that costs more than another and
    has the lower record is given no quality at all, and so is never chosen.
    """
    quality, means = told.quality.copy(), told.means.copy()
    for train, test in folds(many.tasks, by_group=by_group):
        record = many.scores[train].mean(0)
        for model, price in enumerate(many.prices):
            if (record[many.prices < price] >= record[model]).any():
                quality[test, model] = means[test, model] = NO_QUALITY
    return Predicted(quality, means, told.familiarity, told.is_large)


def reward_table(routers: dict[str, Predicted | Array], many: ModelSet) -> None:
    """Print reward at the spend of each price level, beside the best single model that costs no more."""
    curves = {name: curve(told, many.prices) for name, told in routers.items()}
    print(f"{'spend <=':>8}  {'best single model':<42}" + "".join(f"{name:<44}" for name in routers))
    means = many.scores.mean(0)
    for budget in BUDGETS:
        affordable = np.where(many.prices <= budget + 1e-9)[0]
        single = affordable[means[affordable].argmax()]
        row = f"{budget:8.2f}  {many.models[single]:<34} {means[single]:.3f}  "
        for models in curves.values():
            reward, price = at_spend(models, many, budget)
            difference = reward - many.scores[:, single]
            low, high = _mean_interval(difference)
            row += f" {reward.mean():.3f} at {price:.2f}, {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]  "
        print(row)
    cheapest = int(np.lexsort((-means, many.prices))[0])
    print(f"against {many.models[cheapest]}, the cheapest, alone:")
    for name, models in curves.items():
        kept = [many.scores[np.arange(len(many.scores)), one] - many.scores[:, cheapest] for one in models]
        worst = min(kept, key=lambda one: float(one.mean()))
        low, high = _mean_interval(worst)
        print(f"  {name:<16} at its worst setting {worst.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


def halves_table(halves: list[tuple[Predicted, ModelSet, ModelSet]]) -> None:
    """Print reward beyond single models on tasks that nothing was recorded of, over several halves of the tasks.

    One single model is the best on the tested half, which is known only afterwards; the other was the best on the
    training half, which is what can be done without a router.

    Args:
        halves: what was predicted, the training half and the tested half.
    """
    print(
        "Nine models, half of the tasks unseen: reward beyond the single model that ... (intervals: halves drawn anew)"
    )
    print(f"{'spend <=':>8}  {'turns out best':<28}{'was best on the training half':<28}")
    curves = [curve(told, strange.prices) for told, _, strange in halves]
    for budget in BUDGETS:
        beyond = []
        for models, (_, known, strange) in zip(curves, halves, strict=True):
            affordable = np.where(strange.prices <= budget + 1e-9)[0]
            means = strange.scores.mean(0)
            trusted = affordable[known.scores.mean(0)[affordable].argmax()]
            reward = at_spend(models, strange, budget)[0].mean()
            beyond.append((reward - means[affordable].max(), reward - means[trusted]))
        row = f"{budget:8.2f}  "
        for values in np.array(beyond).T:
            low, high = _mean_interval(values)
            row += f"{f'{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]':<28}"
        print(row)
    _kept_on_halves(halves)


def _kept_on_halves(halves: list[tuple[Predicted, ModelSet, ModelSet]]) -> None:
    """Print what the dial keeps, on the tested halves, of the quality of the model that was best on the others."""
    print("What the dial keeps there of the model that was best before:")
    for dial in PROMISED:
        kept = []
        for told, known, strange in halves:
            models = at_dial(told, strange.prices, dial)
            reward = strange.scores[np.arange(len(models)), models].sum()
            best = strange.scores[:, known.scores.mean(0).argmax()].sum()
            kept.append((reward, best, strange.prices[models].mean(), reward < dial * best))
        rewards, bests, prices, missed = np.array(kept).T
        low, high = interval(partial(_ratio_of_sums, rewards, bests), len(kept))
        share = f"{rewards.sum() / bests.sum():.3f} [{low:.3f}, {high:.3f}] at {prices.mean():.2f}"
        print(f"  asked {dial:.2f}: kept {share}, less than asked in {int(missed.sum())} of {len(kept)} halves")


def _ratio_of_sums(one: Array, other: Array, times: Array) -> float:
    return float((one * times).sum() / (other * times).sum())


def dial_table(told: Predicted, many: ModelSet) -> None:
    """Print what the dial keeps of the best model's mean quality, and at what price."""
    best = many.scores[:, many.scores.mean(0).argmax()]
    for dial in PROMISED:
        models = at_dial(told, many.prices, dial)
        reward = many.scores[np.arange(len(models)), models]
        print(f"  asked {dial:.2f}: kept {_share_kept(reward, best)} at {many.prices[models].mean():.2f}")


def _mean_interval(values: Array) -> tuple[float, float]:
    return interval(lambda times: float((values * times).mean()), len(values))


def promise_table(rows: Array, pairs: dict[str, tuple[Array, Array]], groups: Array, *, by_group: bool) -> None:
    """Print what is kept of the strong model's quality where a share of it was asked for.

    Everything that the promise rests on (trees, ranks, the curve of the gap recovered, both models' mean
    quality) comes from the training half; what is kept is counted on the other half, with its 95 % bootstrap
    interval over prompts. Two repetitions.
    """
    kinds = sorted(set(groups))
    rng = np.random.default_rng(3)
    kept: dict[tuple[str, float], list[str]] = {}
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
            model = fit(rows[has], gain[has], groups[has], 40)
            curves, tables = [], []
            for strict in (False, True):
                if strict and len(set(groups[has])) < 2:
                    continue
                needs = unseen_needs(rows[has], gain[has], groups[has], by_group=strict)
                tables.append(rank_table(needs, groups[has]))
                curves.append(recovered_curve(needs, gain[has][:, None], tables[-1]))
            curve = np.minimum.reduce(curves)
            need, known = model.need(rows[seen]), np.round(model.familiarity(rows[seen]), 1)
            low, high = weak[has].mean(), strong[has].mean()
            promised = (low + curve * (high - low)) / high
            for quality in (0.9, 0.95, 0.99):
                up = np.ones(len(seen), bool)
                for one in np.unique(known):
                    good = np.where(promised >= cautious_share(quality, one))[0]
                    step = int(good.max()) if len(good) else 0
                    if step:
                        up[known == one] = need[known == one] >= tables[0][step]
                share = _share_kept(np.where(up, strong[seen], weak[seen]), strong[seen])
                kept.setdefault((name, quality), []).append(f"{share} with {up.mean():.0%} strong calls")
    for (name, quality), results in kept.items():
        print(f"{name:<44} asked {quality:.2f}: kept {', '.join(results)}")


def _share_kept(reward: Array, best: Array) -> str:
    """Return the share of the best reward that is kept, with its interval."""
    low, high = interval(partial(_ratio_of_sums, reward, best), len(best))
    return f"{reward.sum() / best.sum():.3f} [{low:.3f}, {high:.3f}]"


def by_fold(rows: Array, many: ModelSet, *, by_group: bool) -> tuple[Array, Array, Predicted]:
    """Return what models say of prompts that they did not train on (or whose task they did not see).

    Args:
        rows: features.
        many: the prompts' scores.
        by_group: leave out whole tasks instead of random rows.

    Returns:
        For each prompt: every model's estimate, whose differences are gains between two models, the
        prior, and every model's predicted quality as `predict` gives it.
    """
    told, prior = np.zeros(many.scores.shape), np.zeros(len(rows))
    predicted = Predicted(np.zeros(told.shape), np.zeros(told.shape), np.zeros(len(rows)), many.is_large)
    for train, test in folds(many.tasks, by_group=by_group):
        model = fit(rows[train], many.scores[train], many.tasks[train], QUALITY_TREES, many.is_large)
        told[test] = model.gains(rows[test])
        prior[test] = model.prior(rows[test])
        found = predictions(model, rows[test], cautious_means(many.scores[train], many.tasks[train]))
        predicted.quality[test], predicted.means[test] = found.quality, found.means
        predicted.familiarity[test] = found.familiarity
    return told, prior, predicted


def predictions(model: Trained, rows: Array, means: Array) -> Predicted:
    """Return what `predict` says of many prompts at once, of every model."""
    is_large = model.favours > 0.0
    need = PRIOR_WEIGHT * model.prior(rows)
    quality = np.tile(means, (len(rows), 1))
    small = means[~is_large]
    for place in np.where(is_large)[0]:
        below = max(small[small < means[place]], default=0.0) + 1e-4
        quality[:, place] = np.maximum(means[place] + GENERAL_SHARE[Tier.LARGE] * need, below)
    known = model.familiarity(rows, strict=True)
    leaning = np.clip(model.leaning(rows), -MOST_LEANING, MOST_LEANING) * (1.0 - known)[:, None]
    quality = np.clip(quality + model.corrections(rows, strict=True) + leaning, 0.0, 1.0)
    return Predicted(quality, np.tile(means, (len(rows), 1)), known, is_large)
