"""Nothing that can cost money goes around the one admission point: every route and every trigger of the template."""

from copy import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tests.unit.template_document import ROOT, as_list, events_of, functions, statements, target
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import Priority

SPENT = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal("0.000001"))
HELLO = {"model": "echo", "input": "hello"}

FREE = {
    ("post", "/v1/route"): "only says what would be done",
    ("post", "/v1/responses/{id}/cancel"): "calls a job off",
    ("post", "/v1/cache/lookup"): "looks, and never runs; tests/unit/functions/test_cache.py",
    ("put", "/v1/cache/{namespace}/{key}"): "runs no model; its write is paid for, see unit/functions/test_cache.py",
    ("post", "/v1/feedback"): "runs no model",
    ("post", "/v1/files"): "keeps a file",
    ("post", "/v1/uploads"): "begins to keep a file",
    ("post", "/v1/uploads/{id}/parts"): "keeps a part of a file",
    ("post", "/v1/uploads/{id}/complete"): "keeps a file",
    ("post", "/v1/uploads/{id}/cancel"): "keeps no file",
    ("post", "/v1/batches"): "asks the budgets when the lines are known, see test_file_batches",
    ("post", "/v1/batches/{id}/cancel"): "calls a batch off",
}

MAY_WAKE = {"FilesBatchesFunction": {"sqs:SendMessage"}}
"""Its messages have a batch taken on its way, which begins with the budgets."""


STARTS_MODELS = {
    "sagemaker:InvokeEndpoint",
    "sagemaker:InvokeEndpointWithResponseStream",
    "sagemaker:InvokeEndpointAsync",
    "sagemaker:CreateTransformJob",
    "bedrock:InvokeModel",
}

TRIGGERS = {
    ("DeferredFunction", "SQS"): "unit/test_budgets_at_the_gateway.py::test_a_refused_job_is_not_stored",
    ("AsyncSubmitFunction", "SQS"): "unit/test_budgets_at_the_gateway.py::test_a_refused_job_is_not_stored",
    ("BatchDispatchFunction", "SQS"): "unit/test_file_batches.py::test_a_budget_with_nothing_left_refuses_every_line",
    ("BatchDispatchFunction", "Schedule"): "unit/test_budgets_at_the_gateway.py::test_a_refused_job_is_not_stored",
    ("BatchDispatchFunction", "SNS"): (
        "unit/test_budgets_of_files.py::test_a_file_that_does_not_fit_is_refused_before_it_runs"
    ),
    ("BatchCompletionFunction", "EventBridgeRule"): (
        "unit/test_budgets_of_files.py::test_lines_that_run_again_are_charged_with_the_file"
    ),
    ("SweeperFunction", "Schedule"): (
        "unit/test_budgets_of_files.py::test_lines_that_run_again_are_charged_with_the_file"
    ),
}
"""What sets a function going that can start a model, and the test that shows that budgets stand before it. Jobs hold
their money before they are written down, so whoever takes one from a queue has it admitted already."""


def _gateway() -> FakeGateway:
    """With a budget that has nothing left."""
    return FakeGateway(catalogue=replace(make_catalogue(), budgets=(SPENT,)))


def _writing_routes() -> list[tuple[str, tuple[str, str]]]:
    """Every route of the template that is not only read, with its function."""
    return [
        (name, (event["Properties"]["Method"], event["Properties"]["Path"]))
        for name in functions()
        for event in events_of(name).values()
        if event["Type"] == "Api" and event["Properties"]["Method"] not in {"get", "head", "options"}
    ]


def _costly_routes() -> list[tuple[str, str]]:
    return [route for _, route in _writing_routes() if route[0] != "delete" and route not in FREE]


STREAMED = {"/v1/chat/completions", "/v1/completions"}

BODIES: dict[str, dict[str, Any]] = {
    "/v1/inferences": {"input": "hello"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/v1/responses": {"input": "hello"},
}


@pytest.mark.parametrize(
    ("method", "path", "wish"),
    [
        *((method, path, {}) for method, path in _costly_routes()),
        *(("post", path, {"stream": True}) for path in sorted(STREAMED)),
    ],
)
@pytest.mark.parametrize("priority", list(Priority))
def test_every_costly_route_of_the_template_passes_admission(
    method: str, path: str, wish: dict[str, Any], priority: Priority
) -> None:
    """With a budget that has nothing left, no backend is called, nothing is stored and nothing is queued."""
    gateway = _gateway()
    model = replace(gateway.catalogues.catalogue.models["echo"], default_priority=priority)
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models={"echo": model})
    answer = gateway.call(f"{method.upper()} {path}", {"model": "echo", **BODIES[path], **wish})
    assert answer.status == 429, answer.body
    assert document(answer)["error"]["code"] == "insufficient_quota"
    assert gateway.realtime.calls == []
    assert gateway.jobs.jobs == {}
    assert gateway.async_queue.bodies == gateway.batch_queue.bodies == []


def test_a_preview_of_the_route_costs_nothing() -> None:
    """It answers although nothing is left, and starts nothing."""
    gateway = _gateway()
    assert gateway.call("POST /v1/route", HELLO).status == 200
    assert gateway.realtime.calls == []
    assert gateway.jobs.jobs == {}
    assert gateway.ledger.writes == 0


# The cache function also makes stale answers anew, through the same admission; its routes start nothing.
@pytest.mark.parametrize(
    "function",
    sorted({name for name, _ in _writing_routes()} - {"GatewayFunction", "StreamingFunction", "CacheFunction"}),
)
def test_other_functions_with_routes_can_start_nothing(function: str) -> None:
    """What is free because it only calls off may not call a model or queue work."""
    role = target(functions()[function]["Properties"]["Role"])
    allowed = {a for name, statement in statements() if name == role for a in as_list(statement["Action"])}
    assert not {
        action for action in allowed if action.startswith(("sagemaker:", "sqs:Send", "bedrock:"))
    } - MAY_WAKE.get(function, set())


def test_every_trigger_that_can_start_a_model_has_its_test() -> None:
    """A new queue, schedule or event in front of a function that may invoke models does not pass unnoticed."""
    found = set()
    for name, function in functions().items():
        role = target(function["Properties"]["Role"])
        allowed = {a for owner, statement in statements() if owner == role for a in as_list(statement["Action"])}
        if allowed & STARTS_MODELS:
            found |= {(name, event["Type"]) for event in events_of(name).values() if event["Type"] != "Api"}
    assert found == set(TRIGGERS)
    for test in TRIGGERS.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / "tests" / Path(file)).read_text(), test
