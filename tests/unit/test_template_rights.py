"""Every role allows what its function's code calls, and nothing that it never calls."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest

from tests.unit.called_operations import Reach
from tests.unit.template_document import as_list, folder_of, functions, resources, settings_class, statements, target

type Right = tuple[str, str]
"""An action, and for tables what it is done to: ``("dynamodb:Query", "Jobs/index/open")``."""

ACTIONS = {
    "bedrock-runtime:Converse": ["bedrock:InvokeModel"],
    "bedrock-runtime:ConverseStream": ["bedrock:InvokeModelWithResponseStream"],
    "lambda:Invoke": ["lambda:InvokeFunction"],
    "s3:CopyObject": ["s3:GetObject", "s3:PutObject"],
    "s3:HeadObject": ["s3:GetObject"],
    "s3:ListObjectsV2": ["s3:ListBucket"],
    "s3:upload_fileobj": ["s3:PutObject", "s3:AbortMultipartUpload"],
    # Both are created with tags.
    "sagemaker:CreateEndpoint": ["sagemaker:CreateEndpoint", "sagemaker:AddTags"],
    "sagemaker:CreateTransformJob": ["sagemaker:CreateTransformJob", "sagemaker:AddTags"],
}
"""What IAM asks for where that is not the operation's own name."""

SENT_TO = {"sqs:SendMessage": "AWS::SQS::Queue", "lambda:InvokeFunction": "AWS::Serverless::Function"}
"""What the function is told of as variables, or its failed events go to."""

NEVER_ASKED = {
    ("CapacityFunction", "dynamodb:PutItem", "Ledger"): "handing a job on changes counters and starts no call of a run",
    ("CapacityFunction", "sagemaker:ListTransformJobs", ""): "transform jobs neither sleep nor have a size",
    ("CapacityFunction", "sagemaker:DescribeTransformJob", ""): "as above",
    ("CapacityFunction", "sagemaker:StopTransformJob", ""): "as above; the brakes stop them",
}
"""Calls that the code of a function holds and that it never comes to, with the reason."""

FOR_OTHERS = {
    # What Lambda and X-Ray do with the role.
    *("logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"),
    # test_who_reads_objects_can_tell_that_one_is_gone
    "s3:ListBucket",
    # test_only_who_may_call_endpoints_may_do_so_by_token
    "sagemaker:CallWithBearerToken",
    # test_whoever_takes_endpoints_down_may_do_all_of_it
    *("application-autoscaling:DeregisterScalableTarget", "application-autoscaling:DeleteScalingPolicy"),
    *("cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"),
    "sagemaker:DescribeEndpointConfig",
}
"""Rights that are used on a function's behalf."""


@cache
def _needed(logical_id: str) -> dict[Right, str]:
    """What the function's code may call, each with the way by which it comes there; keys: `test_template_keys`."""
    folder = folder_of(logical_id)
    told = settings_class(folder).fields()
    reach = Reach.of(folder)
    found = {
        (f"dynamodb:{call.action}", call.table + (call.index and f"/index/{call.index}")): way
        for call, way in reach.table_calls().items()
        # Other functions wire the same parts with a table; here there is none.
        if f"table_{call.table.lower()}" in told
    }
    for (service, operation), way in reach.ways().items():
        if operation == "Invoke" and not any(name.endswith("_function") for name in told):
            continue
        name = f"{service}:{operation}"
        found |= {(action, ""): way for action in ACTIONS.get(name, [name.replace("-runtime", "")])}
    return {right: way for right, way in found.items() if (logical_id, *right) not in NEVER_ASKED}


def _rights(document: dict[str, Any]) -> Iterator[Right]:
    """What the statements of a policy allow."""
    for entry in document["Statement"]:
        statement = entry["Fn::If"][1] if "Fn::If" in entry else entry
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                if action.startswith("dynamodb:"):
                    for resource in as_list(statement["Resource"]):
                        (name,) = resource.values()
                        yield action, re.sub(r"[${}]|Table\.Arn", "", name)
                else:
                    yield action, ""


def _policies() -> dict[str, tuple[dict[str, Any], list[str]]]:
    """The policies of the functions' roles by name, with the functions that have them."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for logical_id, function in functions().items():
        role = resources()[target(function["Properties"]["Role"])]["Properties"]
        shared = [target(policy) for policy in role["ManagedPolicyArns"]]
        documents = {name: resources()[name]["Properties"]["PolicyDocument"] for name in shared}
        documents |= {policy["PolicyName"]: policy["PolicyDocument"] for policy in role.get("Policies", ())}
        for name, document in documents.items():
            found.setdefault(name, (document, []))[1].append(logical_id)
    return found


def _covers(allowed: Right, needed: Right) -> bool:
    return allowed[0] == needed[0] and fnmatchcase(needed[1], allowed[1])


@pytest.mark.parametrize("logical_id", functions())
def test_a_role_allows_what_its_function_calls(logical_id: str) -> None:
    """What a role lacks would fail on AWS only: the emulator checks no rights."""
    allowed = {
        right for document, holders in _policies().values() if logical_id in holders for right in _rights(document)
    }
    missing = {
        needed: way
        for needed, way in _needed(logical_id).items()
        if not any(_covers(right, needed) for right in allowed)
    }
    assert missing == {}


@pytest.mark.parametrize("logical_id", functions())
@pytest.mark.parametrize(("action", "kind"), SENT_TO.items())
def test_a_role_opens_the_queues_and_functions_that_its_function_was_told_of(
    logical_id: str, action: str, kind: str
) -> None:
    """The checks above and below know the action only: to send to another queue than its own would not do."""
    properties = functions()[logical_id]["Properties"]
    told = {target(value) for value in properties.get("Environment", {}).get("Variables", {}).values()}
    failures = properties.get("EventInvokeConfig", {}).get("DestinationConfig", {}).get("OnFailure", {})
    told |= {target(failures.get("Destination"))}
    open_to_it = {
        target(resource)
        for name, statement in statements()
        if name == target(properties["Role"]) and action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }
    if (action, "") in _needed(logical_id) or open_to_it:
        assert open_to_it == told & set(resources(kind))


@pytest.mark.parametrize("name", _policies())
def test_a_policy_allows_nothing_that_is_never_called(name: str) -> None:
    """A right that nobody uses helps only whoever breaks in."""
    document, holders = _policies()[name]
    needed = {right for holder in holders for right in _needed(holder)}
    fails_aside = any("EventInvokeConfig" in functions()[holder]["Properties"] for holder in holders)
    used_for_them = FOR_OTHERS | ({"sqs:SendMessage"} if fails_aside else set())
    unused = {
        right
        for right in _rights(document)
        if right[0] not in used_for_them and not any(_covers(right, one) for one in needed)
    }
    assert unused == set()


def test_what_is_never_asked_is_in_the_code() -> None:
    """An exception that nothing stands behind any more has to go."""
    for logical_id, action, about in NEVER_ASKED:
        reach = Reach.of(folder_of(logical_id))
        calls = {f"dynamodb:{call.action}" for call in reach.table_calls() if call.table == about}
        assert action in calls | {f"{service}:{operation}" for service, operation in reach.operations}
