"""Schemathesis against the OpenAPI document that the local stack serves: no 5xx, nothing undocumented, shapes hold."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from local.launch.layout import ROOT
from tests.fuzz.coverage_table import calls_by_operation, table
from tests.fuzz.known_values import Document, KnownValues
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(3600)]

SECONDS = int(os.environ.get("TOLLGATE_FUZZ_SECONDS", "120"))
SEED = os.environ.get("TOLLGATE_FUZZ_SEED", "20261122")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,use_after_free,missing_required_header"
)
LONG_SECONDS = 600
"""From here on every boundary of every field is tried as well, operation by operation, which takes minutes."""


def _phases() -> dict[str, list[str]]:
    """Phases with their own limits: with one for all of them, the first operations would use it up.

    The examples are a call or two of each operation and run to their end; the others go round all operations with a
    few calls of each until their time is over.
    """
    few = ["--max-examples", "5"]
    found = {
        "examples": [],
        "right": ["--phases", "fuzzing", "--mode", "positive", "--max-time", str(SECONDS * 3 // 10), *few],
        "wrong": ["--phases", "fuzzing", "--mode", "negative", "--max-time", str(SECONDS * 3 // 10), *few],
        "stateful": ["--max-time", str(SECONDS * 2 // 10), *few],
    }
    if SECONDS >= LONG_SECONDS:
        found["coverage"] = ["--max-time", str(SECONDS * 2 // 10)]
    return {name: ["--phases", name, *limits] if "--phases" not in limits else limits for name, limits in found.items()}


def test_the_api_keeps_its_promises(
    local_stack: LocalStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right and wrong calls of every operation, each alone and one after another, for `TOLLGATE_FUZZ_SECONDS`."""
    known = KnownValues(local_stack)
    document = known.document()
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(document))
    failures, events = [], []
    for phase, limits in _phases().items():
        events.append(tmp_path / f"{phase}.ndjson")
        command = [
            str(ROOT / ".venv" / "fuzz" / "bin" / "schemathesis"),
            "run",
            str(schema),
            *("--url", local_stack.url),
            *("--header", f"Authorization: Bearer {local_stack.key}"),
            *("--checks", CHECKS),
            *limits,
            *("--seed", SEED),
            *("--request-timeout", "40"),
            *("--report-ndjson-path", str(events[-1])),
            "--no-shrink",
            "--continue-on-failure",
            *("--warnings", "off"),
            *("--suppress-health-check", "all"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)  # noqa: S603 -- a tool of ours
        if done.returncode:
            failures.append(f"{phase}:\n{done.stdout[-20_000:]}{done.stderr[-4_000:]}")
    calls = calls_by_operation(events, document, known.calls)
    with capsys.disabled():
        print("\n" + table(calls))  # noqa: T201 -- what was tried is part of the result
    assert not failures, "\n\n".join(failures)
    assert [name for name, called in calls.items() if not called.succeeded] == []
    assert [name for name in calls if _can_be_wrong(document, name) and not calls[name].refused_as_wrong] == []
    described = {name.lower() for name in document["components"]["headers"]}
    assert {name for called in calls.values() for name in called.headers} <= described


def _can_be_wrong(document: Document, name: str) -> bool:
    """Whether there is anything in a call that could be: not where any text may stand in the path."""
    method, path = name.split(" ")
    operation = document["paths"][path][method.lower()]
    return "requestBody" in operation or any(p["in"] == "query" for p in operation.get("parameters", ()))
