"""The batch road with batches of files of embeddings on it."""

import json
from copy import replace
from decimal import Decimal
from typing import Any

from tests.fakes.batch_road import BatchRoad
from tests.fakes.examples import OWNER, make_catalogue
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import BatchPolicy, Catalogue
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.file_batches import (
    COMPLETION_WINDOW,
    FileBatch,
    FileBatchStatus,
    FilePurpose,
    StoredFile,
)

EMBEDDINGS = "/v1/embeddings"


def two_models(*, budget: str | None = None, per_file: int = 2) -> Catalogue:
    """Two models, `echo` and `other`, which answer whatever they are asked."""
    catalogue = make_catalogue(batch=BatchPolicy(records_per_file=per_file))
    echo = catalogue.model("echo")
    (deployment,) = echo.deployments
    other = replace(echo, name="other", deployments=(replace(deployment, model="other"),))
    budgets = () if budget is None else (Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal(budget)),)
    return replace(catalogue, models={"echo": echo, "other": other}, budgets=budgets)


class FilesRoad(BatchRoad):
    """The batch road with batches of embeddings on it; a container answers one number for each text."""

    def begin(self, *lines: Any, endpoint: str = EMBEDDINGS) -> FileBatch:
        now = self.clock.now()
        raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        file = StoredFile("file-1", OWNER, "in.jsonl", FilePurpose.BATCH, 1, now, now + COMPLETION_WINDOW * 30)
        self.objects.put_lines(file.key, raw)
        self.files.add(file)
        batch = FileBatch("batch_1", OWNER, endpoint, file.file_id, now, now + COMPLETION_WINDOW)
        self.file_batches.add(batch)
        return batch

    @property
    def batch(self) -> FileBatch:
        return self.file_batches.batches["batch_1"]

    def transform(self, name: str, *, bad: set[str] | frozenset[str] = frozenset(), seconds: float = 60) -> None:
        """As SageMaker does: a file with one bad record has no output at all."""
        job = self.backend.started[name]
        began = self.clock.now()
        self.clock.advance(seconds)
        failed = False
        for key in list(self.objects.list_keys(job.input_prefix)):
            records = [json.loads(line) for line in self.objects.lines(key) or ()]
            if any(set(record["body"]["inputs"]) & bad for record in records):
                failed = True
                continue
            answers = [
                {"id": r["id"], "SageMakerOutput": [[float(len(text))] for text in r["body"]["inputs"]]}
                for r in records
            ]
            out = job.output_prefix + key.removeprefix(job.input_prefix) + ".out"
            self.objects.put_lines(out, [json.dumps(answer).encode() for answer in answers])
        self.backend.end(name, "Failed" if failed else "Completed", reason="bad" if failed else None, began=began)

    def run(self, *, bad: set[str] | frozenset[str] = frozenset(), rounds: int = 12) -> None:
        """Let time pass until nothing is left to do: messages, transform jobs, events, and the sweeper's looks."""
        for _ in range(rounds):
            self.clock.advance(400)
            self.file_batch_runner().advance("batch_1")
            for run in self.batches.open_since(self.clock.now(), limit=100):
                if run.state is BatchState.PREPARING:
                    self.drops().prepare(run)
            for name in self.backend.stopped:
                if not self.backend.statuses[name].ended:
                    self.backend.end(name, "Stopped", began=self.clock.now())
            for name, status in list(self.backend.statuses.items()):
                if not status.ended:
                    self.transform(name, bad=bad)
                self.collect(name)

    def cancel(self) -> None:
        self.file_batches.change(self.batch.at(FileBatchStatus.CANCELLING, self.clock.now()))

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        assert file_id is not None
        return [json.loads(line) for line in self.objects.lines(f"files/{file_id}") or ()]


def embedding_line(name: str, text: str = "abc", model: str = "echo", **changes: Any) -> dict[str, Any]:
    body = {"model": model, "input": text}
    return {"custom_id": name, "method": "POST", "url": EMBEDDINGS, "body": body} | changes
