"""Schemathesis against the OpenAPI document that the local stack serves: no 5xx, nothing undocumented, shapes hold."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from local.launch.layout import ROOT
from tests.fuzz.coverage_table import calls_by_operation, table
from tests.fuzz.known_values import known_document
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(1200)]

SECONDS = os.environ.get("TOLLGATE_FUZZ_SECONDS", "120")
SEED = os.environ.get("TOLLGATE_FUZZ_SEED", "20261122")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,use_after_free,missing_required_header,ignored_auth"
)


def test_the_api_keeps_its_promises(
    local_stack: LocalStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right and wrong calls of every operation, each alone and one after another, for `TOLLGATE_FUZZ_SECONDS`."""
    document = known_document(local_stack)
    schema, events = tmp_path / "openapi.json", tmp_path / "events.ndjson"
    schema.write_text(json.dumps(document))
    command = [
        str(ROOT / ".venv" / "fuzz" / "bin" / "schemathesis"),
        "run",
        str(schema),
        *("--url", local_stack.url),
        *("--header", f"Authorization: Bearer {local_stack.key}"),
        *("--checks", CHECKS),
        *("--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-time", SECONDS),
        *("--max-examples", "30"),
        *("--seed", SEED),
        *("--request-timeout", "40"),
        *("--report-ndjson-path", str(events)),
        "--no-shrink",
        "--continue-on-failure",
        *("--warnings", "off"),
        *("--suppress-health-check", "all"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)  # noqa: S603 -- a tool of ours
    calls = calls_by_operation(events, document)
    with capsys.disabled():
        print("\n" + table(calls))  # noqa: T201 -- what was tried is part of the result
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-4_000:]
    assert [name for name, called in calls.items() if not called.succeeded] == []
    assert [name for name, called in calls.items() if called.sent["negative"] and not called.refused] == []
    known = {name.lower() for name in document["components"]["headers"]}
    assert {name for called in calls.values() for name in called.headers} <= known
