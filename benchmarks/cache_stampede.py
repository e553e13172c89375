"""Does a cold key, a dead leader or a failing table become a bill? Counts the inferences.

    make bench-cache

Environments are threads with a service of their own each, over one table in memory whose leases and fences a contract
test holds to DynamoDB's. The model takes a second; time is real. "Outage" replays requests of which nine in ten would
be hits, while a share of all calls of the table fails.
"""

import argparse
import threading
import zlib
from collections import Counter
from dataclasses import dataclass

from cache_environments import Environment, KilledError, Model, World

from tests.fakes.clock import ManualClock
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.errors import TollgateError


def stampede(callers: int, *, kills: int = 0) -> None:
    """Print what a cold key costs when so many ask at once."""
    world = World(CachePolicy(), Model(seconds=1.0, kills=kills))
    environments = [world.environment() for _ in range(callers)]
    outcomes: Counter[str] = Counter()
    start = threading.Barrier(callers)

    def call(number: int, environment: Environment) -> None:
        start.wait()
        try:
            found = environment.ask("the same question", f"req-{number}")
        except KilledError:
            outcomes["killed"] += 1
            return
        outcomes[type(found).__name__ if isinstance(found, TollgateError) else found.cache] += 1

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate(environments)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    what = f"{callers} at once on a cold key" + (", the leader killed" if kills else "")
    goal = "at most 2" if kills else "exactly 1"
    print(f"{what}: {world.model.calls} inferences (goal {goal}); {dict(outcomes)}")


@dataclass
class Failing:
    """Says which calls of the table fail: so many of a hundred, spread evenly and the same in every run."""

    percent: int
    calls: int = 0

    def __call__(self, _operation: str) -> bool:
        """Whether this call fails."""
        self.calls += 1
        return zlib.crc32(str(self.calls).encode()) % 100 < self.percent


def outage(percent: int, share: float, *, requests: int = 20_000, environments: int = 20) -> None:
    """Print errors and inferences while the table fails."""
    clock = ManualClock()
    # Real time would only wait here: the model answers at once, and a pause moves the clock.
    world = World(CachePolicy(uncached_share=share), Model(seconds=0.0), pause=clock.advance, clock=clock)
    pool = [world.environment() for _ in range(environments)]
    for number in range(100):
        pool[0].ask(f"common {number}", f"warm-{number}")
    for number in range(requests):
        _one(pool[number % environments], number)
    normal, world.model.calls = world.model.calls - 100, 0
    world.answers.fails = Failing(percent)
    outcomes: Counter[str] = Counter()
    for number in range(requests, 2 * requests):
        clock.advance(0.01)
        found = _one(pool[number % environments], number)
        outcomes[type(found).__name__ if isinstance(found, TollgateError) else found] += 1
    refused = outcomes["CacheDownError"]
    bound = normal + share * requests
    print(
        f"table fails {percent:>3} % of calls, share {share:.2f}: {world.model.calls:,} inferences for {requests:,} "
        f"requests ({normal:,} when healthy, bound {bound:,.0f}); refused with Retry-After "
        f"{100 * refused / requests:.1f} %; {dict(outcomes)}"
    )


def _one(environment: Environment, number: int) -> TollgateError | str:
    # One request in ten is new; the rest repeat a hundred common ones.
    text = f"new {number}" if number % 10 == 0 else f"common {number % 100}"
    found = environment.ask(text, f"req-{number}")
    return found if isinstance(found, TollgateError) else found.cache


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=500)
    parser.add_argument("--requests", type=int, default=20_000)
    arguments = parser.parse_args()
    stampede(arguments.callers)
    stampede(arguments.callers, kills=1)
    for percent in (50, 100):
        for share in (0.5, 0.1):
            outage(percent, share, requests=arguments.requests)


if __name__ == "__main__":
    main()
