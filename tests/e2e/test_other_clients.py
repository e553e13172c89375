"""Frameworks that speak OpenAI's API, each in an environment of its own."""

import subprocess

import pytest

from local.launch.layout import ROOT
from tests.local_stack import LocalStack

pytestmark = pytest.mark.e2e

PYTHON = ROOT / ".venv" / "clients" / "bin" / "python"


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("langchain_chat", ["three two one", "384", "six five four", "eight seven"]),
        ("litellm_chat", ["three two one", "6", "six five four"]),
    ],
)
def test_a_framework_just_works(local_stack: LocalStack, program: str, printed: list[str]) -> None:
    """Only its base URL and its key are ours."""
    script = ROOT / "tests" / "e2e" / "clients" / f"{program}.py"
    # LiteLLM would fetch a list of prices from the network.
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [str(PYTHON), str(script), f"{local_stack.url}/v1", local_stack.key]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)  # noqa: S603 -- our own program
    assert done.returncode == 0, done.stderr[-4_000:]
    assert done.stdout.splitlines()[: len(printed)] == printed
