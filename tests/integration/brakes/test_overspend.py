"""Overspending through the API on the local stack: every level in time, endpoints really down, and back as before."""

import os
import subprocess
import sys

import pytest

from local.launch.layout import ROOT
from tests.local_stack import LocalStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_an_overspend_is_stopped_and_everything_put_back(local_stack: LocalStack) -> None:
    """Levels within ten seconds, nothing spent after the stop, the same configuration byte for byte afterwards."""
    paths = os.pathsep.join([str(ROOT / "layers" / "tollgate"), str(ROOT)])
    command = [sys.executable, str(ROOT / "benchmarks" / "brakes.py"), "--port", str(local_stack.layout.port)]
    done = subprocess.run(  # noqa: S603 -- our own program
        command,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    sys.stdout.write(done.stdout)  # shown with pytest -rP
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept:" in done.stdout
