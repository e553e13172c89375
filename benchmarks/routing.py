"""Measure the router on open data: `python benchmarks/routing.py` from the repository's root.

Prints, with 95 % bootstrap intervals and beside random, prompt length and TF-IDF + ridge computed in the
same run: GSM8K cross-validated, LLMRouter pairs by row and by task, out of distribution, nine models at
equal spend, whether a promise of quality is kept, what ruling out by records costs, and the price of an
estimate. Everything but the records is scored on prompts that its model did not see.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from complexity_shipping import OTHER_PAIRS, STRONG, WEAK, folds, learned_gain, merge
from complexity_training import QUALITY_TREES, cautious_means, fit, measured
from routing_baselines import chance, length, tfidf_ridge
from routing_data import ModelSet, PairSet, data_folder, load_gsm8k, load_llmrouter, same_question
from routing_metrics import area, difference, interval, line
from routing_nine import by_fold, dial_table, halves_table, predictions, promise_table, reward_table, with_records
from routing_records import records_table

from tollgate.domain.choice import complexity_model
from tollgate.domain.choice.complexity import estimate_complexity

type Array = np.ndarray[Any, Any]
HEAD = f"{'router':<38} {'APGR':>6} {'95 % interval':<16}  CPT50 CPT80"
PAIRS = ((WEAK, STRONG), *OTHER_PAIRS, ("codegemma-7b", STRONG))
MODEL_FILE = Path("layers/tollgate/tollgate/data/complexity.bin")


def gsm8k(many: ModelSet, many_rows: Array, pair: PairSet, rows: Array) -> None:
    """Print GSM8K (Mixtral-8x7B or GPT-4), five folds, three times over."""
    gain = pair.strong - pair.weak
    prompts = np.array(pair.prompts, object)
    asked = {same_question(prompt) for prompt in pair.prompts}
    other = np.array([same_question(prompt) not in asked for prompt in many.prompts])
    needs: dict[str, list[Array]] = {
        "TF-IDF + ridge, penalty 1": [],
        "TF-IDF + ridge, penalty 10": [],
        "prior alone": [],
    }
    needs |= {"this router": [], "this router, with LLMRouter's prompts": []}
    for seed in range(3):
        fold = np.random.default_rng(seed).permutation(len(rows)) % 5
        for scores in needs.values():
            scores.append(np.zeros(len(rows)))
        for number in range(5):
            train, test = fold != number, fold == number
            for name, penalty in (("TF-IDF + ridge, penalty 1", 1.0), ("TF-IDF + ridge, penalty 10", 10.0)):
                needs[name][-1][test] = tfidf_ridge(prompts[train], gain[train], prompts[test], penalty)
            model = fit(rows[train], gain[train], np.full(int(train.sum()), "gsm8k"))
            needs["prior alone"][-1][test] = model.prior(rows[test])
            needs["this router"][-1][test] = model.gains(rows[test])[:, 0]
            known = PairSet([], pair.weak[train], pair.strong[train])
            both = merge(_only(many, other), many_rows[other], known, rows[train])
            wide = fit(both.rows, both.target, both.groups)
            needs["this router, with LLMRouter's prompts"][-1][test] = wide.need(rows[test])
    rival = needs["TF-IDF + ridge, penalty 1"]
    print(
        f"\nGSM8K, Mixtral-8x7B or GPT-4: {len(rows)} prompts, five folds, three times\n{HEAD}  over TF-IDF (penalty 1)"
    )
    print(line("random", [chance(pair.prompts)], gain))
    print(line("prompt length", [length(pair.prompts)], gain))
    for name, scores in needs.items():
        print(line(name, scores, gain, None if scores is rival else rival))
    whole = np.array(["." not in _joined_digits(prompt) for prompt in pair.prompts])
    print(
        f"without the {int((~whole).sum())} prompts with decimals, "
        "where the grader often takes GPT-4's dollars and cents for a wrong answer:"
    )
    print(line("TF-IDF + ridge, penalty 1", [one[whole] for one in rival], gain[whole]))
    print(line("this router", [one[whole] for one in needs["this router"]], gain[whole]))


def _joined_digits(prompt: str) -> str:
    """Return the points of a prompt that stand between two digits."""
    around = zip(prompt, prompt[1:], prompt[2:], strict=False)
    return "".join(point for before, point, after in around if before.isdigit() and point == "." and after.isdigit())


def _only(many: ModelSet, kept: Array) -> ModelSet:
    prompts = [prompt for prompt, keep in zip(many.prompts, kept, strict=True) if keep]
    return ModelSet(prompts, many.tasks[kept], many.models, many.scores[kept], many.prices)


def _gains(many: ModelSet, table: Array) -> dict[tuple[str, str], Array]:
    """Return the difference of two columns of a table of models, for each pair."""
    return {pair: table[:, many.models.index(pair[1])] - table[:, many.models.index(pair[0])] for pair in PAIRS}


def _tfidf(many: ModelSet, *, by_group: bool) -> Array:
    """Return the qualities predicted by the baseline on the same folds."""
    prompts = np.array(many.prompts, object)
    table = np.zeros(many.scores.shape)
    for train, test in folds(many.tasks, by_group=by_group):
        table[test] = tfidf_ridge(prompts[train], many.scores[train], prompts[test], 1.0)
    return table


def llmrouter(many: ModelSet, rows: Array) -> None:
    """Print the LLMRouter pairs and all nine models, on unseen rows and on unseen tasks."""
    for by_group in (False, True):
        told, prior, predicted = by_fold(rows, many, by_group=by_group)
        rival = _tfidf(many, by_group=by_group)
        kind = "each task predicted by models that never saw it" if by_group else "five folds by row"
        told_gains, rival_gains, gains = _gains(many, told), _gains(many, rival), _gains(many, many.scores)
        for pair in PAIRS:
            gain = gains[pair]
            print(f"\nLLMRouter, {pair[0]} or {pair[1]} (gap {gain.mean():.3f}), {kind}\n{HEAD}  over TF-IDF")
            print(line("random", [chance(many.prompts)], gain))
            print(line("prompt length", [length(many.prompts)], gain))
            print(line("TF-IDF + ridge", [rival_gains[pair]], gain))
            print(line("prior alone", [prior], gain, [rival_gains[pair]]))
            print(line("this router", [told_gains[pair]], gain, [rival_gains[pair]]))
            if by_group:
                _over_length(told_gains[pair], many, gain)
        print(f"\nNine models at equal spend ($ a million tokens, as many tokens for each model), {kind}")
        ruled = with_records(predicted, many, by_group=by_group)
        reward_table({"TF-IDF + ridge": rival, "this router": predicted, "with records": ruled}, many)
        print("What the dial keeps of the best model's quality (nine models):")
        dial_table(predicted, many)


def half_of_the_tasks(many: ModelSet, rows: Array) -> None:
    """Print pairs and nine models where seven tasks train and the other seven test: five draws, both ways round."""
    kinds = sorted(set(many.tasks))
    prompts = np.array(many.prompts, object)
    gains = _gains(many, many.scores)
    areas: dict[str, dict[tuple[str, str], list[tuple[float, float]]]] = {}
    halves = []
    for draw in range(5):
        first = np.isin(many.tasks, np.random.default_rng(draw).choice(kinds, len(kinds) // 2, replace=False))
        for test in (first, ~first):
            known, strange = _only(many, ~test), _only(many, test)
            model = fit(rows[~test], known.scores, known.tasks, QUALITY_TREES, many.is_large)
            told = _gains(many, model.gains(rows[test]))
            rival = _gains(many, tfidf_ridge(prompts[~test], known.scores, prompts[test], 1.0))
            prior, long = model.prior(rows[test]), length(prompts[test])
            for pair in PAIRS:
                routers = {"prompt length": long, "TF-IDF + ridge": rival[pair], "prior alone": prior}
                for name, need in (routers | {"this router": told[pair]}).items():
                    areas.setdefault(name, {}).setdefault(pair, []).append(area(need, gains[pair][test]))
            means = cautious_means(known.scores, known.tasks)
            halves.append((predictions(model, rows[test], means), known, strange))
    print("\nLLMRouter, half of the tasks train and the other half test: APGR over ten halves (sum of areas / of gaps)")
    print(f"{'router':<24}" + "".join(f"{low[:11]}>{high[-12:]:<14}" for low, high in PAIRS))
    for name, pairs in areas.items():
        ratios = [_ratio(np.array(drawn)) for drawn in pairs.values()]
        print(f"{name:<24}" + "".join(f"{ratio:<26.3f}" for ratio in ratios) + f"mean {np.mean(ratios):.3f}")
    print(f"{'  over prompt length':<24}", end="")
    for pair in PAIRS:
        own, other = np.array(areas["this router"][pair]), np.array(areas["prompt length"][pair])
        low, high = interval(partial(_above, own, other), len(own))
        print(f"{f'{_above(own, other):+.3f} [{low:+.3f}, {high:+.3f}]':<26}", end="")
    print("(halves drawn anew)")
    halves_table(halves)


def _above(own: Array, other: Array, times: Array | float = 1.0) -> float:
    """Return by how much one router's APGR over several tests is above another's."""
    return _ratio(own, times) - _ratio(other, times)


def _ratio(areas: Array, times: Array | float = 1.0) -> float:
    """Return the APGR of several tests at once, each counted so often."""
    collected, whole = (areas.T * times).sum(axis=1)
    return float(collected / whole)


def out_of_distribution(many: ModelSet, many_rows: Array, pair: PairSet, rows: Array) -> None:
    """Print training on one set and testing on the other, both ways, against prompt length."""
    gain = pair.strong - pair.weak
    prompts = np.array(many.prompts, object)
    foreign = ~np.isin(many.tasks, ["gsm8k", "agentverse-mgsm"])
    asked = {same_question(prompt) for prompt in pair.prompts}
    unasked = np.array([same_question(prompt) not in asked for prompt in many.prompts])
    target = learned_gain(many)
    for title, kept in (
        ("without its school mathematics", foreign),
        ("whole, without GSM8K's own questions", unasked),
    ):
        print(f"\nTrained on LLMRouter ({title}), tested on GSM8K\n{HEAD}  over prompt length")
        model = fit(many_rows[kept], target[kept], many.tasks[kept])
        routers = {
            "TF-IDF + ridge": tfidf_ridge(prompts[kept], target[kept], pair.prompts, 1.0),
            "prior alone": model.prior(rows),
            "this router": model.need(rows),
        }
        long = length(pair.prompts)
        print(line("prompt length", [long], gain))
        for name, need in routers.items():
            print(line(name, [need], gain, [long]))
    model = fit(rows, gain, np.full(len(rows), "gsm8k"))
    baseline = tfidf_ridge(pair.prompts, gain, many.prompts, 1.0)
    long = length(many.prompts)
    for names, many_gain in _gains(many, many.scores).items():
        print(f"\nTrained on GSM8K, tested on LLMRouter, {names[0]} or {names[1]}\n{HEAD}  over prompt length")
        print(line("prompt length", [long], many_gain))
        routers = {
            "TF-IDF + ridge": baseline,
            "prior alone": model.prior(many_rows),
            "this router": model.need(many_rows),
        }
        for name, need in routers.items():
            print(line(name, [need], many_gain, [long]))
        _over_length(routers["this router"], many, many_gain)
    _every_pair(model.need(many_rows), many)


def _every_pair(need: Array, many: ModelSet) -> None:
    """Print the lead over prompt length on all pairs whose dearer model is the better one, so that none is picked.

    `need` knows no pair, so one order of the prompts is scored on all of them.
    """
    long = length(many.prompts)
    print("\nTrained on GSM8K, tested on every pair of LLMRouter whose dearer model is better: over prompt length")
    gains = []
    for weak, low_price in zip(many.models, many.prices, strict=True):
        for strong, high_price in zip(many.models, many.prices, strict=True):
            low, high = many.gain(weak, strong)
            if high_price > low_price and high.mean() > low.mean():
                gains.append(high - low)
                print(f"{weak} > {strong:<34} gap {gains[-1].mean():.3f}  {difference([need], [long], gains[-1])}")
    together = np.mean(gains, axis=0)
    print(line(f"prompt length, all {len(gains)} pairs together", [long], together))
    print(line("this router", [need], together, [long]))
    _over_length(need, many, together)


def _over_length(need: Array, many: ModelSet, gain: Array) -> None:
    """Print a router's lead over prompt length, with intervals over prompts and over tasks."""
    long = length(many.prompts)
    by_prompt, by_task = (difference([need], [long], gain, drawn) for drawn in (None, many.tasks))
    print(f"  over prompt length {by_prompt}; with tasks drawn anew {by_task.partition(' ')[2]}")


def promises(many: ModelSet, many_rows: Array, pair: PairSet, rows: Array) -> None:
    """Print asked and kept quality on unseen rows and on unseen tasks."""
    every = np.concatenate([many_rows, rows])
    groups = np.concatenate([many.tasks, np.full(len(rows), "routellm")])
    blank, empty = np.full(len(rows), np.nan), np.full(len(many_rows), np.nan)
    pairs = {}
    for weak, strong in PAIRS[:3]:
        low, high = many.gain(weak, strong)
        pairs[f"{weak} > {strong[-12:]}"] = (np.concatenate([low, blank]), np.concatenate([high, blank]))
    print("\nQuality asked and kept, half of the rows unseen")
    mixed = pairs | {"Mixtral-8x7B > GPT-4": (np.concatenate([empty, pair.weak]), np.concatenate([empty, pair.strong]))}
    promise_table(every, mixed, groups, by_group=False)
    print("\nQuality asked and kept, half of the tasks unseen")
    count = len(many_rows)
    promise_table(
        many_rows,
        {name: (low[:count], high[:count]) for name, (low, high) in pairs.items()},
        many.tasks,
        by_group=True,
    )


def price_of_an_estimate(many: ModelSet) -> None:
    """Print CPU time at a prompt of 4 KB, load time and package bytes."""
    text = " ".join(prompt for prompt in many.prompts if len(prompt) > 1_000)[:4_096]
    loads = []
    for _ in range(5):
        complexity_model.shipped_model.cache_clear()
        loads.append(_cpu(complexity_model.shipped_model, 1))
    print("\nPrice of an estimate (CPU, this machine, one thread)")
    for name, prompt in (
        ("4 KB prompt", text),
        ("1 MB prompt", text * 256),
        ("short question", "Who wrote Faust?"),
    ):
        timed = sorted(_cpu(partial(estimate_complexity, prompt), 50) for _ in range(20))
        print(
            f"{name:<16} median {1e6 * statistics.median(timed):6.0f} us, "
            f"slowest of 20 rounds {1e6 * timed[-1]:6.0f} us"
        )
    code = sum(path.stat().st_size for path in Path("layers/tollgate/tollgate/domain/choice").glob("complexity*.py"))
    print(
        f"load {1e3 * statistics.median(loads):.1f} ms; "
        f"model file {MODEL_FILE.stat().st_size:,} bytes, code {code:,} bytes"
    )


def _cpu(work: Callable[[], object], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def main() -> None:
    """Run every table."""
    folder = data_folder()
    many, pair = load_llmrouter(folder), load_gsm8k(folder)
    many_rows, rows = measured(many.prompts), measured(pair.prompts)
    print("APGR, CPT: RouteLLM's metrics (arXiv 2406.18665). CPT in % of calls to the strong model, lower is better.")
    gsm8k(many, many_rows, pair, rows)
    llmrouter(many, many_rows)
    half_of_the_tasks(many, many_rows)
    out_of_distribution(many, many_rows, pair, rows)
    promises(many, many_rows, pair, rows)
    records_table(many, PAIRS)
    price_of_an_estimate(many)


if __name__ == "__main__":
    main()
