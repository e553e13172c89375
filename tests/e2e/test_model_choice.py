"""Choosing, cascading, trimming and judging on the local stack, with the official client and the command line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
from openai import OpenAI

from local.launch.layout import ROOT, aws_environment
from tests.fakes.sizes import EASY, HARD
from tests.local_stack import LocalStack

pytestmark = pytest.mark.e2e


@pytest.fixture
def client(local_stack: LocalStack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{local_stack.url}/v1", api_key=local_stack.key) as client:
        yield client


def _post(client: OpenAI, path: str, **body: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", client.post(path, body=body, cast_to=object))


def test_a_preview_shows_the_choice(client: OpenAI) -> None:
    """Easy prompts small, hard ones large, and the dial before both."""
    asked = {"model": "assistant", "cascade": False}
    assert _post(client, "/route", **asked, input=EASY)["deployment"] == "assistant/little"
    hard = _post(client, "/route", **asked, input=HARD)
    assert hard["deployment"] == "assistant/big"
    assert "tier=large;complexity=" in hard["reason"]
    assert _post(client, "/route", **asked, input=HARD, quality=0)["deployment"] == "assistant/little"


def test_a_refusal_is_escalated_and_judged(client: OpenAI) -> None:
    """The small model answers with the words reversed; here that is a refusal, and the large one is asked."""
    raw = client.chat.completions.with_raw_response.create(
        model="assistant",
        messages=[{"role": "user", "content": "know. don't I"}],
        max_tokens=8,
        service_tier="priority",
    )
    assert "failed_check=refusal;escalated_to=large" in raw.headers["x-tollgate-route-reason"]
    assert raw.headers["x-tollgate-deployment"] == "assistant/big"
    completion = raw.parse()
    assert completion.model_extra is not None
    first = completion.model_extra["escalation"]
    assert float(raw.headers["x-tollgate-cost-usd"]) > float(first["first_cost_usd"]) > 0
    judged = {"inference_id": completion.id, "model": "assistant", "score": 0.5}
    once = _post(client, "/feedback", **judged)
    assert (once["deployment"], once["recorded"]) == ("assistant/big", True)
    assert _post(client, "/feedback", **judged)["recorded"] is False


def test_a_conversation_is_trimmed(client: OpenAI) -> None:
    """What is sent is what fits, and the answer says so."""
    talk = [{"role": "user", "content": f"Remark number {n} about something else entirely."} for n in range(30)]
    answer = _post(
        client,
        "/chat/completions",
        model="echo",
        service_tier="priority",
        messages=talk,
        trim={"input_tokens": 80},
    )
    trimmed = answer["trimmed"]
    assert trimmed["input_tokens_after"] <= 80 < trimmed["input_tokens_before"]
    assert trimmed["dropped_messages"]


def test_variants_are_compared(client: OpenAI, local_stack: LocalStack) -> None:
    """From what the functions wrote; feedback is there at once."""
    answer = _post(client, "/inferences", model="assistant", input="A toll booth.", priority="high")
    assert _post(client, "/feedback", inference_id=answer["id"], model="assistant", score=1)["recorded"] is True
    done = subprocess.run(
        [sys.executable, "-m", "cli", "models", "compare", "assistant"],
        cwd=ROOT,
        env={**os.environ, **aws_environment(local_stack.layout)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "little" in done.stdout
    assert "quality" in done.stdout
