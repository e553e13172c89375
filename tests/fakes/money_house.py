"""Everything that takes part in a request answered later, over one set of fakes, with faults at any call.

Messages and events are delivered until they are accepted, and once more after that. What SageMaker does costs seconds
that are counted here, so that a test can compare them with what was paid.
"""

import json
from collections.abc import Callable
from copy import replace
from decimal import Decimal
from functools import partial
from typing import Any

from tests.fakes.async_endpoint import RUN_SECONDS, put_as_another
from tests.fakes.crashes import CrashError
from tests.fakes.examples import OWNER
from tests.fakes.messages import InMemoryQueue, SentMessage
from tests.fakes.money_roads import MoneyRoads
from tests.fakes.token_house import dollars
from tollgate.adapters.dynamodb.jobs.settled import job_record, part_record
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import (
    TollgateError,
)
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.file_batches import COMPLETION_WINDOW, FINAL_STATUSES, FileBatch, FilePurpose, StoredFile
from tollgate.domain.jobs.job import OPEN_STATES
from tollgate.domain.money import ZERO
from tollgate.services.jobs.queries import JobQueries

_ONE_CALL = Decimal("0.00005")
"""Dollars; more than a real-time call of these tests costs."""

_STEP_SECONDS = 70
_MOST_STEPS = 150


class MoneyHouse(MoneyRoads):
    """Callers, the rest of the world, and the books."""

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
                self.died_answering += 1
                self.faults.new_process()
            if status < 500 and status != 409:
                return status
            self.clock.advance(60)
        return status

    def drop(self, *texts: str) -> None:
        """Put a file into the bucket."""
        key = "batch-input/echo/a.jsonl"
        lines = [json.dumps({"input": text, "id": text}).encode() for text in texts]
        put_as_another(self.objects, key, b"\n".join(lines))
        self._until_done(lambda: self.drops().dropped(key, "v1"))

    def begin_batch(self, *texts: str) -> None:
        """Have a batch of these texts recorded, and its message sent."""
        now = self.clock.now()
        lines = [
            {"custom_id": t, "method": "POST", "url": "/v1/embeddings", "body": {"model": "echo", "input": t}}
            for t in texts
        ]
        file = StoredFile("file-1", OWNER, "in.jsonl", FilePurpose.BATCH, 1, now, now + COMPLETION_WINDOW * 30)
        put_as_another(self.objects, file.key, b"\n".join(json.dumps(line).encode() for line in lines))
        self.files.files[file.file_id] = file
        self.file_batches.add(FileBatch("batch_1", OWNER, "/v1/embeddings", file.file_id, now, now + COMPLETION_WINDOW))

    def cancel(self, number: int) -> None:
        """Have the owner of a job ask for its end."""
        names = sorted(self.jobs.jobs)
        queries = JobQueries(jobs=self.jobs, objects=self.objects, clock=self.clock)
        self._once(partial(queries.cancel, OWNER, names[number % len(names)]))

    def raise_prices(self) -> None:
        """Put a catalogue into force in which the instances cost twice as much."""
        catalogue = self.catalogues.catalogue
        model = catalogue.models["echo"]
        (small,) = model.deployments
        roads = {kind: replace(road, usd_per_hour=Decimal("0.23")) for kind, road in small.roads.items()}
        models = {**catalogue.models, "echo": replace(model, deployments=(replace(small, roads=roads),))}
        self.catalogues.catalogue = replace(catalogue, version=catalogue.version + 1, models=models)
        self.gateway.catalogues.catalogue = self.catalogues.catalogue

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
            self._until_done(partial(self.completion.notice, notice))
        self._once(self.dispatcher().wake_all)
        for name, status in list(self.backend.statuses.items()):
            if not status.ended and self.steps % self.busy == 0:
                self._transform(name)
                self._until_done(partial(self.collector().ended, self.backend.statuses[name]))
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
            put_as_another(store, out, b"\n".join(json.dumps(answer).encode() for answer in answers))
        self.backend.end(name, "Completed", began=began)

    def _drain(self, queue: InMemoryQueue, take: Callable[[SentMessage], None]) -> None:
        """Deliver what waits now, each twice; what is not taken returns in a minute."""
        sent, queue.sent = queue.sent, []
        for message in sent:
            if not self._once(partial(take, message)):
                queue.sent.append(message)
            else:
                self._once(partial(take, message))

    def _until_done(self, act: Callable[[], object]) -> None:
        """An event: delivered again while it fails, and once more when it did not."""
        for _ in range(3):
            if self._once(act):
                self._once(act)
                return
            self.clock.advance(20)

    def _once(self, act: Callable[[], object]) -> bool:
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
        return self.charged_to_owners + self.charged_to_nobody

    @property
    def charged_to_owners(self) -> Decimal:
        """The same without dropped files, which belong to no key."""
        now, lines = self.clock.now(), [json.dumps(line, separators=(",", ":")) for line in self.gateway.lines]
        at_once = [record for line in lines for record in records_of_line(line, now)]
        ended = [job_record(job) for job in (*self.jobs.jobs.values(), *self.jobs.late.values())]
        parts = [part_record(part) for part in self.file_batches.counted.values()]
        return sum((record.charged for record in (*at_once, *ended, *parts)), ZERO)

    @property
    def charged_to_nobody(self) -> Decimal:
        """Dollars in usage for dropped files."""
        counts = [run.count for run in self.batches.runs.values() if run.count is not None]
        return sum((count.bill.charged for count in counts), ZERO)

    @property
    def worked_seconds(self) -> tuple[Decimal, Decimal]:
        """Instance seconds of asynchronous invocations and of transform jobs."""
        ended = [status for status in self.backend.statuses.values() if status.started_at and status.ended_at]
        transformed = sum(((s.ended_at - s.started_at).total_seconds() for s in ended), 0.0)  # type: ignore[operator]  # both are there
        return Decimal(RUN_SECONDS * len(self.endpoint.runs)), Decimal(transformed)

    @property
    def paid_seconds(self) -> tuple[Decimal, Decimal]:
        """The same, as they are on the records of jobs, files and parts of batches."""
        every = (*self.jobs.jobs.values(), *self.jobs.late.values())
        jobs = [job for job in every if job.model == "echo"]
        paid = dict.fromkeys(InferenceType, ZERO)
        for job in jobs:
            paid[job.inference_type] += job.held_seconds or ZERO
        counts = [run.count for run in self.batches.runs.values() if run.count is not None]
        counts += [part.count for part in self.file_batches.counted.values()]
        batch = paid[InferenceType.BATCH] + sum((count.held_seconds or ZERO for count in counts), ZERO)
        return paid[InferenceType.ASYNC], batch

    @property
    def provider_bill(self) -> Decimal:
        """Dollars that the provider asks for the calls it was sent."""
        return len([target for target, _ in self.gateway.realtime.calls if target == self.provider]) * dollars(20, 30)

    def faults_in_the_books(self) -> list[str]:
        """What is wrong with the money, when all is quiet; empty if nothing is."""
        found, spent = [], dict[str, Decimal]()
        for name, counter in self.ledger.counters.items():
            scope = name.rpartition("#")[0]
            spent[scope] = spent.get(scope, ZERO) + counter.spent + counter.overrun
            holds = {slot: amount for slot, amount in counter.slots.items() if slot[0] == "h" and amount}
            own = [slot for slot in holds if "_" in slot]
            if counter.committed != counter.spent + sum(holds.values(), ZERO):
                found.append(f"{name}: {counter.committed} committed, {counter.spent} spent, {holds} held")
            if len(holds) > len(own) or len(own) > self.died_answering:
                found.append(f"{name}: {holds} still held")
        for scope, dollars_spent in spent.items():
            charged = self.charged if scope.startswith("gateway#") else self.charged_to_owners
            if dollars_spent != charged and not (self.died_answering and charged < dollars_spent < charged + _ONE_CALL):
                found.append(f"{scope}: {dollars_spent} spent, {charged} in usage")
        return found


def _transformed(inputs: Any) -> Any:
    return {"echo": inputs} if isinstance(inputs, str) else [[float(len(text))] for text in inputs]
