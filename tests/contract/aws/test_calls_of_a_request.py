"""How many AWS calls a request makes, counted on the wire: each one is time, money and a way to fail."""

import json
import subprocess
import sys
from copy import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from functions.gateway import app
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import proxy_event
from tollgate.adapters.documents.catalogue import catalogue_document
from tollgate.adapters.dynamodb.values import to_attributes
from tollgate.api.gateway_routes import GatewayApi
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind

ROOT = Path(__file__).parents[3]
LARGE = "x" * 300_000


def _operation(request: Any) -> str:
    target = request.headers.get("x-amz-target")
    if target is not None:
        return str(target).partition(".")[2]
    if request.target.endswith("/invocations"):
        return "InvokeEndpoint"
    return f"S3 {request.method}"


def _item(values: dict[str, Any]) -> bytes:
    return json.dumps({"Item": to_attributes(values)}).encode()


def _aws(answer: Any, *budgets: Budget) -> Any:
    """An AWS with a catalogue, a key, and a model that says which language it is."""
    catalogue = _item({"document": json.dumps(catalogue_document(replace(make_catalogue(), budgets=budgets)))})
    key = {"key_id": "k", "tenant": "acme", "team": "", "scopes": ["infer"], "created_at": "2026-03-01T12:00:00+00:00"}

    def reply(request: Any) -> Any:
        if b'"current"' in request.body:
            return answer(body=_item({"version": 1}))
        if b'"version#' in request.body:
            return answer(body=catalogue)
        if b'"key#' in request.body:
            return answer(body=_item(key))
        if _operation(request) == "InvokeEndpoint":
            return answer(body=b'{"label": "en"}')
        if _operation(request) == "SendMessage":
            return answer(body=b'{"MessageId":"m","MD5OfMessageBody":""}')
        return answer(body=b'{"Items":[],"Count":0}' if _operation(request) == "Query" else b"{}")

    return reply


def _environment(url: str) -> dict[str, str]:
    return {
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "TABLE_JOBS": "jobs",
        "TABLE_CACHE": "cache",
        "TABLE_LEDGER": "ledger",
        "TABLE_REGISTRY": "registry",
        "BUCKET": "bucket",
        "ASYNC_QUEUE_URL": f"{url}/async",
        "BATCH_QUEUE_URL": f"{url}/batch",
    }


@pytest.fixture
def gateway(recorder: Any, answer: Any, monkeypatch: pytest.MonkeyPatch) -> GatewayApi:
    """The gateway as it is deployed, after its first request on each road."""
    environment = _environment(recorder.url)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    recorder.otherwise = _aws(answer)
    service = app.build(app.GatewaySettings.load(environment))
    for priority in ("high", "medium", "low"):
        _infer(service, priority)
    recorder.requests.clear()
    return service


def _infer(service: GatewayApi, priority: str, *, value: Any = "hello", headers: dict[str, str] | None = None) -> int:
    body = json.dumps({"model": "echo", "input": value, "priority": priority})
    status = app.handle(proxy_event("POST /v1/inferences", body, headers=headers), service)["statusCode"]
    assert isinstance(status, int)
    return status


@pytest.mark.parametrize(
    ("priority", "status", "calls"),
    [
        ("high", 200, ["InvokeEndpoint"]),
        ("medium", 202, ["PutItem", "SendMessage"]),
        ("low", 202, ["PutItem", "SendMessage"]),
    ],
)
def test_calls_of_a_warm_request(
    gateway: GatewayApi, recorder: Any, priority: str, status: int, calls: list[str]
) -> None:
    """One for an answer, two for a job."""
    assert _infer(gateway, priority) == status
    assert [_operation(request) for request in recorder.requests] == calls


@pytest.mark.parametrize(
    ("priority", "kinds", "calls"),
    [
        ("high", 1, ["UpdateItem", "InvokeEndpoint", "UpdateItem"]),
        ("high", 3, ["TransactWriteItems", "InvokeEndpoint", "TransactWriteItems"]),
        ("medium", 1, ["TransactWriteItems", "SendMessage"]),
        ("low", 3, ["TransactWriteItems", "SendMessage"]),
    ],
)
def test_calls_of_a_request_that_budgets_count(
    recorder: Any, answer: Any, monkeypatch: pytest.MonkeyPatch, *, priority: str, kinds: int, calls: list[str]
) -> None:
    """Two more for an answer; none more for a job, whose record takes the hold along."""
    kept = (ScopeKind.KEY, ScopeKind.TEAM, ScopeKind.MODEL)[:kinds]
    recorder.otherwise = _aws(answer, *(Budget(kind, "*", BudgetPeriod.DAY, Decimal(1)) for kind in kept))
    environment = _environment(recorder.url)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    service = app.build(app.GatewaySettings.load(environment))
    for each in ("high", "medium", "low"):
        _infer(service, each)
    recorder.requests.clear()
    assert _infer(service, priority) in {200, 202}
    assert [_operation(request) for request in recorder.requests] == calls


def test_calls_of_an_idempotent_request(gateway: GatewayApi, recorder: Any) -> None:
    """The claim before, the answer after."""
    assert _infer(gateway, "high", headers={"Idempotency-Key": "a"}) == 200
    assert [_operation(request) for request in recorder.requests] == ["PutItem", "InvokeEndpoint", "PutItem"]


def test_calls_of_a_large_job(gateway: GatewayApi, recorder: Any) -> None:
    """Its input lies in the bucket."""
    assert _infer(gateway, "medium", value=LARGE) == 202
    assert [_operation(request) for request in recorder.requests] == ["S3 PUT", "PutItem", "SendMessage"]


def test_calls_that_many_requests_share(recorder: Any, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request reads the registry and writes its duration; those of the next seconds do neither."""
    environment = _environment(recorder.url)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    recorder.otherwise = _aws(answer)
    service = app.build(app.GatewaySettings.load(environment))
    for _ in range(5):
        assert _infer(service, "high") == 200
    made = [_operation(request) for request in recorder.requests]
    assert made[:7] == ["GetItem", "GetItem", "Query", "Query", "Query", "InvokeEndpoint", "UpdateItem"]
    assert made[7:] == ["InvokeEndpoint"] * 4


@pytest.mark.parametrize(
    ("function", "events"),
    [
        (
            "gateway",
            [
                proxy_event("POST /v1/inferences", json.dumps({"model": "echo", "input": LARGE, "priority": priority}))
                for priority in ("high", "medium", "low")
            ],
        ),
        ("jobs", [proxy_event("GET /v1/inferences/{id}", path={"id": "inf_1"}), proxy_event("GET /v1/inferences")]),
        ("authorizer", [{"methodArn": "a/b", "headers": {"x-api-key": "tg_1"}}]),
    ],
)
def test_no_request_imports_boto3(recorder: Any, answer: Any, function: str, events: list[Any]) -> None:
    """Not even one whose input goes to the bucket: a first request must not pay what the start saved."""
    recorder.otherwise = _aws(answer)
    program = (
        "import json, sys\n"
        f"import functions.{function}.app as app\n"
        "answers = [app.lambda_handler(event, None) for event in json.load(sys.stdin)]\n"
        "print(json.dumps([answer.get('statusCode', 200) for answer in answers]))\n"
        "print(*{'boto3', 'botocore', 's3transfer', 'aws_xray_sdk'} & set(sys.modules))"
    )
    done = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-c", program],
        input=json.dumps(events),
        env={
            **_environment(recorder.url),
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "PYTHONPATH": f"{ROOT / 'layers' / 'tollgate'}:{ROOT}",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    *_, statuses, imported = done.stdout.split("\n")[:-1]
    assert all(status < 500 for status in json.loads(statuses))
    assert imported == ""
    if function == "gateway":
        assert "S3 PUT" in [_operation(request) for request in recorder.requests]
