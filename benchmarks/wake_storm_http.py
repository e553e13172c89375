"""The storm on the deployed stack: over HTTP, through API Gateway, the functions, queues and tables as deployed.

The stack is one of its own, on the local emulator. The endpoint falls asleep for want of invocations, is then wanted by
everybody at once, and starts within two seconds where a real one takes minutes. Some callers wait for their answer with
`Prefer: wait`. The emulator runs every function on this machine, a process for each request at a time: its seconds say
nothing of AWS, its counts do.
"""

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from local.launch.layout import aws_environment
from tests.integration.capacity.nappers import START_SECONDS, Bedroom, Napper, until
from tests.integration.gateway.conftest import FINAL, Client, Reply
from tests.local_stack import running_stack
from tollgate.domain.sleeping import Phase

_SLEEPER = Napper("storm")
_WAITERS = 8
_PATIENCE_SECONDS = 280.0


def storm_over_http(requests: int, clients: int) -> None:
    """Run the storm on a stack of its own and print what came of it."""
    with running_stack() as stack:
        os.environ.update(aws_environment(stack.layout))
        bedroom = Bedroom(stack, (_SLEEPER,))
        bedroom.furnish()
        try:
            bedroom.idle_since_an_hour(bedroom.nappers)
            bedroom.apply_catalogue()
            _storm(bedroom, Client(stack, stack.key), requests, clients)
        finally:
            bedroom.clear()


def _storm(bedroom: Bedroom, client: Client, requests: int, clients: int) -> None:
    # The emulator starts a process for each request at a time, slowly: they are there before the storm.
    with bedroom.looked_at_often(), ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda _: client.send("GET", "/v1/models"), range(2 * clients)))
        until(lambda: bedroom.phases()[_SLEEPER.name] is Phase.ASLEEP, _PATIENCE_SECONDS)
    made = bedroom.ordered(_SLEEPER)["CreateEndpoint"]

    def ask(number: int) -> tuple[float, Reply]:
        wish = {"Prefer": "wait=26"} if number < _WAITERS else {}
        began = time.perf_counter()
        reply = client.infer(_SLEEPER.name, f"hello {number}", headers=wish)
        return time.perf_counter() - began, reply

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        replies = list(pool.map(ask, range(requests)))
    storm = time.perf_counter() - began
    jobs = _ended(client, [reply.body["id"] for _, reply in replies if reply.status == 202])
    total = time.perf_counter() - began
    statuses = Counter(reply.status for _, reply in replies[_WAITERS:])
    waited = Counter(reply.status for _, reply in replies[:_WAITERS])
    seconds = sorted(took for took, reply in replies[_WAITERS:] if reply.status == 202)
    print(f"{requests} requests from {clients} clients over HTTP in {storm:.1f} s: {_words(statuses)}")
    print(f"{_WAITERS} of them with Prefer: wait=26: {_words(waited)}")
    if seconds:
        last = seconds[int(len(seconds) * 0.99)]
        print(f"accepted in p50 {statistics.median(seconds) * 1000:.0f} ms, p99 {last * 1000:.0f} ms")
    woken = bedroom.ordered(_SLEEPER)["CreateEndpoint"] - made
    print(f"CreateEndpoint {woken} times; jobs ended: {_words(jobs)}")
    print(f"all answered {total:.1f} s after the first request, of which the endpoint's start {START_SECONDS} s")
    [row] = [r for r in json.loads(bedroom.tollgate("endpoints", "--json")) if r["place"] == _SLEEPER.place.key]
    for line in row["history"]:
        print(f"  {line['at']}  {line['phase']:<14} {line['reason']}")


def _ended(client: Client, job_ids: Sequence[str]) -> Counter[str]:
    """States of the jobs once all are final, by how many there are."""
    states: dict[str, str] = {}
    end = time.monotonic() + _PATIENCE_SECONDS
    while missing := [job_id for job_id in job_ids if job_id not in states]:
        if time.monotonic() > end:
            break
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda job_id: client.job(job_id)["status"], missing)
            states |= {job_id: state for job_id, state in zip(missing, found, strict=True) if state in FINAL}
        time.sleep(1)
    return Counter(states.get(job_id, "open") for job_id in job_ids)


def _words(counts: Counter[int] | Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
