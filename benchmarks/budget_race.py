"""A race for a budget: 200 requests at once on money for 50, against the tables and endpoints of a running local stack.

    make run DETACH=1 && make bench-budgets
    microburst --upstream http://127.0.0.1:4567 --port 9999         # version 0.10.0, a proxy that injects faults
    python benchmarks/budget_race.py --throttle http://127.0.0.1:9999

Every request has an execution environment of its own: a thread with the gateway function's whole service, its own AWS
connections and nothing shared with the others, which is how Lambda runs them. `--http` sends the requests through the
stack's front door and its functions instead; the emulator starts a process for each, so keep to a few dozen.

The model `race` has a fixed price of one cent, so how many requests a budget covers is known beforehand. The requests
start at the same moment; a reader looks at the counter all the while. When all have ended, requests go out one after
the other until one is refused: who is refused although the counter had room was refused wrongly. The catalogue is put
back afterwards. The budget is that of a team of its own, so a race can be repeated on the same stack.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from functions.gateway import app as gateway
from local.launch.layout import ROOT, Layout, aws_environment, project_environment
from local.launch.state import StackRecord
from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.domain.budgets import BudgetPeriod, ScopeKind
from tollgate.domain.capacity import Capacity
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import StorageError
from tollgate.domain.gateway_parts import gateway_rates
from tollgate.domain.ledger import Counter
from tollgate.domain.money import usd_text
from tollgate.domain.reserving import asks_for
from tollgate.domain.road_estimates import RequestSize, RoadEstimates

PRICE = "0.01"
MODEL = f"""
[models.race]
default_priority = "high"
fall_back_to_async = false
[models.race.deployments.main]
tier = "small"
dialect = "inputs"
instance_type = "ml.priced-by-ceiling.xlarge"
timing = {{ base_seconds = 0.01 }}
realtime = {{ endpoint = "tollgate-echo-realtime", concurrency = 16, ceiling_usd = "{PRICE}" }}
"""
BODY = json.dumps({"model": "race", "input": "on your marks", "priority": "high"})
MEMORY_GB = Decimal("0.25")

Send = Callable[[], int]
"""Sends one request; its status."""

_TIMEOUT_SECONDS = 280


@dataclass(frozen=True)
class Outcome:
    """One race.

    Attributes:
        statuses: of the simultaneous requests.
        most_spent, most_committed: the highest that the reader saw, with everything at the end.
        after: statuses of the requests that were sent one by one afterwards.
        wrongly_refused: requests of those that were refused although there was room.
    """

    statuses: Tally[int]
    limit: Decimal
    final: Counter
    most_spent: Decimal
    most_committed: Decimal
    looks: int
    seconds: float
    after: Tally[int]
    wrongly_refused: int


class Race:
    """A stack, and a team whose budget is raced for."""

    def __init__(self, layout: Layout, *, team: str, gateway_too: bool, http: bool, tables_url: str | None) -> None:
        record = StackRecord.read(layout.record_file)
        if record is None or not record.ready:
            raise SystemExit(f"No stack runs on port {layout.port}: make run DETACH=1 TOLLGATE_PORT={layout.port}")
        self._layout = layout
        self._outputs = record.outputs
        self._team = team
        self._gateway_too = gateway_too
        self._http = http
        self._environment = project_environment(layout)
        endpoint = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": layout.emulator_url}
        os.environ.update(aws_environment(layout))
        self._tables = DynamoDBClient(AwsTransport(TransportConfig.from_mapping(endpoint)))
        self.ledger = DynamoDBLedger(self._tables, self._outputs["LedgerTableName"])
        if tables_url is not None:
            os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = tables_url
        self._key = self._cli("keys", "create", "--tenant", "race", "--team", team, "--scopes", "infer,read").strip()

    def run(self, requests: int, covered: int) -> Outcome:
        """Race once on a budget that covers so many."""
        limit = self._apply(covered)
        name = f"{ScopeKind.TEAM}:race/{self._team}#{BudgetPeriod.TOTAL}#always"
        environments = [self._environment_of(number) for number in range(requests)]
        watch = _Watch(self.ledger, name)
        start = threading.Barrier(requests)
        began = time.monotonic()
        with watch, ThreadPoolExecutor(requests) as pool:
            statuses = Tally(pool.map(lambda send: self._together(send, start), environments))
        seconds = time.monotonic() - began
        after, wrongly = self._one_by_one(name, limit, environments)
        final = self._read(name)
        return Outcome(
            statuses=statuses,
            limit=limit,
            final=final,
            most_spent=max(watch.most_spent, final.spent),
            most_committed=max(watch.most_committed, final.committed),
            looks=watch.looks,
            seconds=seconds,
            after=after,
            wrongly_refused=wrongly,
        )

    def _one_by_one(self, name: str, limit: Decimal, environments: list[Send]) -> tuple[Tally[int], int]:
        after: Tally[int] = Tally()
        wrongly = 0
        for send in environments:
            before = self._read(name)
            status = send()
            after[status] += 1
            if status == 429:
                wrongly += before.spent + self._amount <= limit
                break
        return after, wrongly

    def _apply(self, covered: int) -> Decimal:
        """Declare the model and a budget of `covered` reservations, and wait until every function knows."""
        self._declare(Decimal(1))
        catalogue = RegistryCatalogue(self._tables, self._outputs["RegistryTableName"], time.monotonic).current()
        model = catalogue.model("race")
        estimates = RoadEstimates(
            RequestSize(len(BODY)), model, model.deployments[0], Capacity(), catalogue.gateway_prices
        )
        road = model.deployments[0].roads[InferenceType.REALTIME]
        self._amount = asks_for(
            next(iter(estimates)),
            road,
            model,
            gateway_rates(catalogue.gateway_prices),
            limit_seconds=27.5,
            memory_gb=MEMORY_GB,
            body_bytes=len(BODY),
        )[-1].amount
        limit = self._amount * covered
        self._declare(limit)
        if self._http:
            time.sleep(16)  # Functions keep a catalogue for 15 s.
        return limit

    def _declare(self, limit: Decimal) -> None:
        budgets = [f'[[budgets]]\nscope = "team:{self._team}"\nperiod = "total"\nlimit_usd = "{limit}"\n']
        if self._gateway_too:
            budgets.append(f'[[budgets]]\nscope = "model:race"\nperiod = "hour"\nlimit_usd = "{limit * 1000}"\n')
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write((ROOT / "models.toml").read_text() + MODEL + "".join(budgets))
            file.flush()
            self._cli("models", "apply", file.name, "--overlay", str(ROOT / "local" / "models.local.toml"))

    def restore(self) -> None:
        """Put the catalogue of the local stack back."""
        overlay = str(ROOT / "local" / "models.local.toml")
        self._cli("models", "apply", str(ROOT / "models.toml"), "--overlay", overlay)

    def _read(self, name: str) -> Counter:
        return self.ledger.read([name], consistent=True).get(name, Counter())

    def _environment_of(self, number: int) -> Send:
        """What sends one request: through the front door, or an execution environment of its own."""
        if self._http:
            return self._send
        variables = {
            "TABLE_JOBS": self._outputs["JobsTableName"],
            "TABLE_CACHE": self._outputs["CacheTableName"],
            "TABLE_LEDGER": self._outputs["LedgerTableName"],
            "TABLE_REGISTRY": self._outputs["RegistryTableName"],
            "BUCKET": self._outputs["BucketName"],
            "ASYNC_QUEUE_URL": self._outputs["AsyncQueueUrl"],
            "BATCH_QUEUE_URL": self._outputs["BatchQueueUrl"],
            "ALARM_TOPIC_ARN": "",
            "LOG_LEVEL": "CRITICAL",
        }
        service = gateway.build(gateway.GatewaySettings.load(variables))
        event = {
            "httpMethod": "POST",
            "resource": "/v1/inferences",
            "headers": {},
            "body": BODY,
            "requestContext": {
                "requestId": f"race-{number}",
                "authorizer": {"tenant": "race", "key_id": "race", "team": self._team, "scopes": "infer"},
            },
        }
        return lambda: int(gateway.handle(event, service)["statusCode"])

    @staticmethod
    def _together(send: Send, start: threading.Barrier) -> int:
        start.wait()
        return send()

    def _send(self) -> int:
        connection = HTTPConnection("127.0.0.1", self._layout.port, timeout=_TIMEOUT_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            connection.request("POST", "/v1/inferences", BODY, headers)
            answer = connection.getresponse()
            answer.read()
        except OSError:
            return 0
        finally:
            connection.close()
        return answer.status

    def _cli(self, *words: str) -> str:
        command = [sys.executable, "-m", "cli", "--stack", "tollgate", *words]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)  # noqa: S603 -- our own program
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout


class _Watch:
    """Looks at a counter as often as it can while the race runs."""

    def __init__(self, ledger: DynamoDBLedger, name: str) -> None:
        self._ledger = ledger
        self._name = name
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most_spent = self.most_committed = Decimal(0)
        self.looks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            try:
                counter = self._ledger.read([self._name], consistent=True).get(self._name)
            except StorageError:
                continue  # The emulator is at its limit; the next look comes.
            if counter is not None:
                self.most_spent = max(self.most_spent, counter.spent)
                self.most_committed = max(self.most_committed, counter.committed)
            self.looks += 1


@contextlib.contextmanager
def throttled(microburst: str | None, share: float = 0.1) -> Iterator[Callable[[], int]]:
    """Let this share of the functions' table calls be throttled; gives a count of how many were."""
    if microburst is None:
        yield lambda: 0
        return
    rule = {
        "service": "dynamodb",
        "probability": share,
        "error": {"code": "ProvisionedThroughputExceededException"},
    }
    _control(microburst, "PATCH", "rules", [rule])
    try:
        yield lambda: sum(int(found["fired_count"]) for found in _control(microburst, "GET", "rules"))
    finally:
        _control(microburst, "DELETE", "rules", [])


def _control(microburst: str, method: str, what: str, body: Any = None) -> Any:
    connection = HTTPConnection(microburst.removeprefix("http://").rstrip("/"), timeout=30)
    text = None if body is None else json.dumps(body)
    connection.request(method, f"/_microburst/{what}", text, {"Content-Type": "application/json"})
    try:
        return json.loads(connection.getresponse().read() or b"[]")
    finally:
        connection.close()


def report(outcome: Outcome, covered: int, throttles: int | None) -> bool:
    """Print a race; True when it kept every promise."""
    counter = outcome.final
    most = f"${usd_text(outcome.most_spent)} / ${usd_text(outcome.most_committed)} ({outcome.looks} looks)"
    end = " / ".join(f"${usd_text(amount)}" for amount in (counter.spent, counter.held, counter.overrun))
    after = dict(sorted(outcome.after.items()))
    print(f"  simultaneous requests by status   {dict(sorted(outcome.statuses.items()))} in {outcome.seconds:.1f} s")
    print(f"  limit                             ${usd_text(outcome.limit)}")
    print(f"  most spent / most committed       {most}")
    print(f"  at the end spent / held / overrun {end}")
    print(f"  afterwards, one by one            {after}, wrongly refused {outcome.wrongly_refused}")
    if throttles is not None:
        print(f"  table calls throttled             {throttles}")
    succeeded = outcome.statuses[200] + outcome.after[200]
    kept = (
        succeeded == covered
        and outcome.most_spent <= outcome.limit
        and outcome.most_committed <= outcome.limit
        and counter.held == counter.overrun == 0
        and outcome.wrongly_refused == 0
    )
    print(f"  {'kept' if kept else 'BROKEN'}: {outcome.statuses[200]} of {covered} covered requests succeeded at once")
    return kept


def main() -> int:
    """Run the races."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=int(os.environ.get("TOLLGATE_PORT", "4566")))
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--covered", type=int, default=50)
    parser.add_argument("--throttle", metavar="URL", help="microburst between the functions and the tables")
    parser.add_argument("--http", action="store_true", help="through the front door and the deployed functions")
    parser.add_argument("--two-budgets", action="store_true", help="reserve in two counters at once, by transaction")
    arguments = parser.parse_args()
    team = f"race-{int(time.time())}"
    race = Race(
        Layout(Path(ROOT), arguments.port),
        team=team,
        gateway_too=arguments.two_budgets,
        http=arguments.http,
        tables_url=arguments.throttle,
    )
    scopes = "two budgets" if arguments.two_budgets else "one budget"
    share = "10 % of table calls throttled" if arguments.throttle else "no faults"
    print(f"{arguments.requests} requests at once on money for {arguments.covered}, {scopes}, {share}")
    try:
        # The functions' log lines are no part of the report.
        with throttled(arguments.throttle) as fired, contextlib.redirect_stdout(io.StringIO()):
            outcome = race.run(arguments.requests, arguments.covered)
            throttles = fired() if arguments.throttle else None
    finally:
        race.restore()
    return 0 if report(outcome, arguments.covered, throttles) else 1


if __name__ == "__main__":
    sys.exit(main())
