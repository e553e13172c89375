"""What keys may do and how often, as the `openai` package sees it."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import openai
import pytest
from openai import OpenAI

from local.launch import programs
from local.launch.layout import ROOT
from tests.local_stack import LocalStack

pytestmark = pytest.mark.e2e


def _new_key(stack: LocalStack, scopes: str) -> str:
    command = [sys.executable, "-m", "cli", "keys", "create", "--tenant", "e2e", "--scopes", scopes]
    environment = programs.environment(stack.layout)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 -- our own program
    return done.stdout.strip().splitlines()[-1]


@contextmanager
def _slow_plan(stack: LocalStack, key: str, rate: float = 0.05) -> Iterator[None]:
    """Moves the key to a usage plan with one request at once, and by default one in 20 seconds."""
    api = stack.aws("apigateway")
    value = hashlib.sha256(key.encode()).hexdigest()
    keys = api.get_api_keys(includeValues=True, limit=500)["items"]
    (key_id,) = [entry["id"] for entry in keys if entry["value"] == value]
    api.delete_usage_plan_key(usagePlanId=stack.outputs["UsagePlanId"], keyId=key_id)
    stage = {"apiId": stack.outputs["ApiId"], "stage": stack.outputs["StageName"]}
    plan = api.create_usage_plan(name=key_id, apiStages=[stage], throttle={"rateLimit": rate, "burstLimit": 1})["id"]
    api.create_usage_plan_key(usagePlanId=plan, keyId=key_id, keyType="API_KEY")
    try:
        yield
    finally:
        api.delete_usage_plan_key(usagePlanId=plan, keyId=key_id)
        api.update_usage_plan(
            usagePlanId=plan,
            patchOperations=[{"op": "remove", "path": "/apiStages", "value": f"{stage['apiId']}:{stage['stage']}"}],
        )
        api.delete_usage_plan(usagePlanId=plan)


def test_a_key_that_only_reads_is_denied(local_stack: LocalStack) -> None:
    """PermissionDeniedError, which names the scope; the models may still be listed."""
    key = _new_key(local_stack, "read")
    with OpenAI(base_url=f"{local_stack.url}/v1", api_key=key) as reader:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            reader.chat.completions.create(model="echo", messages=[{"role": "user", "content": "x"}])
        assert caught.value.code == "insufficient_scope"
        assert "infer" in caught.value.message
        assert reader.models.list().data


def test_too_many_requests_are_a_rate_limit_error(local_stack: LocalStack) -> None:
    """From API Gateway itself, with the SDK's class, OpenAI's code and the time to wait."""
    key = _new_key(local_stack, "infer,read")
    with (
        _slow_plan(local_stack, key),
        OpenAI(base_url=f"{local_stack.url}/v1", api_key=key, max_retries=0) as hasty,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        _ = [hasty.models.list() for _ in range(5)]
    assert caught.value.code == "rate_limit_exceeded"
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert caught.value.response.headers["x-ratelimit-reset-requests"] == "1s"
    assert caught.value.request_id


def test_the_sdk_waits_and_tries_again_by_itself(local_stack: LocalStack) -> None:
    """A 429 of API Gateway and its `Retry-After` are enough: the caller sees answers, only later."""
    key = _new_key(local_stack, "infer,read")
    with (
        _slow_plan(local_stack, key, rate=0.4),
        OpenAI(base_url=f"{local_stack.url}/v1", api_key=key, max_retries=5, timeout=120) as patient,
    ):
        answers = [patient.models.with_raw_response.list() for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.retries_taken for answer in answers) > 0
