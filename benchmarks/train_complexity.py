"""Train the complexity model that ships: `python benchmarks/train_complexity.py` from the repository's root.

Reads the open data in TOLLGATE_DATA, writes `layers/tollgate/tollgate/data/complexity.bin` and checks that
the package's own pure-Python code gives the same answers as the library that trained it. Deterministic.
"""

import sys
from pathlib import Path

import numpy as np
from complexity_shipping import OTHER_PAIRS, merge, rank_table, recovered_curve, unseen_needs
from complexity_training import QUALITY_TREES, cautious_means, encode, fit, measured
from routing_data import data_folder, load_gsm8k, load_llmrouter
from routing_metrics import apgr

from tollgate.domain.choice.complexity_features import measure
from tollgate.domain.choice.complexity_model import decode

TARGET = Path("layers/tollgate/tollgate/data/complexity.bin")
LARGEST_DIFFERENCE = 2e-3


def main() -> int:
    """Train, write and check; return the exit status."""
    folder = data_folder()
    many, pair = load_llmrouter(folder), load_gsm8k(folder)
    many_rows, pair_rows = measured(many.prompts), measured(pair.prompts)
    merged = merge(many, many_rows, pair, pair_rows)
    need = fit(merged.rows, merged.target, merged.groups)
    quality = fit(many_rows, many.scores, many.tasks, QUALITY_TREES, many.is_large)
    by_row = unseen_needs(merged.rows, merged.target, merged.groups, by_group=False)
    by_task = unseen_needs(merged.rows, merged.target, merged.groups, by_group=True)
    ranks = rank_table(by_row, merged.groups)
    recovered = np.minimum(
        recovered_curve(by_row, merged.gains, ranks),
        recovered_curve(by_task, merged.gains, rank_table(by_task, merged.groups)),
    )
    cautious = cautious_means(many.scores, many.tasks)
    raw = encode(need, quality, many.models, cautious=cautious, ranks=ranks, recovered=recovered)
    TARGET.write_bytes(raw)

    names = ("8B > 51B", *(f"{weak} > {strong}" for weak, strong in OTHER_PAIRS), "Mixtral > GPT-4")
    for name, gain in zip(names, merged.gains.T, strict=True):
        has = ~np.isnan(gain)
        apgrs = (apgr(needs[has], gain[has]) for needs in (by_row, by_task))
        print(f"APGR of {name} on unseen rows and unseen tasks:", *(f"{value:.3f}" for value in apgrs))
    model = decode(raw)
    sample = range(0, len(many.prompts), 11)
    rows = many_rows[sample]
    told = np.array([model.need_of(measure(many.prompts[place]))[0] for place in sample])
    needed = np.abs(told - need.need(rows)).max()
    spoken = np.array([model.quality.corrections(list(row)) for row in rows])
    qualities = np.abs(spoken - (quality.trees.predict(rows) - quality.means)).max()
    leaned = [[model.leaning(model.standardise(list(row)), at) for at in range(len(many.models))] for row in rows]
    # A feature may be held at four deviations of one set of prompts and not of the other.
    leanings = np.median(np.abs(np.array(leaned) - quality.leaning(rows)).max(axis=1))
    print(f"{len(merged.rows)} prompts, {len(raw):,} bytes")
    print("gap recovered at thresholds 0.1 ... 0.9:", *(f"{recovered[step]:.2f}" for step in range(10, 100, 10)))
    print(f"largest difference to the training library: need {needed:.5f}, quality {qualities:.5f}")
    print(f"half of the prompts within {leanings:.5f} of the leanings as fitted")
    return int(max(needed, qualities, leanings) > LARGEST_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
