"""Which function answers chats and completions, and how, depends on one parameter."""

import os
from typing import Any

import pytest

from tests.unit.template_document import ROOT, functions, resources, template

ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/responses")


def _integration(path: str) -> dict[str, Any]:
    api = resources()["Api"]["Properties"]
    found: dict[str, Any] = api["DefinitionBody"]["paths"][path]["post"]["x-amazon-apigateway-integration"]
    return found


@pytest.mark.parametrize("path", ROUTES)
def test_a_route_streams_or_answers_whole(path: str) -> None:
    """Mode, time limit, operation and function change together; API Gateway refuses a mixture."""
    integration = _integration(path)
    assert integration["responseTransferMode"] == {"Fn::If": ["StreamsAnswers", "STREAM", "BUFFERED"]}
    assert integration["timeoutInMillis"] == {"Fn::If": ["StreamsAnswers", 900_000, 29_000]}
    condition, streams, answers = integration["uri"]["Fn::If"]
    assert condition == "StreamsAnswers"
    for (text, names), version, operation, function in (
        (streams["Fn::Sub"], "2021-11-15", "response-streaming-invocations", "StreamingFunction"),
        (answers["Fn::Sub"], "2015-03-31", "invocations", "GatewayFunction"),
    ):
        assert text.endswith(f":lambda:path/{version}/functions/${{Arn}}/{operation}")
        assert names == {"Arn": {"Ref": f"{function}.Alias"}}


def test_whoever_answers_may_be_called() -> None:
    """SAM grants that for its own events only."""
    granted = resources("AWS::Lambda::Permission")
    assert {(p["Condition"], p["Properties"]["FunctionName"]["Ref"]) for p in granted.values()} >= {
        ("StreamsAnswers", "StreamingFunction.Alias"),
        ("AnswersWhole", "GatewayFunction.Alias"),
    }
    assert template()["Conditions"]["AnswersWhole"] == {"Fn::Not": [{"Condition": "StreamsAnswers"}]}


def test_a_new_mode_reaches_the_stage() -> None:
    """SAM does not look into conditions when it decides whether to deploy."""
    assert resources()["Api"]["Properties"]["AlwaysDeploy"] is True


def test_a_flood_of_streams_is_held_back_as_one_of_whole_answers() -> None:
    """The ceiling counts for whichever function answers."""
    gateway, streaming = (functions()[name]["Properties"] for name in ("GatewayFunction", "StreamingFunction"))
    for limit in ("ReservedConcurrentExecutions", "MemorySize", "Layers"):
        assert streaming[limit] == gateway[limit]


def test_lambda_starts_the_wrapper() -> None:
    """It is in the package and may be run."""
    variables = functions()["StreamingFunction"]["Properties"]["Environment"]["Variables"]
    name = variables["AWS_LAMBDA_EXEC_WRAPPER"].removeprefix("/var/task/")
    assert os.access(ROOT / "functions" / "streaming" / name, os.X_OK)


def test_streams_are_off_unless_asked_for() -> None:
    """Nothing of them was tried on AWS, and the emulator cannot do them."""
    assert template()["Parameters"]["StreamingMode"]["Default"] == "buffered"


def test_streamed_requests_are_in_usage() -> None:
    """Where the streaming function answers, its log is read beside the gateway's."""
    group = {"Fn::If": ["StreamsAnswers", {"Ref": "StreamingLogGroup"}, ""]}
    assert (
        functions()["CostReconcileFunction"]["Properties"]["Environment"]["Variables"]["STREAMING_LOG_GROUP"] == group
    )
    (policy,) = resources()["CostReconcileRole"]["Properties"]["Policies"]
    (readable,) = (
        statement["Resource"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == ["logs:FilterLogEvents"]
    )
    assert {"Fn::If": ["StreamsAnswers", {"Fn::GetAtt": "StreamingLogGroup.Arn"}, {"Ref": "AWS::NoValue"}]} in readable
