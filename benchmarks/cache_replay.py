"""What the cache would have saved on real arrival times: hit rate, dollars avoided, staleness served.

Data: `traffic/servegen_tenants.csv.gz` (arrivals of five tenants over 14 days) and `cache/banking77_train.csv.gz`
(questions) in the folder `TOLLGATE_DATA` (default `../shared/data`); without them it says so and stops. Which question
a request asks is drawn by Zipf's law, rank by rank, with the given exponent; every tenant has a ranking of its own.
That repetition is an assumption: of whole requests in real chats about one in a hundred repeats.

The same policy objects decide as in the gateway, and for near matches the same index, rules and word vectors; a run
takes no time here, so what coalescing saves comes on top. `near` comes after an exact miss; 2 % of near hits are run
again. "Other intent" is the share of near hits that gave the answer to a question of another of the 77 intents: a proxy
for wrong hits, too low for questions of one intent with other facts, too high for intents that have the same answer.

    make bench-cache
"""

import argparse
import csv
import gzip
import os
import random
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import accumulate
from pathlib import Path

from gateway_bill import REGION, price_book

from tests.fakes.near_index import NearIndex
from tollgate.adapters.texts.word_vectors import likeness
from tollgate.domain.cache.control import NO_WISHES
from tollgate.domain.cache.entry import CachedAnswer, CacheOutcome, usable
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.costs.pricing import instance_cost
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import seconds
from tollgate.domain.near.guard import ladder_of
from tollgate.domain.near.match import verify_match
from tollgate.domain.near.policy import NearPolicy, Strictness
from tollgate.domain.near.reading import read

# The example catalogue's chat model: its instance, places and timings.
_INSTANCE, _PLACES = "ml.g5.xlarge", 4
_BASE, _PER_INPUT, _PER_OUTPUT = 0.1, 0.0005, 0.01
_LONGEST = 28.0

_BUCKET, _COMPARED = 512, 24
"""Of the search for near matches. The gateway compares fewer, of those that one tenant has asked within the time."""


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
    near: int = 0
    other_intent: int = 0
    reruns: int = 0


class NearSearch:
    """Which questions are answered by which others: found once, with the gateway's index, rules and word vectors.

    The index is as large as all questions need, so that what is found does not depend on the order of requests.
    """

    def __init__(self, questions: Mapping[str, str]) -> None:
        self.intents = questions
        alike = likeness()
        assert alike is not None  # noqa: S101 -- the repository has the vectors
        index = NearIndex(capacity=_BUCKET)
        readings = {question: read(question) for question in questions}
        for question, reading in readings.items():
            index.add("", reading, question, expires_at=2, now=1)
        loosest = ladder_of(NearPolicy(Strictness.LOOSE))[0]
        self._partners: dict[str, list[tuple[float, str]]] = {}
        for question, reading in readings.items():
            scored = []
            for entry in index.candidates("", reading, now=1, limit=_COMPARED):
                other = entry.entry_id
                likely = partial(alike, question, other)
                verdict = verify_match(reading, readings[other], cosine=likely, threshold=loosest)
                if verdict.accepted and other != question:
                    scored.append((verdict.score, other))
            self._partners[question] = sorted(scored, reverse=True)

    def find(
        self, question: str, kept: Callable[[str], CachedAnswer | None], policy: NearPolicy, now_ms: int
    ) -> str | None:
        """The question whose fresh answer is given to this one."""
        threshold = ladder_of(policy)[0]
        for score, other in self._partners[question]:
            answer = kept(other) if score >= threshold else None
            if answer is not None and now_ms < answer.fresh_ms:
                return other
        return None


def load(data: Path, most: int) -> tuple[list[Request], dict[str, str]]:
    """The arrivals, and the questions with their intents."""
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
        questions = {row["text"]: row["category"] for row in csv.DictReader(file)}
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
    requests: Sequence[Request],
    asked: Sequence[tuple[str, str]],
    policy: CachePolicy,
    usd_per_hour: Decimal,
    search: NearSearch,
) -> Tally:
    """Every request against what is kept."""
    kept: dict[tuple[str, str], CachedAnswer] = {}
    tally = Tally()
    chance = random.Random(11)  # noqa: S311 -- a repeatable draw, no secret
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
        match = None
        if outcome is None and policy.near is not None:
            tenant, question = key
            match = search.find(question, lambda other, tenant=tenant: kept.get((tenant, other)), policy.near, now)  # type: ignore[misc]  # bound early
        if match is not None and policy.near is not None:
            tally.near += 1
            tally.avoided += worth
            tally.other_intent += search.intents[match] != search.intents[key[1]]
            age = now - kept[key[0], match].made_ms
            tally.age_ms += age
            tally.oldest_ms = max(tally.oldest_ms, age)
            if chance.random() >= policy.near.sample:
                continue
            tally.reruns += 1
            tally.avoided -= worth
        tally.spent += worth
        tally.runs += outcome is None and match is None
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
        f"{'Zipf':>5} {'policy':26} {'hit %':>6} {'near %':>7} {'stale %':>8} {'runs':>9} "
        f"{'avoided $':>10} {'of $':>8} {'age s':>16} {'other intent':>13}"
    )
    listed = price_book().instance_hour(REGION, _INSTANCE)
    assert listed is not None  # noqa: S101 -- the repository's price book has it
    base = CachePolicy()
    policies = {
        "5 min": replace(base, ttl_seconds=300),
        "10 min": base,
        "15 min": replace(base, ttl_seconds=900),
        "10 min + 10 min stale": replace(base, stale_seconds=600),
        "10 min, near strict": replace(base, near=NearPolicy(Strictness.STRICT)),
        "10 min, near balanced": replace(base, near=NearPolicy(Strictness.BALANCED)),
        "10 min, near loose": replace(base, near=NearPolicy(Strictness.LOOSE)),
    }
    search = NearSearch(questions)
    for exponent in (0.7, 1.0):
        asked = draws(requests, list(questions), exponent)
        for name, policy in policies.items():
            tally = replay(requests, asked, policy, listed.usd, search)
            given = tally.hits + tally.stale + tally.near
            other = f"{100 * tally.other_intent / tally.near:.1f} %" if tally.near else ""
            mean = tally.age_ms / 1000 / given if given else 0.0
            print(
                f"{exponent:>5} {name:26} {100 * tally.hits / len(requests):6.1f} "
                f"{100 * tally.near / len(requests):7.2f} {100 * tally.stale / len(requests):8.1f} "
                f"{tally.runs + tally.refreshes + tally.reruns:>9,} "
                f"{tally.avoided:10.2f} {tally.avoided + tally.spent:8.2f} "
                f"{f'{mean:.0f} (most {tally.oldest_ms / 1000:.0f})':>16} {other:>13}"
            )


if __name__ == "__main__":
    main()
