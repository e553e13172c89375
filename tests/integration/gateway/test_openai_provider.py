"""A provider with OpenAI's API behind the deployed template: with a key of its own, streamed, and as a fallback."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from local.launch import programs
from local.launch.layout import ROOT, STACK_NAME
from tests.integration.gateway.conftest import Client
from tests.local_stack import LocalStack
from tollgate.adapters.dynamodb.registry.catalogue import REFRESH_SECONDS

pytestmark = pytest.mark.integration

MODEL = "echo-provider"
KEY = "/tollgate/providers/standin"
_FILES = (ROOT / "models.toml", ROOT / "local" / "models.local.toml")
_ENTRY = """
[models.echo-provider]
kind = "chat"
default_priority = "high"
[models.echo-provider.health]
fallback = ["own"]
[models.echo-provider.deployments.main]
tier = "small"
timing = {{ base_seconds = 0.05, expected_output_tokens = 32 }}
[models.echo-provider.deployments.main.tokens]
provider = "openai_http"
model = "tollgate-echo"
max_output_tokens = 200
usd_per_million_input_tokens = "0.25"
usd_per_million_output_tokens = "1.25"
url = "{url}/v1"
api_key_parameter = "{key}"
[models.echo-provider.deployments.own]
tier = "small"
weight = 0
dialect = "messages"
instance_type = "ml.c5.xlarge"
timing = {{ base_seconds = 0.01 }}
realtime = {{ endpoint = "tollgate-echo-realtime", concurrency = 16, startup_seconds = 1 }}
"""
TOKENS = (Decimal("0.25") * 3 + Decimal("1.25") * 3) / 1_000_000


def _apply(stack: LocalStack, more: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(_FILES[1].read_text() + more)
        file.flush()
        command = [sys.executable, "-m", "cli", "--stack", STACK_NAME, "models", "apply", str(_FILES[0])]
        done = subprocess.run(  # noqa: S603 -- our own program
            [*command, "--overlay", file.name],
            cwd=ROOT,
            env=programs.environment(stack.layout),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def provider(local_stack: LocalStack) -> Iterator[None]:
    """A model at the stand-in's API in the catalogue, and its key in the Parameter Store."""
    local_stack.aws("ssm").put_parameter(Name=KEY, Value="sk-local", Type="SecureString", Overwrite=True)
    _apply(local_stack, _ENTRY.format(url=local_stack.standin_url, key=KEY))
    # A job meets three functions, any of which may still go by the catalogue that it read before.
    time.sleep(REFRESH_SECONDS)
    yield
    _apply(local_stack, "")


def _chat(text: str, **more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.usefixtures("provider")
def test_a_chat_is_charged_by_the_providers_own_figures(client: Client) -> None:
    """The key goes with the call, and to nobody else."""
    reply = client.send("POST", "/v1/chat/completions", _chat("one two three"))
    assert reply.status == 200, reply.text
    assert reply.body["choices"][0]["message"]["content"] == "three two one"
    assert reply.headers["x-tollgate-deployment"] == f"{MODEL}/main"
    assert TOKENS < Decimal(reply.headers["x-tollgate-cost-usd"]) < TOKENS + Decimal("0.0001")
    assert "sk-local" not in reply.text


@pytest.mark.usefixtures("provider")
def test_an_answer_is_streamed(client: Client) -> None:
    """The events are OpenAI's, with the usage that the provider reports."""
    body = _chat("one two three", stream=True, stream_options={"include_usage": True})
    reply = client.send("POST", "/v1/chat/completions", body)
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(event) for event in events]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text.split() == ["three", "two", "one"]
    assert chunks[-1]["usage"]["total_tokens"] == 6


@pytest.mark.usefixtures("provider")
def test_a_job_is_run_at_the_provider(client: Client) -> None:
    """Low priority as well: there is no transform job to wait for."""
    reply = client.infer(MODEL, "one two three", priority="low")
    assert (reply.status, reply.body["inference_type"]) == (202, "async"), reply.text
    job = client.ended(reply.body["id"])
    assert job["output"] == {"text": "three two one", "finish_reason": "stop"}, job
    assert TOKENS < Decimal(job["cost"]["effective_cost_usd"]) < TOKENS + Decimal("0.0001")


@pytest.mark.usefixtures("provider")
def test_embeddings_and_images_are_refused(client: Client) -> None:
    """With 400 and a reason: instances that only stand in for the provider do not serve the model."""
    embedding = client.send("POST", "/v1/embeddings", {"model": MODEL, "input": "hello"})
    assert (embedding.status, "chat model" in embedding.body["error"]["message"]) == (400, True)
    parts = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    assert client.infer(MODEL, [{"role": "user", "content": parts}]).status == 400
