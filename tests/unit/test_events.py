"""The samples in `events/` are what AWS sends, and there is one for every trigger in the template."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayProxyEventModel,
    EventBridgeModel,
    S3Model,
    SnsModel,
    SqsModel,
)
from pydantic import BaseModel

from tests.unit.template_document import CALLED, ROOT, events_of, folder_of, functions, resources, sent_events, target

SAMPLES = sorted((ROOT / "events").glob("*/*.json"))
Trigger = tuple[str, str, str]


def _read(sample: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(sample.read_text())
    return event


def _kind(event: Mapping[str, Any]) -> str:
    if event.get("type") == "REQUEST":
        return "Authorizer"
    if "httpMethod" in event:
        return "Api"
    if "Records" in event:
        return "SNS" if event["Records"][0].get("EventSource") == "aws:sns" else "SQS"
    if "source" not in event:
        return "Function"
    return "Schedule" if event["source"] == "aws.events" else "EventBridgeRule"


def _is_our_own(event: Mapping[str, Any]) -> bool:
    """Whether a schedule sends this in place of EventBridge's own event, or another function of the stack does."""
    return _kind(event) == "Function" or (_kind(event) == "Schedule" and "task" in event)


def _matches(pattern: Any, value: Any) -> bool:
    """EventBridge's pattern language, as far as the template uses it."""
    if isinstance(pattern, Mapping):
        return isinstance(value, Mapping) and all(_matches(inner, value.get(name)) for name, inner in pattern.items())
    return any(_matches_one(candidate, value) for candidate in pattern)


def _matches_one(candidate: Any, value: Any) -> bool:
    if isinstance(candidate, Mapping) and "prefix" in candidate:
        return isinstance(value, str) and value.startswith(candidate["prefix"])
    if isinstance(candidate, Mapping):  # a reference to a resource, whose name is only known on AWS
        return isinstance(value, str) and target(candidate).lower() in value
    return bool(candidate == value)


def _meant_for(trigger: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether AWS would send this event for this trigger."""
    kind, properties = trigger["Type"], trigger["Properties"]
    if kind != _kind(event):
        return False
    if kind == "Api":
        return (event["httpMethod"].lower(), event["resource"]) == (properties["Method"], properties["Path"])
    if kind == "SQS":
        queue = target(properties["Queue"])
        return all(f"-{queue}-" in record["eventSourceARN"] for record in event["Records"])
    if kind == "SNS":
        topic = target(properties["Topic"])
        return all(f"-{topic}-" in record["Sns"]["TopicArn"] for record in event["Records"])
    if kind == "EventBridgeRule":
        return _matches(properties["Pattern"], event)
    return "Input" not in properties or bool(json.loads(properties["Input"]) == event)


def _model(sample: Path) -> type[BaseModel]:
    models: dict[str, type[BaseModel]] = {
        "Api": APIGatewayProxyEventModel,
        "SQS": SqsModel,
        "SNS": SnsModel,
        "Schedule": EventBridgeModel,
        "EventBridgeRule": EventBridgeModel,
    }
    return models[_kind(_read(sample))]


def _name(sample: Path) -> str:
    return f"{sample.parent.name}/{sample.stem}"


AWS_SAMPLES = [s for s in SAMPLES if s.parent.name != "authorizer" and not _is_our_own(_read(s))]


@pytest.mark.parametrize("sample", AWS_SAMPLES, ids=_name)
def test_a_sample_has_the_shape_of_its_service(sample: Path) -> None:
    """Powertools' model of the event takes the sample."""
    event = _read(sample)
    if _kind(event) == "Api":
        context = event["requestContext"]["authorizer"]
        assert all(isinstance(context[name], str) for name in ("tenant", "key_id", "team", "scopes"))
        # Powertools knows `scopes` as Cognito's list; a Lambda authorizer can only pass texts.
        del context["scopes"]
    _model(sample).model_validate(event)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.parent.name == "authorizer"], ids=_name)
def test_an_authorizer_sample_has_the_shape_of_a_request(sample: Path) -> None:
    """It names the method, in an ARN as well as in fields, and has headers under both spellings."""
    event = _read(sample)
    arn = event["methodArn"]
    assert arn.startswith("arn:aws:execute-api:")
    assert arn.endswith(f"/prod/{event['httpMethod']}{event['path']}")
    assert {name: values[-1] for name, values in event["multiValueHeaders"].items()} == event["headers"]


@pytest.mark.parametrize("sample", SAMPLES, ids=_name)
def test_every_sample_belongs_to_a_trigger(sample: Path) -> None:
    """Nothing is kept for a trigger that has gone."""
    folder, event = sample.parent.name, _read(sample)
    if _kind(event) == "Authorizer":
        assert folder == "authorizer"
        return
    logical_id = next(name for name in functions() if folder_of(name) == folder)
    if _kind(event) == "Function":
        assert logical_id in sent_events() | CALLED
        return
    assert [name for name, trigger in events_of(logical_id).items() if _meant_for(trigger, event)]


TRIGGERS = [(logical_id, name) for logical_id in functions() for name in events_of(logical_id)]


@pytest.mark.parametrize(("logical_id", "name"), TRIGGERS, ids=[f"{f}.{n}" for f, n in TRIGGERS])
def test_every_trigger_has_a_sample(logical_id: str, name: str) -> None:
    """Each way in which a function is called can be tried on its own."""
    trigger = events_of(logical_id)[name]
    samples = (ROOT / "events" / folder_of(logical_id)).glob("*.json")
    assert [sample.stem for sample in samples if _meant_for(trigger, _read(sample))]


@pytest.mark.parametrize("logical_id", sorted(sent_events()))
def test_every_event_between_functions_has_a_sample(logical_id: str) -> None:
    """What one function sends another can be tried on its own, too."""
    samples = (ROOT / "events" / folder_of(logical_id)).glob("*.json")
    assert [sample.stem for sample in samples if _kind(_read(sample)) == "Function"]


def test_sagemakers_message_inside_sns_is_json_with_the_documented_fields() -> None:
    """Success and failure are there, and a failure without a response."""
    messages = [
        json.loads(_read(s)["Records"][0]["Sns"]["Message"]) for s in SAMPLES if s.parent.name == "async_completion"
    ]
    assert {message["eventName"] for message in messages} == {"InferenceResult", "TestNotification"}
    results = [message for message in messages if message["eventName"] == "InferenceResult"]
    seen = {(message["invocationStatus"], "responseParameters" in message) for message in results}
    assert seen == {("Completed", True), ("Failed", True), ("Failed", False)}


def test_s3s_message_inside_sns_has_the_shape_of_its_service() -> None:
    """Powertools' model of S3's notification takes it, and the prefix is the one that the bucket tells of."""
    sample = _read(ROOT / "events" / "batch_dispatch" / "file_dropped.json")
    message = json.loads(sample["Records"][0]["Sns"]["Message"])
    S3Model.model_validate(message)
    (notice,) = resources()["Bucket"]["Properties"]["NotificationConfiguration"]["TopicConfigurations"]
    (rule,) = notice["Filter"]["S3Key"]["Rules"]
    assert message["Records"][0]["s3"]["object"]["key"].startswith(rule["Value"])


def test_samples_hold_no_real_secret() -> None:
    """Keys in samples are plainly made up."""
    for sample in SAMPLES:
        text = sample.read_text()
        assert text.count("tg_") == text.count("tg_example000")
