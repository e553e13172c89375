"""Some thousand requests of every kind: records, roll-ups and budgets agree to the last decimal place."""

import json
from collections.abc import Iterator
from copy import replace
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from random import Random
from typing import Any

from tests.fakes.completer import job_completer
from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.gateway import FakeGateway
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.usage import FixedInstanceHours, InMemoryRecords, InMemoryUsage
from tollgate.adapters.dynamodb.jobs.settled import job_record
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.budgets.ledger import cost_of_tree
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.costs.usage import UsageRecord, sum_of
from tollgate.domain.errors import BackendTimeoutError, CapacityError, ModelFailedError
from tollgate.domain.jobs.job import OPEN_STATES, Job, JobFailure
from tollgate.domain.spans import HOUR, hour_of
from tollgate.ports.usage import Span
from tollgate.services.budgets.tell_budgets import BudgetGauge
from tollgate.services.jobs.price_job import Work
from tollgate.services.jobs.queries import JobQueries
from tollgate.services.usage.load_hours import HourLoader
from tollgate.services.usage.roll_up import LATE, UsageRollUp

REQUESTS = 2_500
LIMIT = Decimal(1)
TOTAL = "gateway#total#always"
MODELS = ("model:echo#total#always", "model:kept#total#always")
HEADERS: list[dict[str, str]] = [{}] * 20 + [
    {"x-tollgate-workflow": "run-1"},
    {"x-tollgate-workflow": "run-2"},
    {"Cache-Control": "only-if-cached"},
    {"Cache-Control": "no-cache"},
]
REALTIME = [b'{"label": "en"}'] * 8 + [
    ModelFailedError("failed", original_status=500),
    BackendTimeoutError("slow"),
    CapacityError("none"),
]


def _catalogue(budgets: tuple[Budget, ...]) -> Catalogue:
    """The example, and the same model again with a cache."""
    catalogue = make_catalogue()
    echo = catalogue.models["echo"]
    deployments = tuple(replace(deployment, model="kept") for deployment in echo.deployments)
    kept = replace(echo, name="kept", deployments=deployments, cache=CachePolicy(ttl_seconds=60))
    return replace(catalogue, models={"echo": echo, "kept": kept}, budgets=budgets)


class Traffic:
    """A gateway, what ends its jobs, and the records that both leave."""

    def __init__(self) -> None:
        budgets = (
            Budget(ScopeKind.GATEWAY, "", BudgetPeriod.TOTAL, LIMIT),
            Budget(ScopeKind.MODEL, "*", BudgetPeriod.TOTAL, Decimal(1_000)),
            Budget(ScopeKind.WORKFLOW, "*", BudgetPeriod.TOTAL, Decimal("0.001"), max_calls=200),
            Budget(ScopeKind.KEY, "*", BudgetPeriod.HOUR, Decimal(1_000)),
        )
        self.gateway = FakeGateway(catalogue=_catalogue(budgets))
        self.random = Random(7)  # noqa: S311 -- the same mixture in every run
        self.telemetry = RecordingTelemetry()
        self.statuses: dict[int, int] = {}
        self.caches: dict[str, int] = {}
        self.records: list[UsageRecord] = []
        self.ended = 0
        gateway = self.gateway
        self.completer = job_completer(
            jobs=gateway.jobs,
            objects=gateway.objects,
            catalogues=gateway.catalogues,
            durations=gateway.measurements,
            telemetry=self.telemetry,
            clock=gateway.clock,
        )
        self.queries = JobQueries(jobs=gateway.jobs, objects=gateway.objects, clock=gateway.clock)

    def send(self) -> None:
        """One request, and now and then the end of a job."""
        gateway, random = self.gateway, self.random
        gateway.realtime.answer = random.choice(REALTIME)
        gateway.realtime.takes = random.uniform(0.01, 3)
        priority = random.choice(["high", "high", "high", "medium", "low"])
        body: dict[str, Any] = {
            "model": random.choice(["echo"] * 30 + ["kept"] * 8 + ["none"]),
            "input": random.choice("abcdefghij"),
            "priority": priority,
        }
        before = len(gateway.lines)
        gateway.clock.advance(random.uniform(0, 1))
        # A caller who repeats a request with the same key pays for it once.
        more = {"Idempotency-Key": f"key-{random.randrange(200)}-{body}"} if random.random() < 0.05 else {}
        request_id = f"req-{sum(self.statuses.values())}"
        answer = gateway.infer(body, request_id=request_id, headers=random.choice(HEADERS) | more)
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        outcome = answer.headers.get("x-tollgate-cache", "none")
        self.caches[outcome] = self.caches.get(outcome, 0) + 1
        for line in gateway.lines[before:]:
            self.records += records_of_line(json.dumps(line, separators=(",", ":")), gateway.clock.now())
        if random.random() < 0.5:
            self.end_one()

    def first_open(self) -> Job | None:
        """The oldest of the open jobs; those before it have ended for good."""
        for job in islice(self.gateway.jobs.jobs.values(), self.ended, None):
            if job.state in OPEN_STATES:
                return job
            self.ended += 1
        return None

    def end_one(self) -> None:
        """In one of the ways in which a job ends, some of them twice."""
        job = self.first_open()
        if job is None:
            return
        way = self.random.randrange(6)
        held = None if way == 0 else Decimal(self.random.randrange(1, 90_000_000)).scaleb(-7)
        work = Work(held_seconds=held, finished_at=self.gateway.clock.now())
        for _ in range(self.random.choice([1, 2])):
            self._end(job, way, work)

    def _end(self, job: Job, way: int, work: Work) -> None:
        match way:
            case 1:
                self.completer.expire(job, "too late")
            case 2:
                self.completer.fail(job, JobFailure("model_failed", "failed"), work)
            case 3:
                self.queries.cancel(OWNER, job.job_id)
            case _:
                self.completer.complete(job, b'{"label": "en"}', work)

    def all_records(self) -> Iterator[UsageRecord]:
        """Of real-time requests from the log, of jobs from their table."""
        yield from self.records
        yield from (job_record(job) for job in self.gateway.jobs.jobs.values() if job.bill is not None)


def rolled_up(traffic: Traffic, records: list[UsageRecord]) -> InMemoryUsage:
    """Roll-ups of every hour, made by turns that came late."""
    store, clock = InMemoryUsage(), traffic.gateway.clock
    first = hour_of(min(record.ended_at for record in records))
    store.close(Span.HOUR, first)
    clock.advance(((hour_of(clock.now()) + HOUR + LATE) - clock.now()) / timedelta(seconds=1))
    catalogues, telemetry = traffic.gateway.catalogues, traffic.telemetry
    UsageRollUp(
        sources=[InMemoryRecords([*records, *records[:100]])],
        store=store,
        loader=HourLoader(catalogues=catalogues, instances=FixedInstanceHours(), telemetry=telemetry, clock=clock),
        gauge=BudgetGauge(catalogues=catalogues, ledger=traffic.gateway.ledger, telemetry=telemetry, clock=clock),
        telemetry=telemetry,
        clock=clock,
    ).run()
    return store


def test_records_roll_ups_and_budgets_agree() -> None:
    """Sum of all records = sum of roll-ups = sum of settled budgets, and the mixture had everything in it."""
    traffic = Traffic()
    for _ in range(REQUESTS):
        traffic.send()
    while traffic.first_open() is not None:
        traffic.end_one()
    records = list(traffic.all_records())
    store = rolled_up(traffic, records)
    rows = [row for (span, _, _), row in store.rows.items() if span is Span.HOUR]
    total = sum_of(rows)
    charged = sum((record.charged for record in records), Decimal(0))
    assert total.charged == charged
    counters = traffic.gateway.ledger.counters
    assert all(counter.held == 0 for counter in counters.values())
    assert counters[TOTAL].used == charged
    assert counters[TOTAL].spent <= LIMIT
    assert sum((counters[name].used for name in MODELS), Decimal(0)) == charged
    hourly = [counter for name, counter in counters.items() if name.startswith("key:")]
    assert sum((counter.used for counter in hourly), Decimal(0)) == charged
    calls = traffic.gateway.ledger.calls.values()
    for run in ("run-1", "run-2"):
        tree = [call for call in calls if call.workflow == run]
        # Who was refused is no call; a call of unknown cost is charged as it was held and has no cost in the tree.
        assert cost_of_tree(tree) <= counters[f"workflow:acme/{run}#total#always"].used
        assert len(tree) == counters[f"workflow:acme/{run}#total#always"].calls <= 200
    known = sum((record.effective or Decimal(0) for record in records), Decimal(0))
    assert total.effective == known
    assert total.requests == sum(record.requests for record in records) < len(records)
    # Now and then no job may stand in for a full endpoint, as it would never fit into the run's budget.
    assert traffic.statuses.pop(503) > 0
    assert set(traffic.statuses) == {200, 202, 404, 429, 502, 504}
    assert min(traffic.statuses.values()) > 50
    assert min(traffic.caches[outcome] for outcome in ("hit", "miss", "none")) > 100
    assert total.cache_hits == traffic.caches["hit"]
    assert total.unknown_costs > 0
