"""What the function costs that makes vectors of questions: its start, one question after another, and its memory.

It runs under Lambda's own runtime client with the packages of the stand-in, which are those of its layer.

    python benchmarks/sentences.py
"""

import json
import statistics

from lambda_host import ROOT, measure

LAYER = ROOT / ".venv" / "standin" / "lib" / "python3.13" / "site-packages"
ROUNDS = 3


def main() -> None:
    """Print one line."""
    if not (LAYER / "onnxruntime").is_dir():
        print("skipped: the sentence model is not installed; see requirements/sentences.in")
        return
    event = json.loads((ROOT / "events" / "sentences" / "text.json").read_text("utf-8"))
    names = ("TABLE_JOBS", "TABLE_LEDGER", "TABLE_REGISTRY", "BUCKET")
    runs = [
        measure(
            "app.lambda_handler",
            ROOT / "functions" / "sentences",
            event,
            dict.fromkeys(names, "unused"),
            warm=200,
            layer=LAYER,
        )
        for _ in range(ROUNDS)
    ]
    assert not runs[0].failure, runs[0].failure  # noqa: S101 -- a measurement of failures would mislead
    start = [run.init + run.first for run in runs]
    print(
        f"function sentences, {ROUNDS} rounds, median (least): start and first question {statistics.median(start):.0f} "
        f"({min(start):.0f}) ms CPU; a question {statistics.median(run.warm for run in runs):.1f} "
        f"({min(run.warm for run in runs):.1f}) ms CPU, {statistics.median(run.latency for run in runs):.1f} "
        f"({min(run.latency for run in runs):.1f}) ms until answered; resident {runs[0].resident_mb:.0f} MB"
    )


if __name__ == "__main__":
    main()
