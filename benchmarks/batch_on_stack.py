"""A batch of 50,000 lines and nearly 100 MB through the local stack, with the unmodified `openai` package.

    make bench-batch-on-stack

The file goes up in parts through the API, its lines run on the deterministic model, and the answers are counted.
Every function is the deployed one in a process of its own under the emulator, so its peak is its process's, and its
longest call is what the emulator reports. `TOLLGATE_TEST_PORT` names a stack that runs already; without it
one is started.
"""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import OpenAI
from openai.types import Batch

from tests.local_stack import LocalStack, running_stack

_LINES = int(os.environ.get("BATCH_LINES", "50000"))
_TEXT = "A toll booth stands in front of your models. " * 41
_PART_BYTES = 4_000_000
_MOST_MEGABYTES = 512
_PATIENCE_SECONDS = 420
_FINAL = {"completed", "failed", "expired", "cancelled"}
_DURATION = re.compile(r"Duration: ([0-9.]+) ms")
_PREFIX = "tollgate-"


@dataclass(slots=True)
class Function:
    """What was seen of a function. Megabytes, seconds."""

    memory: int
    timeout: int
    peak: float = 0.0
    longest: float = 0.0
    calls: int = 0


def _content() -> bytes:
    lines = (
        json.dumps(
            {
                "custom_id": f"line-{number}",
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": "echo", "input": _TEXT},
            }
        )
        for number in range(_LINES)
    )
    return "\n".join(lines).encode()


def _run(client: OpenAI, content: bytes) -> tuple[Batch, str]:
    """The batch when it has ended, and the id of the file of answers."""
    began = time.monotonic()
    checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
    upload = client.uploads.upload_file_chunked(
        file=content,
        filename="large.jsonl",
        bytes=len(content),
        mime_type="application/jsonl",
        purpose="batch",
        part_size=_PART_BYTES,
        md5=checksum,
    )
    _require(upload.file is not None, "the upload became a file")
    print(f"{_LINES:,} lines, {len(content) / 1e6:.1f} MB; uploaded in parts after {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    batch = client.batches.create(
        input_file_id=upload.file.id if upload.file else "", endpoint="/v1/embeddings", completion_window="24h"
    )
    while batch.status not in _FINAL and time.monotonic() - began < _PATIENCE_SECONDS:
        time.sleep(2)
        batch = client.batches.retrieve(batch.id)
    print(f"{batch.status} after {time.monotonic() - began:.0f} s: {batch.request_counts}")
    _require(batch.status == "completed", "the batch completes")
    _require(batch.error_file_id is None, "no line fails")
    return batch, batch.output_file_id or ""


def _check_answers(client: OpenAI, file_id: str) -> None:
    """Every line is answered once, with a price."""
    seen: set[str] = set()
    with client.files.with_streaming_response.content(file_id) as answer:
        for text in answer.iter_lines():
            line: dict[str, Any] = json.loads(text)
            _require(line["response"]["status_code"] == 200, "every line is answered")
            _require(float(line["tollgate"]["effective_cost_usd"]) > 0, "every line has its price")
            seen.add(line["custom_id"])
    _require(len(seen) == _LINES, "every line is answered once")


def _workers(stack: LocalStack) -> Iterator[tuple[str, Function]]:
    """The processes in which the stack's functions run: they are started from its own folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(stack.layout.temporary) not in (entry / "cmdline").read_text("utf-8", "replace"):
                continue
            status = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
            pairs = (entry / "environ").read_text("utf-8", "replace").split("\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        name = environment.get("AWS_LAMBDA_FUNCTION_NAME")
        if name is not None:
            memory = int(environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])
            peak = int(status["VmHWM"].split()[0]) / 1024
            yield name, Function(memory, int(environment["_LAMBDA_TIMEOUT"]), peak)


def _observed(stack: LocalStack, since: int) -> dict[str, Function]:
    """All functions that ran, by name."""
    found: dict[str, Function] = {}
    for name, one in _workers(stack):
        known = found.setdefault(name, one)
        known.peak = max(known.peak, one.peak)
    logs = stack.aws("logs")
    for name, function in found.items():
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{name}", startTime=since, filterPattern="REPORT"
        )
        for page in pages:
            for event in page["events"]:
                duration = _DURATION.search(event["message"])
                if duration is not None:
                    function.calls += 1
                    function.longest = max(function.longest, float(duration[1]) / 1000)
    return {name: function for name, function in found.items() if function.calls}


def _require(held: bool, what: str) -> None:
    if not held:
        raise SystemExit(f"It does not hold that {what}.")


def main() -> int:
    """Run the batch and print what each function took."""
    with running_stack() as stack:
        since = int(time.time() * 1000)
        with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.key, timeout=60) as client:
            _, answers = _run(client, _content())
            _check_answers(client, answers)
        functions = _observed(stack, since)
    print(f"{'function':>20}{'calls':>8}{'peak MB':>10}{'of MB':>8}{'longest s':>12}{'timeout s':>12}")
    for name, one in sorted(functions.items(), key=lambda entry: -entry[1].longest):
        print(
            f"{name.removeprefix(_PREFIX):>20}{one.calls:>8}{one.peak:>10.0f}{one.memory:>8}"
            f"{one.longest:>12.1f}{one.timeout:>12}"
        )
    print(f"promised: under {_MOST_MEGABYTES} MB in every function, and no call over its timeout")
    fine = all(one.peak < _MOST_MEGABYTES and one.longest < one.timeout for one in functions.values())
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
