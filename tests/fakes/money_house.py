"""Everything that takes part in a request answered later, over one set of fakes, with faults at any call.

Messages and events are delivered until they are accepted, and once more after that. What SageMaker does costs seconds
that are counted here, so that a test can compare them with what was paid.
"""

import json
from collections.abc import Callable, Sequence
from copy import replace
from decimal import Decimal
from functools import partial
from typing import Any

from tests.fakes.async_endpoint import RUN_SECONDS, put_as_another
from tests.fakes.crashes import CrashError
from tests.fakes.examples import OWNER
from tests.fakes.messages import InMemoryQueue, SentMessage
from tests.fakes.money_roads import MoneyRoads
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import TollgateError
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.file_batches import COMPLETION_WINDOW, FINAL_STATUSES, FileBatch, FilePurpose, StoredFile
from tollgate.domain.jobs.job import OPEN_STATES
from tollgate.services.jobs.async_notice import AsyncNotice
from tollgate.services.jobs.queries import JobQueries

_STEP_SECONDS = 70
_MOST_STEPS = 150


class MoneyHouse(MoneyRoads):
    """Callers, and the rest of the world."""

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
        self._deliver(self.endpoint.work() if self.steps % self.busy == 0 else ())
        self._once(self.dispatcher().wake_all)
        for name, status in list(self.backend.statuses.items()):
            if not status.ended and self.steps % self.busy == 0:
                self._transform(name)
                self._until_done(partial(self.collector().ended, self.backend.statuses[name]))
        self._once(self.sweeper.sweep)
        self.clock.advance(_STEP_SECONDS)

    def everything_again(self) -> None:
        """Other functions get every message and event that there ever was once more, and the schedules come round."""
        jobs = sorted(self.jobs.jobs)
        self._once(lambda: self.submitter.submit_all(jobs))
        for job in list(self.jobs.jobs.values()):
            if job.model != "echo" or job.inference_type is InferenceType.REALTIME:
                self._once(partial(self.deferred.run, job.job_id))
        for notice in (*self.notices, *self.endpoint.work()):
            if notice not in self.notices:
                self.notices.append(notice)
            self._once(partial(self.completion.notice, notice))
        self._once(self.dispatcher().wake_all)
        for batch_id in list(self.file_batches.batches):
            self._once(partial(self.file_batch_runner().advance, batch_id))
        for name, status in list(self.backend.statuses.items()):
            if not status.ended:
                self._transform(name)
            self._once(partial(self.collector().ended, self.backend.statuses[name]))
        self._once(self.sweeper.sweep)

    def _deliver(self, notices: Sequence[AsyncNotice]) -> None:
        """Each until it is accepted, and once more: one that fails returns after the others."""
        self.notices += notices
        waiting = list(notices)
        for _ in range(3):
            waiting = [notice for notice in waiting if not self._once(partial(self.completion.notice, notice))]
            self.clock.advance(20 if waiting else 0)
        for notice in notices:
            self._once(partial(self.completion.notice, notice))

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


def _transformed(inputs: Any) -> Any:
    return {"echo": inputs} if isinstance(inputs, str) else [[float(len(text))] for text in inputs]
