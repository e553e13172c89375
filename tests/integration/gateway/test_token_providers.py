"""A model on Bedrock behind the deployed template: answered at once, later and streamed, and charged by the token."""

from decimal import Decimal
from typing import Any

import pytest

from tests.integration.gateway.conftest import Client

pytestmark = pytest.mark.integration

MODEL = "echo-bedrock"
TOKENS = Decimal("0.25") * 3 + Decimal("1.25") * 3
"""Dollars per million times the tokens of `three words in`, and of as many out, by the local catalogue's rates."""


def _chat(client: Client, text: str, **more: Any) -> Any:
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}
    return client.send("POST", "/v1/chat/completions", body)


def test_a_chat_is_answered_now_and_charged_by_the_token(client: Client) -> None:
    """On top of it comes the gateway's own cost, which is a part of a cent in a thousand requests."""
    reply = _chat(client, "one two three")
    assert reply.status == 200, reply.text
    assert reply.body["choices"][0]["message"]["content"] == "three two one"
    assert reply.body["usage"]["total_tokens"] == 6
    cost = Decimal(reply.headers["x-tollgate-cost-usd"])
    assert TOKENS / 1_000_000 < cost < TOKENS / 1_000_000 + Decimal("0.0001")


def test_the_limit_of_output_reaches_bedrock(client: Client) -> None:
    """The caller's, where it is below the deployment's."""
    reply = _chat(client, "one two three", max_tokens=2)
    assert (reply.body["choices"][0]["finish_reason"], reply.body["usage"]["completion_tokens"]) == ("length", 2)


def test_a_job_is_run_at_bedrock(client: Client) -> None:
    """And charged once."""
    reply = client.infer(MODEL, "one two three", priority="medium")
    assert reply.status == 202, reply.text
    job = client.ended(reply.body["id"])
    assert job["status"] == "completed", job
    assert job["output"] == {"text": "three two one", "finish_reason": "stop"}
    cost = Decimal(job["cost"]["effective_cost_usd"])
    assert TOKENS / 1_000_000 < cost < TOKENS / 1_000_000 + Decimal("0.0001")


def test_what_bedrock_refuses_is_the_callers_to_mend(client: Client) -> None:
    """With the place at fault; nothing was sent."""
    reply = _chat(client, "one", temperature=1.5)
    assert (reply.status, reply.body["error"]["param"]) == (400, "temperature")
