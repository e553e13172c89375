"""Races for a budget on the local stack: the limit holds, and whoever it covers is served."""

import os
import subprocess
import sys

import pytest

from local.launch.layout import ROOT
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    "options",
    [
        ("--requests", "40", "--covered", "10"),
        ("--requests", "30", "--covered", "8", "--two-budgets"),
        ("--requests", "40", "--covered", "10", "--throttle"),
        # Two races, each request in an environment of its own; `make bench-budgets` does the same with 200.
        ("--requests", "24", "--covered", "6", "--http", "--environments", "24"),
    ],
    ids=["one budget", "two budgets", "throttled tables", "over HTTP"],
)
def test_a_race_serves_exactly_what_is_covered(local_stack: LocalStack, options: tuple[str, ...]) -> None:
    """Spend never passes the limit, nothing stays held, nobody is refused wrongly; over HTTP also when throttled."""
    paths = os.pathsep.join([str(ROOT / "layers" / "tollgate"), str(ROOT)])
    command = [sys.executable, str(ROOT / "benchmarks" / "budget_race.py"), "--port", str(local_stack.layout.port)]
    done = subprocess.run(  # noqa: S603 -- our own program
        [*command, *options],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    sys.stdout.write(done.stdout)  # shown with pytest -rP
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept:" in done.stdout
