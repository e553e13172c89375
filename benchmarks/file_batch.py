"""A batch of 50,000 lines for the deterministic model: memory and processor time of each step, each in its own process.

The code is the product's, on a bucket made of files in a temporary folder, so the network is not in the figures. Lambda
gives 256 MB about a seventh of a core, by which the time is also shown.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fakes.batch_road import BatchRoad
from tests.fakes.crashes import CrashPoint
from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.folder_objects import FolderObjects
from tollgate.adapters.dynamodb.jobs.file_items import batch_document, batch_of, file_document, file_of
from tollgate.domain.catalogue import BatchPolicy
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.file_batches import (
    COMPLETION_WINDOW,
    MOST_LINES,
    FileBatch,
    FileBatchStatus,
    FilePurpose,
    StoredFile,
)
from tollgate.services.batches.file_batch_cut import run_of

TEXT = "A toll booth stands in front of your models. " * 41
STEPS = ("cut", "finish")
SHARE_OF_A_CORE = 256 / 1769
TIMEOUT_SECONDS = 300
MOST_MEGABYTES = 512


def _road(home: Path) -> BatchRoad:
    road = BatchRoad(make_catalogue(batch=BatchPolicy()))
    road.objects = FolderObjects(home)  # type: ignore[assignment]  # another store of the same port
    kept = home / "batch.json"
    if kept.is_file():
        road.file_batches.add(batch_of("batch_1", 0, kept.read_text("utf-8")))
        road.files.add(file_of("file-1", (home / "file.json").read_text("utf-8")))
    return road


def _prepare(home: Path) -> int:
    """The file of a batch; returns its bytes."""
    body = {"model": "echo", "input": TEXT}
    lines = (
        json.dumps({"custom_id": f"line-{n}", "method": "POST", "url": "/v1/embeddings", "body": body}).encode()
        for n in range(MOST_LINES)
    )
    road = _road(home)
    now = road.clock.now()
    file = StoredFile("file-1", OWNER, "in.jsonl", FilePurpose.BATCH, 0, now, now + COMPLETION_WINDOW)
    road.objects.put_lines(file.key, lines)
    batch = FileBatch("batch_1", OWNER, "/v1/embeddings", "file-1", now, now + COMPLETION_WINDOW)
    (home / "batch.json").write_text(batch_document(batch), "utf-8")
    (home / "file.json").write_text(file_document(file), "utf-8")
    return (home / file.key).stat().st_size


def _answer(home: Path) -> None:
    """What SageMaker would put beside each input file, and the note that its job has ended."""
    road = _road(home)
    batch = road.file_batches.batches["batch_1"]
    for part in batch.parts:
        run = run_of(batch, part.resource, part.run_id)
        for key in road.objects.list_keys(run.input_prefix):
            answers = (
                json.dumps({"id": json.loads(line)["id"], "SageMakerOutput": [[0.25] * 8]}).encode()
                for line in road.objects.lines(key) or ()
            )
            road.objects.put_lines(run.output_prefix + key.removeprefix(run.input_prefix) + ".out", answers)


def _step(name: str, home: Path) -> None:
    """One step of a function, measured from within."""
    road = _road(home)
    began = time.process_time()
    if name == "cut":
        road.file_batch_runner().advance("batch_1")
        batch = road.file_batches.batches["batch_1"]
        _require([run.state for run in road.batches.runs.values()] == [BatchState.RUNNING], "one job runs")
    else:
        batch = road.file_batches.batches["batch_1"]
        run = run_of(batch, batch.parts[0].resource, batch.parts[0].run_id)
        road.backend.end(run.batch_id, "Completed", began=road.clock.now())
        road.file_batch_results(CrashPoint(0)).write(run, road.backend.statuses[run.batch_id], None)
        road.file_batch_finisher(CrashPoint(0)).finish(road.file_batches.batches["batch_1"])
        batch = road.file_batches.batches["batch_1"]
        _require((batch.status, batch.completed) == (FileBatchStatus.COMPLETED, MOST_LINES), "every line is answered")
    spent = time.process_time() - began
    (home / "batch.json").write_text(batch_document(batch), "utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": spent, "megabytes": peak}))


def _require(held: bool, what: str) -> None:
    if not held:
        raise SystemExit(f"It does not hold that {what}.")


def main(arguments: list[str]) -> int:
    """Run every step in a process of its own and print what it took."""
    if arguments:
        _step(arguments[0], Path(arguments[1]))
        return 0
    home = Path(tempfile.mkdtemp(prefix="tollgate-file-batch-"))
    try:
        size = _prepare(home)
        print(f"{MOST_LINES:,} lines, {size / 1e6:.1f} MB")
        print(f"{'step':>8}{'peak MB':>10}{'CPU s':>8}{'at 256 MB, s':>14}")
        fine = True
        for step in STEPS:
            if step == "finish":
                _answer(home)
            command = [sys.executable, __file__, step, str(home)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 -- this program
            found = json.loads(done.stdout)
            slow = found["cpu"] / SHARE_OF_A_CORE
            print(f"{step:>8}{found['megabytes']:>10.0f}{found['cpu']:>8.1f}{slow:>14.0f}")
            fine = fine and found["megabytes"] < MOST_MEGABYTES and slow < TIMEOUT_SECONDS
        print(f"promised: under {MOST_MEGABYTES} MB, and within the function's {TIMEOUT_SECONDS} s")
        return 0 if fine else 1
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
