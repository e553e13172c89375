"""Keys from their making to their end, by the command line on the real template."""

import json
import subprocess
import sys
import uuid

import pytest

from local.launch import programs
from local.launch.layout import ROOT
from tests.integration.gateway.conftest import Client
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_a_key_is_made_listed_used_and_disabled_by_its_id(local_stack: LocalStack) -> None:
    """The list finds it among all of the stack's, with neither the key nor its hash."""

    def tollgate(*words: str) -> str:
        command = [sys.executable, "-m", "cli", "keys", *words]
        environment = programs.environment(local_stack.layout)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 -- our own program
        return done.stdout

    tenant = f"keys-{uuid.uuid4().hex[:8]}"
    secret = tollgate("create", "--tenant", tenant, "--team", "search", "--scopes", "read").strip()
    assert Client(local_stack, secret).send("GET", "/v1/models").status == 200
    listed = tollgate("list", "--tenant", tenant, "--json")
    (row,) = json.loads(listed)
    assert (row["team"], row["scopes"], row["state"]) == ("search", "read", "active")
    assert secret not in listed
    assert row["id"] in tollgate("list")
    assert "is disabled" in tollgate("disable", row["id"])
    (row,) = json.loads(tollgate("list", "--tenant", tenant, "--json"))
    assert row["state"] == "disabled"
