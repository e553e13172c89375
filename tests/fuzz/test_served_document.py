"""Schemathesis against the OpenAPI document that the local stack serves: no 5xx, nothing undocumented, shapes hold."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.launch.layout import ROOT
from tests.fuzz.coverage_table import calls_by_operation, table
from tests.fuzz.known_values import Document, KnownValues
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(3600)]

EXAMPLES = int(os.environ.get("TOLLGATE_FUZZ_EXAMPLES", "4"))
"""Calls of each operation with right data, and as many with wrong data; and so many scenarios of several steps."""

SEED = os.environ.get("TOLLGATE_FUZZ_SEED", "20261122")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,use_after_free,missing_required_header"
)
MANY_EXAMPLES = 20
"""From here on every boundary of every field is tried as well, which takes minutes."""


def _phases(document: Document) -> Iterator[tuple[str, Document, list[str]]]:
    """Name, document and options of each run.

    A number bounds them rather than a time, which the first operations would use up on a slow machine.
    """
    number = ["--max-examples", str(EXAMPLES)]
    yield "examples", document, ["--phases", "examples"]
    yield "right", document, ["--phases", "fuzzing", "--mode", "positive", *number]
    yield "wrong", _can_be_wrong(document), ["--phases", "fuzzing", "--mode", "negative", *number]
    yield "stateful", document, ["--phases", "stateful", *number]
    if EXAMPLES >= MANY_EXAMPLES:
        yield "boundaries", document, ["--phases", "coverage"]


def _can_be_wrong(document: Document) -> Document:
    """The document with those operations only in whose calls anything can be: any text may stand in a path."""
    paths = {
        path: {
            method: operation
            for method, operation in methods.items()
            if "requestBody" in operation or any(p["in"] == "query" for p in operation.get("parameters", ()))
        }
        for path, methods in document["paths"].items()
    }
    return {**document, "paths": {path: methods for path, methods in paths.items() if methods}}


def test_the_api_keeps_its_promises(
    local_stack: LocalStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right and wrong calls of every operation, each alone and one after another."""
    known = KnownValues(local_stack)
    document = known.document()
    failures, events = [], []
    for phase, part, options in _phases(document):
        schema = tmp_path / f"{phase}.json"
        schema.write_text(json.dumps(part))
        events.append(tmp_path / f"{phase}.ndjson")
        command = [
            str(ROOT / ".venv" / "fuzz" / "bin" / "schemathesis"),
            "run",
            str(schema),
            *("--url", local_stack.url),
            *("--header", f"Authorization: Bearer {local_stack.key}"),
            *("--checks", CHECKS),
            *options,
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
    wrong = [
        f"{method.upper()} {path}" for path, methods in _can_be_wrong(document)["paths"].items() for method in methods
    ]
    assert [name for name in wrong if not calls[name].refused_as_wrong] == []
    described = {name.lower() for name in document["components"]["headers"]}
    assert {name for called in calls.values() for name in called.headers} <= described
