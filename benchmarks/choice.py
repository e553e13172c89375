"""What choosing a size adds to a request: CPU of the real handler with a choice, less the same request without.

    make bench-choice

One model with two sizes stands in the catalogue three times: without a choice (weights decide), with thresholds of
complexity, and with a dial and predictions. The prompt is 4 KB of ordinary text. Rounds are interleaved, each in a
fresh process under Lambda's own runtime client. Goals: at most 1 ms more, and at most 3 MB more in the package.
"""

import argparse
import json
import statistics
from copy import replace
from typing import Any

from fixed_aws import fixed_aws
from gateway import FUNCTIONS, answers, environment, realtime_event
from gateway_bill import ARCHITECTURE, REGION, price_book
from lambda_host import ROOT, measure

from tollgate.adapters.documents.catalogue import catalogue_document
from tollgate.adapters.dynamodb.values import to_attributes
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Catalogue, Model, Tier
from tollgate.domain.choice.policy import ChoicePolicy

PROMPT_BYTES = 4_096
RESEMBLES = {Tier.SMALL: "llama-3.1-8b-instruct", Tier.LARGE: "llama-3.1-nemotron-51b-instruct"}
CHOICES = {"no choice": None, "by thresholds": ChoicePolicy(), "by prediction": ChoicePolicy(quality=0.95)}


def catalogue() -> Catalogue:
    """The example catalogue with its chat model in two sizes, once for each way to choose."""
    text = (ROOT / "models.toml").read_text("utf-8")
    found = read_catalogue(text, price_book(), region=REGION, architecture=ARCHITECTURE, version=1)
    plain = found.models["smollm2"]
    return replace(found, models={**found.models, **{name: sized(plain, name) for name in CHOICES}})


def sized(plain: Model, name: str) -> Model:
    """The model with a small and a large deployment, under another name."""
    known = CHOICES[name] is not None and name == "by prediction"
    deployments = tuple(
        replace(
            plain.deployments[0],
            model=name,
            name=tier.value,
            tier=tier,
            resembles=RESEMBLES[tier] if known else "",
        )
        for tier in RESEMBLES
    )
    return replace(plain, name=name, deployments=deployments, choice=CHOICES[name])


def prompt() -> str:
    """Ordinary text of 4 KB: one of the guides, in ASCII as most prompts are."""
    text = (ROOT / "docs" / "model-choice.md").read_text("utf-8")
    return text.encode("ascii", "ignore").decode("ascii")[:PROMPT_BYTES]


def event(model: str) -> dict[str, Any]:
    """A real-time request of that prompt to a model."""
    plain = realtime_event()
    return {**plain, "body": json.dumps(json.loads(plain["body"]) | {"model": model, "input": prompt()})}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=200)
    arguments = parser.parse_args()
    document = to_attributes({"document": json.dumps(catalogue_document(catalogue()))})
    stored = (b'"version#', json.dumps({"Item": document}).encode())
    used: dict[str, list[float]] = {name: [] for name in CHOICES}
    with fixed_aws((stored, *answers())) as url:
        for _ in range(arguments.rounds):
            for name, rounds in used.items():
                one = measure(
                    "app.lambda_handler",
                    FUNCTIONS / "gateway",
                    event(name),
                    environment(url),
                    warm=arguments.requests,
                )
                if one.failure:
                    raise SystemExit(f"{name} failed: {one.failure[:500]}")
                rounds.append(one.warm)
    print(f"one real-time request of 4 KB; {arguments.rounds} rounds of {arguments.requests}, CPU in ms")
    print(f"{'':16} {'median':>7} {'least':>7}   {'more, median':>12} {'least':>7} {'times':>6}")
    without = used["no choice"]
    for name, took in used.items():
        more = [one - other for one, other in zip(took, without, strict=True)]
        times = statistics.median(took) / statistics.median(without)
        print(
            f"{name:16} {statistics.median(took):7.2f} {min(took):7.2f}   "
            f"{statistics.median(more):12.2f} {min(took) - min(without):7.2f} {times:6.2f}"
        )
    size = (ROOT / "layers/tollgate/tollgate/data/complexity.bin").stat().st_size
    code = sum(path.stat().st_size for path in (ROOT / "layers/tollgate/tollgate/domain/choice").glob("complexity*.py"))
    print(f"in the package: {size:,} bytes of numbers, {code:,} bytes of code")


if __name__ == "__main__":
    main()
