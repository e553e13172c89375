"""What the cache would have saved on real arrival times: hit rate, dollars avoided, staleness served.

Data: `traffic/servegen_tenants.csv.gz` (arrivals of five tenants over 14 days) and `cache/banking77_train.csv.gz`
(questions) in the folder `TOLLGATE_DATA` (default `../shared/data`); without them it says so and stops. Which question
a request asks is drawn by Zipf's law, rank by rank, with the given exponent; every tenant has a ranking of its own.
That repetition is an assumption: of whole requests in real chats about one in a hundred repeats.

Exact matches only. The same policy objects decide as in the gateway; a run takes no time here, so what coalescing
saves comes on top.

    make bench-cache-replay
"""

import argparse
import csv
import gzip
import os
import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import accumulate
from pathlib import Path

from gateway_bill import REGION, price_book

from tollgate.domain.cache_control import NO_WISHES
from tollgate.domain.cache_entry import CachedAnswer, CacheOutcome, usable
from tollgate.domain.cache_policy import CachePolicy
from tollgate.domain.jobs import Usage
from tollgate.domain.money import seconds
from tollgate.domain.pricing import instance_cost

# The example catalogue's chat model: its instance, places and timings.
_INSTANCE, _PLACES = "ml.g5.xlarge", 4
_BASE, _PER_INPUT, _PER_OUTPUT = 0.1, 0.0005, 0.01
_LONGEST = 28.0


@dataclass(frozen=True, slots=True)
class Request:
    """One arrival; `seconds` is what its run would hold a place for."""

    tenant: str
    at_ms: int
    seconds: float


@dataclass(slots=True)
class Tally:
    """What came of a replay."""

    hits: int = 0
    stale: int = 0
    runs: int = 0
    refreshes: int = 0
    avoided: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    oldest_ms: int = 0
    age_ms: int = 0


def load(data: Path, most: int) -> tuple[list[Request], list[str]]:
    """The arrivals and the questions."""
    with gzip.open(data / "traffic" / "servegen_tenants.csv.gz", "rt", encoding="utf-8") as file:
        requests = [
            Request(
                row["tenant"],
                int(float(row["t_s"]) * 1000),
                min(_LONGEST, _BASE + _PER_INPUT * int(row["input_tokens"]) + _PER_OUTPUT * int(row["output_tokens"])),
            )
            for row in csv.DictReader(file)
        ]
    with gzip.open(data / "cache" / "banking77_train.csv.gz", "rt", encoding="utf-8") as file:
        questions = list(dict.fromkeys(row["text"] for row in csv.DictReader(file)))
    requests.sort(key=lambda request: request.at_ms)
    return requests[: most or None], questions


def draws(requests: Sequence[Request], questions: Sequence[str], exponent: float) -> list[tuple[str, str]]:
    """For each request the tenant and the question that it asks."""
    chance = random.Random(7)  # noqa: S311 -- a repeatable draw, no secret
    weights = list(accumulate(1 / rank**exponent for rank in range(1, len(questions) + 1)))
    rankings: dict[str, list[str]] = {}
    found = []
    for request in requests:
        if request.tenant not in rankings:
            rankings[request.tenant] = chance.sample(questions, len(questions))
        rank = bisect(weights, chance.random() * weights[-1])
        found.append((request.tenant, rankings[request.tenant][min(rank, len(questions) - 1)]))
    return found


def replay(
    requests: Sequence[Request], asked: Sequence[tuple[str, str]], policy: CachePolicy, usd_per_hour: Decimal
) -> Tally:
    """Every request against what is kept."""
    kept: dict[tuple[str, str], CachedAnswer] = {}
    tally = Tally()
    for request, key in zip(requests, asked, strict=True):
        worth = instance_cost(seconds(request.seconds), usd_per_hour, _PLACES)
        now, answer = request.at_ms, kept.get(key)
        outcome = None if answer is None else usable(answer, NO_WISHES, policy, now)
        if answer is not None and outcome is not None:
            # A refresh costs what the run would have; only the wait was avoided.
            tally.avoided += worth if outcome is CacheOutcome.HIT else 0
            tally.hits += outcome is CacheOutcome.HIT
            tally.stale += outcome is CacheOutcome.STALE
            tally.age_ms += now - answer.made_ms
            tally.oldest_ms = max(tally.oldest_ms, now - answer.made_ms)
        if outcome is CacheOutcome.HIT:
            continue
        tally.spent += worth
        tally.runs += outcome is None
        tally.refreshes += outcome is CacheOutcome.STALE
        fresh = now + policy.ttl_seconds * 1000
        kept[key] = CachedAnswer("", Usage(), "", worth, now, now, fresh, fresh + policy.stale_seconds * 1000)
    return tally


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=0, help="the first so many; 0 for all")
    arguments = parser.parse_args()
    data = Path(os.environ.get("TOLLGATE_DATA", "../shared/data"))
    if not (data / "traffic" / "servegen_tenants.csv.gz").is_file():
        print(f"skipped: no arrivals in {data}; set TOLLGATE_DATA")
        return
    requests, questions = load(data, arguments.requests)
    print(f"{len(requests):,} requests of {len({r.tenant for r in requests})} tenants, {len(questions):,} questions")
    print(
        f"{'Zipf':>5} {'policy':26} {'hit %':>6} {'stale %':>8} {'runs':>9} {'avoided $':>10} {'of $':>8} {'age s':>16}"
    )
    listed = price_book().instance_hour(REGION, _INSTANCE)
    assert listed is not None  # noqa: S101 -- the repository's price book has it
    base = CachePolicy()
    policies = {
        "5 min": replace(base, ttl_seconds=300),
        "10 min": base,
        "15 min": replace(base, ttl_seconds=900),
        "10 min + 10 min stale": replace(base, stale_seconds=600),
    }
    for exponent in (0.7, 1.0):
        asked = draws(requests, questions, exponent)
        for name, policy in policies.items():
            tally = replay(requests, asked, policy, listed.usd)
            given = tally.hits + tally.stale
            mean = tally.age_ms / 1000 / given if given else 0.0
            print(
                f"{exponent:>5} {name:26} {100 * tally.hits / len(requests):6.1f} "
                f"{100 * tally.stale / len(requests):8.1f} {tally.runs + tally.refreshes:>9,} "
                f"{tally.avoided:10.2f} {tally.avoided + tally.spent:8.2f} "
                f"{f'{mean:.0f} (most {tally.oldest_ms / 1000:.0f})':>16}"
            )


if __name__ == "__main__":
    main()
