"""Choosing, cascading, trimming and judging on the local stack, with the official client and over HTTP."""

import os
import subprocess
import sys
from typing import Any

import httpx2 as httpx
import pytest
from openai import OpenAI

from local.launch.layout import ROOT, aws_environment
from tests.fakes.sizes import HARD
from tests.local_stack import LocalStack

pytestmark = pytest.mark.e2e


def _ask(stack: LocalStack, path: str, body: dict[str, Any]) -> httpx.Response:
    answer = httpx.post(f"{stack.url}{path}", json=body, headers=stack.headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def _preview(stack: LocalStack, text: str, **wishes: Any) -> dict[str, Any]:
    found: dict[str, Any] = _ask(stack, "/v1/route", {"model": "assistant", "input": text, **wishes}).json()
    return found


def test_a_preview_shows_the_choice(local_stack: LocalStack) -> None:
    """Easy prompts small, hard ones large, and the dial before both."""
    assert _preview(local_stack, "What is the capital of France?")["deployment"] == "assistant/little"
    hard = _preview(local_stack, HARD, cascade=False)
    assert hard["deployment"] == "assistant/big"
    assert "tier=large;complexity=" in hard["reason"]
    assert _preview(local_stack, HARD, quality=0)["deployment"] == "assistant/little"


def test_a_refusal_is_escalated_and_judged(local_stack: LocalStack) -> None:
    """The small model answers with the words reversed; here that is a refusal, and the large one is asked."""
    with OpenAI(base_url=f"{local_stack.url}/v1", api_key=local_stack.key) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="assistant",
            messages=[{"role": "user", "content": "know. don't I"}],
            max_tokens=8,
            service_tier="priority",
        )
    reason = raw.headers["x-tollgate-route-reason"]
    assert "failed_check=refusal;escalated_to=large" in reason
    assert raw.headers["x-tollgate-deployment"] == "assistant/big"
    completion = raw.parse()
    assert completion.model_extra is not None
    first = completion.model_extra["escalation"]
    assert float(raw.headers["x-tollgate-cost-usd"]) > float(first["first_cost_usd"]) > 0
    judged = {"inference_id": completion.id, "model": "assistant", "score": 0.5}
    once = _ask(local_stack, "/v1/feedback", judged).json()
    assert (once["deployment"], once["recorded"]) == ("assistant/big", True)
    assert _ask(local_stack, "/v1/feedback", judged).json()["recorded"] is False


def test_a_conversation_is_trimmed(local_stack: LocalStack) -> None:
    """What is sent is what fits, and the answer says so."""
    talk = [{"role": "user", "content": f"Remark number {n} about something else entirely."} for n in range(30)]
    body = {"model": "echo", "service_tier": "priority", "messages": talk, "trim": {"input_tokens": 80}}
    answer = _ask(local_stack, "/v1/chat/completions", body)
    trimmed = answer.json()["trimmed"]
    assert trimmed["input_tokens_after"] <= 80 < trimmed["input_tokens_before"]
    saved = trimmed["input_tokens_before"] - trimmed["input_tokens_after"]
    assert answer.headers["x-tollgate-trimmed-tokens"] == str(saved)


def _tollgate(stack: LocalStack, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **aws_environment(stack.layout)},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return done.stdout


def test_variants_are_compared(local_stack: LocalStack) -> None:
    """From what the functions wrote: feedback at once."""
    answer = _ask(local_stack, "/v1/inferences", {"model": "assistant", "input": "A toll booth.", "priority": "high"})
    judged = {"inference_id": answer.json()["id"], "model": "assistant", "score": 1}
    _ask(local_stack, "/v1/feedback", judged)
    said = _tollgate(local_stack, "models", "compare", "assistant")
    assert "little" in said
    assert "quality" in said
