"""What a cache hit costs between event and answer: CPU in the process, without Lambda's runtime client.

The gateway's own handler, in a loop in this process, beside the table read alone in the same rounds. "With the read"
counts everything that the read takes: its signature, HTTP and awscrt's thread. "Without" is given the same answer by
the transport at once, so what is left is Tollgate's own work. A loop keeps code and data in the processor's caches,
which a function that rests between two events does not have: `gateway.py --warm` shows that side. Goal: 0.4 ms, one
read, no write.

    python benchmarks/hit_path.py
"""

import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from fixed_aws import fixed_aws
from gateway import FUNCTIONS, answers, environment, hit_event

from tollgate.adapters.aws.call import AwsCall
from tollgate.adapters.aws.http import HttpResponse
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient

ROUNDS, CALLS = 60, 50


class Network:
    """Counts a transport's calls, and answers them itself once it may, as the network has answered before."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.at_hand = False
        self._answers: dict[tuple[str, bytes], HttpResponse] = {}
        self._send = AwsTransport.send

    def send(self, transport: AwsTransport, call: AwsCall) -> HttpResponse:
        """Stands in for `AwsTransport.send`."""
        self.made[call.operation] += 1
        if self.at_hand and (known := self._answers.get((call.operation, call.body))):
            return known
        answer = self._answers[call.operation, call.body] = self._send(transport, call)
        return answer


def loaded_handler(url: str) -> Callable[[dict[str, Any], object], dict[str, Any]]:
    """The gateway's handler, as it is after start-up."""
    os.environ.update(environment(url) | {"AWS_LAMBDA_FUNCTION_NAME": "bench"})
    sys.path.insert(0, str(FUNCTIONS / "gateway"))
    import app  # type: ignore[import-not-found] # noqa: PLC0415 -- a function's module, found by the line above

    handler: Callable[[dict[str, Any], object], dict[str, Any]] = app.lambda_handler
    return handler


def milliseconds(call: Callable[[Any], object], given: list[Any]) -> float:
    """CPU of one call, of all threads."""
    started = time.process_time()
    for one in given:
        call(one)
    return (time.process_time() - started) / len(given) * 1e3


def main() -> None:
    """Print the table."""
    network, text = Network(), json.dumps(hit_event())
    took: dict[str, list[float]] = {}
    with fixed_aws(answers()) as url, Path(os.devnull).open("w", encoding="utf-8") as log, redirect_stdout(log):
        handler = loaded_handler(url)

        def send(self: AwsTransport, call: AwsCall) -> HttpResponse:
            return network.send(self, call)

        AwsTransport.send = send  # type: ignore[method-assign]
        table = DynamoDBClient(AwsTransport(TransportConfig.from_mapping(os.environ)))

        def request(event: dict[str, Any]) -> None:
            answer = handler(event, None)
            if answer["headers"].get("x-tollgate-cache") != "hit":
                raise SystemExit(f"no hit: {answer}")

        for _ in range(3):
            milliseconds(request, [json.loads(text) for _ in range(CALLS)])
        network.made.clear()
        for _ in range(ROUNDS):
            for name, at_hand in (("with the read", False), ("without", True)):
                network.at_hand = at_hand
                events = [json.loads(text) for _ in range(CALLS)]
                took.setdefault(name, []).append(milliseconds(request, events))
            network.at_hand = False
            made = network.made.copy()
            keys = [{"cache_key": "answer#x"}] * CALLS
            took.setdefault("the read alone", []).append(milliseconds(lambda key: table.get_item("cache", key), keys))
            network.made = made
    print(f"a cache hit, from event to answer; {ROUNDS} rounds of {CALLS}, CPU in ms, median (least)")
    for name, rounds in took.items():
        print(f"{name:16} {statistics.median(rounds):.2f} ({min(rounds):.2f})")
    calls = ", ".join(f"{operation} {number / ROUNDS / CALLS / 2:.3f}" for operation, number in network.made.items())
    print(f"calls to AWS for one hit: {calls}")


if __name__ == "__main__":
    main()
