"""A race for a budget: 200 requests at once on money for 50, against the tables and endpoints of a running local stack.

    make run DETACH=1 && make bench-budgets

In process, every request has an execution environment of its own: a thread with the gateway function's whole service,
its own AWS connections and nothing shared with the others, which is how Lambda runs them. With `--http` 200 clients
send them through the stack's front door to the deployed function, whose environments are processes (see
`race_environments`): once as they are, and once with a tenth of all table calls throttled.

The model `race` has a fixed price of one cent, so how many requests a budget covers is known beforehand. The requests
start at the same moment; a reader looks at the counter all the while. When all have ended, requests go out one after
the other until one is refused: who is refused although the counter had room was refused wrongly. The catalogue is put
back afterwards. The budgets are those of teams of their own, so a race can be repeated on the same stack.
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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from race_clients import RaceClient
from race_environments import DeployedGateway, affordable
from throttled_tables import ThrottledTables, throttled_tables

from functions.gateway import app as gateway
from local.launch.layout import ROOT, Layout, aws_environment, project_environment
from local.launch.state import StackRecord
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.domain.budgets.budget import BudgetPeriod, ScopeKind
from tollgate.domain.budgets.ledger import Counter
from tollgate.domain.budgets.reserving import asks_for
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.errors import StorageError
from tollgate.domain.money import usd_text
from tollgate.domain.roads.capacity import Capacity
from tollgate.domain.roads.estimates import RequestSize, RoadEstimates

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
THROTTLED = 0.1

Send = Callable[[], int]
"""Sends one request; its status."""


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
    """A stack, and teams whose budgets are raced for."""

    def __init__(self, layout: Layout, *, gateway_too: bool) -> None:
        record = StackRecord.read(layout.record_file)
        if record is None or not record.ready:
            raise SystemExit(f"No stack runs on port {layout.port}: make run DETACH=1 TOLLGATE_PORT={layout.port}")
        self.outputs = record.outputs
        self._gateway_too = gateway_too
        self._environment = project_environment(layout)
        endpoint = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": layout.emulator_url}
        os.environ.update(aws_environment(layout))
        self._tables = DynamoDBClient(AwsTransport(TransportConfig.from_mapping(endpoint)))
        self._ledger = DynamoDBLedger(self._tables, self.outputs["LedgerTableName"])
        self._amount = self._limit = Decimal(0)

    def key(self, team: str) -> str:
        """A new key of a team."""
        return self._cli("keys", "create", "--tenant", "race", "--team", team, "--scopes", "infer,read").strip()

    def declare(self, teams: Sequence[str], covered: int) -> None:
        """Put the model into the catalogue, and for each team a budget that covers so many reservations."""
        self._declare(teams, Decimal(1))
        catalogue = RegistryCatalogue(self._tables, self.outputs["RegistryTableName"], time.monotonic).current()
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
        self._limit = self._amount * covered
        self._declare(teams, self._limit)

    def run(self, team: str, environments: Sequence[Send]) -> Outcome:
        """Race once for a team's budget, one request from each environment."""
        name = f"{ScopeKind.TEAM}:race/{team}#{BudgetPeriod.TOTAL}#always"
        watch = _Watch(self._ledger, name)
        start = threading.Barrier(len(environments))

        def together(send: Send) -> int:
            start.wait()
            return send()

        began = time.monotonic()
        with watch, ThreadPoolExecutor(len(environments)) as pool:
            statuses = Tally(pool.map(together, environments))
        seconds = time.monotonic() - began
        after, wrongly = self._one_by_one(name, environments)
        final = self._read(name)
        return Outcome(
            statuses=statuses,
            limit=self._limit,
            final=final,
            most_spent=max(watch.most_spent, final.spent),
            most_committed=max(watch.most_committed, final.committed),
            looks=watch.looks,
            seconds=seconds,
            after=after,
            wrongly_refused=wrongly,
        )

    def _one_by_one(self, name: str, environments: Sequence[Send]) -> tuple[Tally[int], int]:
        after: Tally[int] = Tally()
        wrongly = 0
        for send in environments:
            before = self._read(name)
            status = send()
            after[status] += 1
            if status == 429:
                wrongly += before.spent + self._amount <= self._limit
                break
        return after, wrongly

    def _declare(self, teams: Sequence[str], limit: Decimal) -> None:
        budgets = [f'[[budgets]]\nscope = "team:{team}"\nperiod = "total"\nlimit_usd = "{limit}"\n' for team in teams]
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
        return self._ledger.read([name], consistent=True).get(name, Counter())

    def environment(self, team: str, number: int, tables_url: str | None) -> Send:
        """An execution environment of its own in this process, and one request in it."""
        variables = {
            "TABLE_JOBS": self.outputs["JobsTableName"],
            "TABLE_CACHE": self.outputs["CacheTableName"],
            "TABLE_LEDGER": self.outputs["LedgerTableName"],
            "TABLE_REGISTRY": self.outputs["RegistryTableName"],
            "BUCKET": self.outputs["BucketName"],
            "ASYNC_QUEUE_URL": self.outputs["AsyncQueueUrl"],
            "BATCH_QUEUE_URL": self.outputs["BatchQueueUrl"],
            "ALARM_TOPIC_ARN": "",
            "LOG_LEVEL": "CRITICAL",
        }
        if tables_url is not None:
            os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = tables_url
        service = gateway.build(gateway.GatewaySettings.load(variables))
        event = race_event("POST", "/v1/inferences", team, f"race-{number}")
        return lambda: int(gateway.handle(event, service)["statusCode"])

    def _cli(self, *words: str) -> str:
        command = [sys.executable, "-m", "cli", "--stack", "tollgate", *words]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)  # noqa: S603 -- our own program
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout


def race_event(method: str, resource: str, team: str, request_id: str) -> dict[str, Any]:
    """A call of a team as API Gateway hands it on."""
    return {
        "httpMethod": method,
        "resource": resource,
        "headers": {},
        "body": BODY,
        "requestContext": {
            "requestId": request_id,
            "authorizer": {"tenant": "race", "key_id": "race", "team": team, "scopes": "infer"},
        },
    }


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


def in_process(race: Race, layout: Layout, arguments: argparse.Namespace) -> bool:
    """A race of threads, each of which is an environment."""
    team = f"race-{int(time.time())}"
    race.declare([team], arguments.covered)
    scopes = "two budgets" if arguments.two_budgets else "one budget"
    faults = f"{THROTTLED:.0%} of table calls throttled" if arguments.throttle else "no faults"
    print(f"{arguments.requests} environments in process on money for {arguments.covered}, {scopes}, {faults}")
    with contextlib.ExitStack() as stack:
        tables: ThrottledTables | None = None
        if arguments.throttle:
            tables = stack.enter_context(throttled_tables(ROOT, layout.emulator_url))
        url = None if tables is None else tables.url
        environments = [race.environment(team, number, url) for number in range(arguments.requests)]
        # The functions' log lines are no part of the report.
        with contextlib.redirect_stdout(io.StringIO()):
            if tables is not None:
                stack.enter_context(tables.throttling(THROTTLED))
            outcome = race.run(team, environments)
            stack.close()
    return report(outcome, arguments.covered, None if tables is None else tables.throttled)


def over_http(race: Race, layout: Layout, arguments: argparse.Namespace) -> bool:
    """Two races of clients for the deployed function: without faults, and with a tenth of its table calls throttled."""
    shares = {f"race-{int(time.time())}": 0.0, f"race-{int(time.time())}-throttled": THROTTLED}
    race.declare(list(shares), arguments.covered)
    wanted = affordable(arguments.environments)
    deployed = DeployedGateway(layout, race.outputs)
    kept = True
    with throttled_tables(ROOT, layout.emulator_url) as tables, deployed.racing(wanted, tables.url):
        began = time.monotonic()
        there = deployed.warm(wanted, race_event("POST", "/v1/route", "none", "warm"))
        print(f"{there} execution environments of the deployed function started in {time.monotonic() - began:.0f} s")
        for team, share in shares.items():
            key = race.key(team)
            clients = [RaceClient(layout.port, key, BODY) for _ in range(arguments.requests)]
            clients[0].introduce()
            print(
                f"{arguments.requests} clients over HTTP on money for {arguments.covered}, "
                f"{f'{share:.0%} of table calls throttled' if share else 'no faults'}"
            )
            since = time.time()
            with tables.throttling(share):
                outcome = race.run(team, clients)
            kept = report(outcome, arguments.covered, tables.throttled if share else None) and kept
            served = deployed.served(team, since)
            retried = sum((client.retried for client in clients), Tally[int]())
            print(f"  in the function at one moment     {served.at_once} of {served.requests} requests")
            print(f"  environments by then              {deployed.processes()}")
            print(f"  answers that clients tried again  {dict(sorted(retried.items()))}")
            for client in clients:
                client.close()
    return kept


def main() -> int:
    """Run the races."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=int(os.environ.get("TOLLGATE_PORT", "4566")))
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--covered", type=int, default=50)
    parser.add_argument("--throttle", action="store_true", help="throttle a tenth of the table calls (in process)")
    parser.add_argument("--http", action="store_true", help="through the front door and the deployed function")
    parser.add_argument("--environments", type=int, default=200, help="of the deployed function at most")
    parser.add_argument("--two-budgets", action="store_true", help="reserve in two counters at once, by transaction")
    arguments = parser.parse_args()
    layout = Layout(Path(ROOT), arguments.port)
    race = Race(layout, gateway_too=arguments.two_budgets)
    try:
        kept = (over_http if arguments.http else in_process)(race, layout, arguments)
    finally:
        race.restore()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
