"""Models, endpoints and components through the control plane."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.sagemaker_standin.conftest import World
from tests.integration.sagemaker_standin.process import until

pytestmark = pytest.mark.integration


def code_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    code: str = raised.value.response["Error"]["Code"]
    return code


def test_an_endpoint_lives_from_creating_to_gone(world: World) -> None:
    """Creating, InService, Updating, InService, Deleting, not found: botocore's own waiters see each step."""
    name, model = world.bucket, world.model(STANDIN_START_SECONDS="1.5")
    variant = {"VariantName": "main", "ModelName": model, "InitialInstanceCount": 2, "InstanceType": "ml.m5.large"}
    world.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    created = world.sagemaker.create_endpoint(
        EndpointName=name, EndpointConfigName=name, Tags=[{"Key": "team", "Value": "a"}]
    )
    seen = world.sagemaker.describe_endpoint(EndpointName=name)
    assert seen["EndpointStatus"] == "Creating"
    assert code_of(world.runtime.invoke_endpoint, EndpointName=name, Body=b"{}") == "ValidationError"
    world.sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
    )
    [summary] = world.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"]
    assert (summary["CurrentInstanceCount"], summary["DesiredInstanceCount"]) == (2, 2)
    tags = world.sagemaker.list_tags(ResourceArn=created["EndpointArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "a"}]

    wish = [{"VariantName": "main", "DesiredInstanceCount": 3}]
    world.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wish)
    updating = world.sagemaker.describe_endpoint(EndpointName=name)
    assert updating["EndpointStatus"] == "Updating"
    [summary] = updating["ProductionVariants"]
    assert (summary["CurrentInstanceCount"], summary["DesiredInstanceCount"]) == (2, 3)
    assert code_of(world.sagemaker.delete_endpoint, EndpointName=name) == "ValidationException"
    world.wait(name)
    world.sagemaker.delete_endpoint(EndpointName=name)
    world.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    # What was refused does not count.
    orders = {"CreateEndpoint": 1, "UpdateEndpointWeightsAndCapacities": 1, "DeleteEndpoint": 1}
    assert world.standin.admin("GET", "state")["actions"][name] == orders


def test_the_bus_hears_of_an_endpoints_life(world: World) -> None:
    """Creating, in service, deleting: one event each, in order, to rules on aws.sagemaker."""
    detail = {"EndpointName": [{"prefix": world.bucket}]}
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Endpoint State Change"], "detail": detail}
    world.events.put_rule(Name=world.bucket, EventPattern=json.dumps(pattern))
    world.events.put_targets(Rule=world.bucket, Targets=[{"Id": "q", "Arn": world.queue_arn}])
    name, variant = world.bucket, {"VariantName": "main", "ModelName": world.model(), "InitialInstanceCount": 1}
    world.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    world.sagemaker.create_endpoint(
        EndpointName=name, EndpointConfigName=name, Tags=[{"Key": "InferenceType", "Value": "realtime"}]
    )
    world.wait(name)
    world.sagemaker.delete_endpoint(EndpointName=name)
    events = world.messages(3)
    assert [event["detail"]["EndpointStatus"] for event in events] == ["CREATING", "IN_SERVICE", "DELETING"]
    assert events[1]["detail"]["Tags"] == {"InferenceType": "realtime"}
    assert events[1]["detail"]["ProductionVariants"][0]["CurrentInstanceCount"] == 1


def test_an_update_serves_on_until_the_new_is_ready(world: World) -> None:
    """During UpdateEndpoint the old configuration answers; a failed one leaves it in place and says why."""
    endpoint = world.endpoint(world.model())
    broken = world.model("tollgate/unknown")
    variant = {"VariantName": "main", "ModelName": broken, "InitialInstanceCount": 1}
    config = f"{endpoint}-broken"
    world.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
    world.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    body = json.dumps({"inputs": "a b"})
    world.invoke(endpoint, body)
    described = world.wait(endpoint)
    assert "tollgate/unknown" in described["FailureReason"]
    world.invoke(endpoint, body)


def test_creation_fails_without_image_or_capacity(world: World) -> None:
    """An unknown image, and instances that do not come, end in Failed with a reason."""
    for image, fault, word in (("tollgate/unknown", None, "image"), ("tollgate/echo", "capacity", "Insufficient")):
        name = f"{world.bucket}-{word.lower()}"
        if fault:
            world.standin.break_(op="start", endpoint=name, kind=fault)
        variant = {"VariantName": "main", "ModelName": world.model(image), "InitialInstanceCount": 1}
        world.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        world.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        assert word in world.wait(name, "Failed")["FailureReason"]


def test_only_async_endpoints_go_to_zero(world: World) -> None:
    """A real-time endpoint refuses zero instances."""
    wish = [{"VariantName": "main", "DesiredInstanceCount": 0}]
    endpoint = world.endpoint(world.model())
    scale = world.sagemaker.update_endpoint_weights_and_capacities
    assert code_of(scale, EndpointName=endpoint, DesiredWeightsAndCapacities=wish) == "ValidationException"


def test_what_is_unknown_or_taken_is_refused_as_aws_does(world: World) -> None:
    """Codes by action: ValidationException for most, ResourceNotFound and ResourceInUse where the model has them."""
    model = world.model()
    assert code_of(world.sagemaker.describe_endpoint, EndpointName="none") == "ValidationException"
    assert code_of(world.sagemaker.describe_model, ModelName="none") == "ValidationException"
    assert code_of(world.sagemaker.delete_endpoint_config, EndpointConfigName="none") == "ValidationException"
    assert code_of(world.sagemaker.describe_transform_job, TransformJobName="none") == "ResourceNotFound"
    again = {"ModelName": model, "PrimaryContainer": {"Image": "tollgate/echo"}, "ExecutionRoleArn": "arn:aws:iam::0:r"}
    assert code_of(world.sagemaker.create_model, **again | {"ExecutionRoleArn": "r" * 20}) == "ValidationException"
    assert code_of(world.sagemaker.list_domains) == "UnknownOperationException"


def test_listings_come_in_pages(world: World) -> None:
    """MaxResults cuts, NextToken goes on, and botocore's paginator finds everything once."""
    names = {world.endpoint(world.model()) for _ in range(3)}
    pages = list(world.sagemaker.get_paginator("list_endpoints").paginate(PaginationConfig={"PageSize": 2}))
    listed = [endpoint["EndpointName"] for page in pages for endpoint in page["Endpoints"]]
    assert len(pages) > 1
    assert len(listed) == len(set(listed))
    assert names <= set(listed)
    newest = world.sagemaker.list_endpoints(SortBy="CreationTime", SortOrder="Descending", NameContains="e-")
    times = [endpoint["CreationTime"] for endpoint in newest["Endpoints"]]
    assert times == sorted(times, reverse=True)


def test_a_component_wakes_from_zero_copies(world: World) -> None:
    """Without copies the call fails as AWS's does; with one it answers; the endpoint cannot go before it."""
    name = world.bucket
    world.component(name)
    with pytest.raises(world.runtime.exceptions.ValidationError, match="has no capacity"):
        world.invoke(name, b"[1]", InferenceComponentName=name)
    world.sagemaker.update_inference_component_runtime_config(
        InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": 1}
    )
    until(lambda: world.has_copies(name, 1))
    answer = world.invoke(name, b"[1]", InferenceComponentName=name)
    assert json.loads(answer["Body"]) == {"echo": [1]}
    assert code_of(world.sagemaker.delete_endpoint, EndpointName=name) == "ValidationException"
    world.sagemaker.delete_inference_component(InferenceComponentName=name)
    world.sagemaker.delete_endpoint(EndpointName=name)


def test_injected_control_plane_errors_strike_by_action(world: World) -> None:
    """An error can be put on any action: capacity limits, throttles, and answers lost after the act."""
    model = world.model()
    variant = {"VariantName": "main", "ModelName": model, "InitialInstanceCount": 1}
    world.sagemaker.create_endpoint_config(EndpointConfigName=model, ProductionVariants=[variant])
    create = {"EndpointName": model, "EndpointConfigName": model}
    world.standin.break_(op="CreateEndpoint", endpoint=model, kind="capacity", message="no instances left")
    assert code_of(world.sagemaker.create_endpoint, **create) == "ResourceLimitExceeded"
    world.standin.break_(
        op="CreateEndpoint",
        endpoint=model,
        kind="error",
        status=400,
        code="ThrottlingException",
        message="Rate exceeded",
    )
    assert code_of(world.sagemaker.create_endpoint, **create) == "ThrottlingException"
    world.standin.break_(op="CreateEndpoint", endpoint=model, kind="timeout_after_work")
    assert code_of(world.sagemaker.create_endpoint, **create) == "ServiceUnavailable"
    world.wait(model)
