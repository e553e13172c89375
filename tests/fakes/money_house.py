"""Everything that takes part in a request answered later, over one set of fakes, with faults at any call.

Messages and events are delivered until they are accepted, and once more after that. What SageMaker does costs seconds
that are counted here, so that a test can compare them with what was paid.
"""

import json
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.fakes.budgeted_gateway import make_budget
from tests.fakes.clock import ManualClock
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.faults import Faults
from tests.fakes.gateway import FakeGateway
from tests.fakes.messages import InMemoryObjectStore, InMemoryQueue, SentMessage
from tests.fakes.places import FakePlaces
from tests.fakes.swept_house import SweptHouse
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.adapters.dynamodb.jobs.settled import job_record, part_record
from tollgate.domain.budgets.budget import BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import BatchPolicy, Catalogue, Road
from tollgate.domain.errors import (
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    TollgateError,
)
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.file_batches import COMPLETION_WINDOW, FINAL_STATUSES, FileBatch, FilePurpose, StoredFile
from tollgate.domain.jobs.job import OPEN_STATES
from tollgate.domain.jobs.micro_batches import MicroBatchPolicy
from tollgate.domain.places.sleeping import SleepPolicy
from tollgate.ports.backends import AsyncSubmission
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.async_notice import AsyncNotice
from tollgate.services.jobs.run_deferred import DeferredRun
from tollgate.services.jobs.submit_async import AsyncSubmitter
from tollgate.services.jobs.submit_together import GroupSubmitter

RUN_SECONDS = 2
"""How long SageMaker works on an asynchronous invocation."""

_STEP_SECONDS = 70
_MOST_STEPS = 150


def paid_catalogue(*, together: bool = False, limit: str = "5") -> Catalogue:
    """The example model in three budgets; its requests may share an invocation."""
    catalogue = make_catalogue(batch=BatchPolicy(max_records=3, max_age_seconds=60, records_per_file=2))
    model = catalogue.models["echo"]
    (small,) = model.deployments
    policy = MicroBatchPolicy(max_requests=16, max_bytes=10_000, max_seconds=10) if together else None
    small = replace(small, micro_batch=policy, sleep=SleepPolicy(idle_minutes=30))
    budgets = (
        make_budget(limit),
        make_budget(limit, ScopeKind.TEAM, BudgetPeriod.MONTH),
        make_budget(limit, ScopeKind.KEY, BudgetPeriod.TOTAL),
    )
    return replace(catalogue, models={"echo": replace(model, deployments=(small,))}, budgets=budgets)


@dataclass
class AsyncEndpoint:
    """An asynchronous endpoint with one place: every call is a run of its own, with a location of its own."""

    clock: ManualClock
    objects: InMemoryObjectStore
    waiting: list[tuple[str, bytes, str, datetime]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    poison: str = ""
    free_at: datetime | None = None

    def submit(
        self,
        road: Road,
        body: bytes,
        content_type: str,
        *,
        inference_id: str,
        request_ttl_seconds: int,
        timeout_seconds: int,
        trace: str,
    ) -> AsyncSubmission:
        """See `AsyncBackend`."""
        assert content_type
        assert trace
        assert request_ttl_seconds > timeout_seconds > 0
        name = f"s3://{self.objects.bucket}/async-output/{road.target}/{len(self.runs):08x}"
        self.runs.append(inference_id)
        self.waiting.append((inference_id, body, name, self.clock.now()))
        return AsyncSubmission(f"{name}.out", f"{name}-error.out")

    def work(self) -> list[AsyncNotice]:
        """Work through what waits; what it then has to tell."""
        notices = []
        waiting, self.waiting = self.waiting, []
        for inference_id, body, name, received in waiting:
            ended = max(received, self.free_at or received) + timedelta(seconds=RUN_SECONDS)
            self.free_at = ended
            inputs = json.loads(body)["inputs"]
            bad = bool(self.poison) and self.poison in json.dumps(inputs)
            answer = inputs.upper() if isinstance(inputs, str) else [text.upper() for text in inputs]
            location = f"{name}-error.out" if bad else f"{name}.out"
            key = self.objects.key_of(location)
            assert key is not None
            _put(self.objects, key, json.dumps("bad" if bad else answer).encode())
            reason = "ModelError" if bad else None
            notices.append(AsyncNotice(inference_id, not bad, received, ended, location, reason))
        return notices


class MoneyHouse(SweptHouse):
    """The gateway, all roads behind it, and the sweeper."""

    def __init__(
        self, faults: Faults | None = None, *, together: bool = False, limit: str = "5", busy: int = 1
    ) -> None:
        super().__init__()
        self.busy = busy
        self.steps = 0
        self.faults = faults or Faults()
        self.catalogues.catalogue = paid_catalogue(together=together, limit=limit)
        self.gateway = FakeGateway(
            clock=self.clock,
            catalogue=self.catalogues.catalogue,
            ledger=self.ledger,
            objects=self.objects,
            async_queue=self.async_queue,
            batch_queue=self.queue,
            deferred_queue=self.deferred_queue,
            answers=self.answers,
            shared_jobs=self.jobs,
        )
        self.jobs.ledger = self.file_batches.ledger = self.ledger
        self.endpoint = AsyncEndpoint(self.clock, self.objects)
        self.invoked_seconds = Decimal(0)
        self.lost: list[str] = []
        self._watch()
        self._roads()

    def _watch(self) -> None:
        over = self.faults.over
        jobs = ("add", "get", "get_many", "change", "add_late", "open_since", "pool_of", "waiting_for_batch")
        over(self.jobs, *jobs)
        over(self.batches, "add", "get", "change", "open_since", "lease", "release")
        over(self.file_batches, "get", "change", "open_since")
        over(self.files, "add", "get")
        over(self.objects, "put", "put_lines", "get", "lines", "list_keys", "delete", "stored_at")
        over(self.ledger, "write", "read", "open_notice", "tell_once")
        over(self.answers, "read", "lead", "store", "release")
        for queue in (self.async_queue, self.deferred_queue, self.queue, self.webhooks):
            over(queue, "send")
        over(self.endpoint, "submit", fails=BackendThrottledError, lost=BackendTimeoutError)
        over(self.backend, "start", "stop", "describe", fails=BackendThrottledError, lost=BackendThrottledError)
        over(self.gateway.realtime, "invoke", fails=CapacityError, lost=BackendTimeoutError)

    def _roads(self) -> None:
        nothing = CrashPoint(0)
        completer = self.completer(nothing)
        self.faults.over(self.holding, "take_place")
        submitter = AsyncSubmitter(
            jobs=self.jobs,
            objects=self.objects,
            catalogues=self.catalogues,
            dialects=ContainerDialects(),
            backend=self.endpoint,
            completer=completer,
            telemetry=self.telemetry,
            clock=self.clock,
            queue=self.async_queue,
        )
        self.submitter = GroupSubmitter(
            submitter=submitter,
            jobs=self.jobs,
            objects=self.objects,
            backend=self.endpoint,
            merger=InputsMerger(),
            catalogues=self.catalogues,
            capacities=self.gateway.capacity,
            telemetry=self.telemetry,
            clock=self.clock,
            ids=self.ids,
        )
        self.deferred = DeferredRun(
            jobs=self.jobs,
            objects=self.objects,
            catalogues=self.catalogues,
            dialects=ContainerDialects(),
            backend=self.gateway.realtime,
            places=FakePlaces(),
            wakes=self.gateway.wakes,
            completer=completer,
            telemetry=self.telemetry,
            clock=self.clock,
            gate=BrakeGate(brakes=lambda: self.gateway.brakes, telemetry=self.telemetry, clock=self.clock),
            queue=self.deferred_queue,
        )

    # -- what callers do

    def accept(self, count: int, priority: str, **changes: Any) -> None:
        """Have so many requests accepted as jobs; a caller who is not told sends the same request again."""
        for number in range(count):
            body = {"model": "echo", "input": f"text {number}", "priority": priority} | changes
            self.ask(body, f"key-{priority}-{number}")

    def ask(self, body: Any, key: str) -> int:
        """Send a request until it is answered, a minute apart; the last status."""
        for _ in range(4):
            try:
                status = self.gateway.infer(body, headers={"idempotency-key": key}).status
            except CrashError:
                status = 502
                self.faults.new_process()
            if status < 500 and status != 409:
                return status
            self.clock.advance(60)
        return status

    def drop(self, *texts: str) -> None:
        """Put a file into the bucket."""
        key = "batch-input/echo/a.jsonl"
        lines = [json.dumps({"input": text, "id": text}).encode() for text in texts]
        _put(self.objects, key, b"\n".join(lines))
        self._until_done(lambda: self.drops().dropped(key, "v1"))

    def begin_batch(self, *texts: str) -> None:
        """Have a batch of these texts recorded, and its message sent."""
        now = self.clock.now()
        lines = [
            {"custom_id": t, "method": "POST", "url": "/v1/embeddings", "body": {"model": "echo", "input": t}}
            for t in texts
        ]
        file = StoredFile("file-1", OWNER, "in.jsonl", FilePurpose.BATCH, 1, now, now + COMPLETION_WINDOW * 30)
        _put(self.objects, file.key, b"\n".join(json.dumps(line).encode() for line in lines))
        self.files.files[file.file_id] = file
        self.file_batches.add(FileBatch("batch_1", OWNER, "/v1/embeddings", file.file_id, now, now + COMPLETION_WINDOW))

    # -- what the rest of the world does

    def settle_down(self) -> None:
        """Let time pass until nothing is open and nothing waits to be delivered."""
        for _ in range(_MOST_STEPS):
            self.step()
            if self.is_quiet:
                return
        raise AssertionError(f"never quiet: {self.faults.struck}")

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is open."""
        return (
            not any(job.state in OPEN_STATES for job in self.jobs.jobs.values())
            and all(run.state is BatchState.ENDED for run in self.batches.runs.values())
            and all(batch.status in FINAL_STATUSES for batch in self.file_batches.batches.values())
            and not self.endpoint.waiting
        )

    def step(self) -> None:
        """A minute with everything that belongs to it."""
        for _ in range(2):
            self._submit_waiting()
        self._drain(self.deferred_queue, lambda message: self.deferred.run(message.body["job_id"]))
        self._drain(self.queue, self._batched)
        self.steps += 1
        self.clock.advance(RUN_SECONDS * len(self.endpoint.waiting))
        for notice in self.endpoint.work() if self.steps % self.busy == 0 else ():
            self._until_done(lambda notice=notice: self.completion.notice(notice))
        self._once(self.dispatcher().wake_all)
        for name, status in list(self.backend.statuses.items()):
            if not status.ended and self.steps % self.busy == 0:
                self._transform(name)
                self._until_done(lambda name=name: self.collector().ended(self.backend.statuses[name]))
        self._once(self.sweeper.sweep)
        self.clock.advance(_STEP_SECONDS)

    def _submit_waiting(self) -> None:
        """Hand over all messages of the asynchronous road together; those that were not taken return."""
        sent, self.async_queue.sent = self.async_queue.sent, []
        if not sent:
            return
        failures: dict[str, Exception] = {}
        if not self._once(lambda: failures.update(self.submitter.submit_all([m.body["job_id"] for m in sent]))):
            self.async_queue.sent += sent
        self.async_queue.sent += [message for message in sent if message.body["job_id"] in failures]

    def _batched(self, message: SentMessage) -> None:
        if message.body["kind"] == "file_batch":
            self.file_batch_runner().advance(message.body["file_batch"])
        elif "resource" in message.body:
            self.dispatcher().wake(message.body["resource"])

    def _transform(self, name: str) -> None:
        job = self.backend.started[name]
        began = self.clock.now()
        self.clock.advance(60)
        store = self.objects
        for key in sorted(key for key in store.objects if key.startswith(job.input_prefix)):
            records = [json.loads(line) for line in store.objects[key].splitlines()]
            answers = [{"id": r["id"], "SageMakerOutput": _transformed(r["body"]["inputs"])} for r in records]
            out = job.output_prefix + key.removeprefix(job.input_prefix) + ".out"
            _put(store, out, b"\n".join(json.dumps(answer).encode() for answer in answers))
        self.backend.end(name, "Completed", began=began)

    def _drain(self, queue: InMemoryQueue, take: Callable[[SentMessage], None]) -> None:
        """Deliver what waits now, each twice; what is not taken returns in a minute."""
        sent, queue.sent = queue.sent, []
        for message in sent:
            if not self._once(lambda message=message: take(message)):
                queue.sent.append(message)
            else:
                self._once(lambda message=message: take(message))

    def _until_done(self, act: Callable[[], None]) -> None:
        """An event: delivered again while it fails, and once more when it did not."""
        for _ in range(3):
            if self._once(act):
                self._once(act)
                return
            self.clock.advance(20)

    def _once(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except (CrashError, TollgateError):
            self.faults.new_process()
            return False
        return True

    # -- what is left afterwards

    @property
    def charged(self) -> Decimal:
        """Dollars in usage: of the log's lines, jobs, late charges, files and parts of batches."""
        lines = [
            r
            for line in self.gateway.lines
            for r in records_of_line(json.dumps(line, separators=(",", ":")), self.clock.now())
        ]
        ended = [job_record(job) for job in (*self.jobs.jobs.values(), *self.jobs.late.values())]
        parts = [part_record(part) for part in self.file_batches.counted.values()]
        files = [run.count.bill.charged for run in self.batches.runs.values() if run.count is not None]
        return sum((record.charged for record in (*lines, *ended, *parts)), Decimal(0)) + sum(files, Decimal(0))

    @property
    def paid_seconds(self) -> Decimal:
        """Instance seconds on the records of jobs."""
        every = (*self.jobs.jobs.values(), *self.jobs.late.values())
        return sum((job.held_seconds for job in every if job.held_seconds is not None), Decimal(0))


def _put(objects: InMemoryObjectStore, key: str, body: bytes) -> None:
    """Write as somebody else, whom no fault meets."""
    InMemoryObjectStore.put(objects, key, body)


def _transformed(inputs: Any) -> Any:
    return {"echo": inputs} if isinstance(inputs, str) else [[float(len(text))] for text in inputs]
