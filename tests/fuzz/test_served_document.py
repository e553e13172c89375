"""Schemathesis against the OpenAPI document that the local stack serves: no 5xx, nothing undocumented, shapes hold."""

import os
import subprocess
from pathlib import Path

import pytest

from local.launch.layout import ROOT
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(1200)]

SECONDS = os.environ.get("TOLLGATE_FUZZ_SECONDS", "120")
SEED = os.environ.get("TOLLGATE_FUZZ_SEED", "20261122")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_the_api_keeps_its_promises(local_stack: LocalStack, tmp_path: Path) -> None:
    """Valid and invalid calls of every route, for as long as `TOLLGATE_FUZZ_SECONDS` says."""
    command = [
        str(ROOT / ".venv" / "fuzz" / "bin" / "schemathesis"),
        "run",
        f"{local_stack.url}/v1/openapi.json",
        *("--url", local_stack.url),
        *("--header", f"Authorization: Bearer {local_stack.key}"),
        *("--checks", CHECKS),
        *("--phases", "examples,coverage,fuzzing"),
        *("--max-time", SECONDS),
        *("--max-examples", "30"),
        *("--seed", SEED),
        *("--request-timeout", "40"),
        "--no-shrink",
        "--continue-on-failure",
        *("--warnings", "off"),
        *("--suppress-health-check", "all"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)  # noqa: S603 -- a tool of ours
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-4_000:]
