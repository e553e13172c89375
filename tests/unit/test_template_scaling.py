"""Endpoints of the template scale as the guide says, and models are stored as it says."""

import json
from typing import Any

import pytest

from tests.unit.template_document import resources, template


def _policy(name: str) -> dict[str, Any]:
    found: dict[str, Any] = resources()[name]["Properties"]
    return found


def _default(name: str) -> Any:
    return template()["Parameters"][name]["Default"]


def test_the_realtime_endpoint_follows_its_invocations() -> None:
    """500 a minute and instance, 2 to 8 instances, slowly in and quickly out."""
    policy = _policy("RealtimeScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]
    assert policy["TargetValue"] == {"Ref": "RealtimeInvocationsPerInstance"}
    assert policy["PredefinedMetricSpecification"] == {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    assert (policy["ScaleInCooldown"], policy["ScaleOutCooldown"]) == (300, 60)
    names = ("RealtimeInvocationsPerInstance", "RealtimeMinInstances", "RealtimeMaxInstances")
    assert [_default(name) for name in names] == [500, 2, 8]


def test_the_asynchronous_endpoint_goes_to_zero_and_wakes_from_it() -> None:
    """Backlog per instance between zero and the most, and a step for work that waits with nobody to do it."""
    assert _policy("AsyncScaling")["MinCapacity"] == 0
    tracking = _policy("AsyncScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["CustomizedMetricSpecification"]["MetricName"] == "ApproximateBacklogSizePerInstance"
    alarm = _policy("AsyncWakeAlarm")
    assert (alarm["MetricName"], alarm["Threshold"]) == ("HasBacklogWithoutCapacity", 1)
    assert alarm["AlarmActions"] == [{"Ref": "AsyncWakePolicy"}]
    [step] = _policy("AsyncWakePolicy")["StepScalingPolicyConfiguration"]["StepAdjustments"]
    assert step["ScalingAdjustment"] == 1
    client = _policy("AsyncEndpointConfig")["AsyncInferenceConfig"]["ClientConfig"]
    assert client == {"MaxConcurrentInvocationsPerInstance": {"Ref": "AsyncConcurrencyPerInstance"}}


def test_the_component_goes_to_no_copy_and_no_instance() -> None:
    """Copies and the instances under them both from 0, and a refused request starts the first copy."""
    assert _policy("ComponentScaling")["MinCapacity"] == 0
    [variant] = _policy("ComponentEndpointConfig")["ProductionVariants"]
    assert variant["ManagedInstanceScaling"]["MinInstanceCount"] == 0
    assert "ModelName" not in variant
    alarm = _policy("ComponentWakeAlarm")
    assert alarm["MetricName"] == "NoCapacityInvocationFailures"
    assert alarm["AlarmActions"] == [{"Ref": "ComponentWakePolicy"}]
    # The target is named by hand, for the component's own reference is another name.
    assert _policy("ComponentScaling")["ResourceId"] == {
        "Fn::Sub": f"inference-component/{_policy('Component')['InferenceComponentName']['Fn::Sub']}"
    }


def test_the_multi_model_endpoint_reads_the_stores_models() -> None:
    """Its container is told of the prefix under which every version of every model lies."""
    container = _policy("MultiModel")["PrimaryContainer"]
    assert (container["Mode"], container["ModelDataUrl"]) == (
        "MultiModel",
        {"Fn::Sub": "s3://${ArtefactBucket}/models/"},
    )
    role = json.dumps(resources()["EndpointRole"])
    assert "${ArtefactBucket.Arn}/models/*" in role


def test_requests_are_captured_only_where_asked_for() -> None:
    """Nothing by default; where asked for, into the bucket under a prefix that forgets and that the role may write."""
    condition, wanted, otherwise = _policy("RealtimeEndpointConfig")["DataCaptureConfig"]["Fn::If"]
    assert (condition, otherwise) == ("CapturesData", {"Ref": "AWS::NoValue"})
    assert _default("DataCapturePercent") == 0
    assert wanted["DestinationS3Uri"] == {"Fn::Sub": "s3://${Bucket}/data-capture/"}
    assert {"CaptureMode": "Input"} in wanted["CaptureOptions"]
    assert "${Bucket.Arn}/data-capture/*" in json.dumps(resources()["EndpointRole"])


def test_artefacts_keep_their_versions_and_old_ones_go_to_glacier() -> None:
    """Checkpoints and replaced artefacts after 30 days; what is served now stays where it is."""
    bucket = _policy("ArtefactBucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    glacier = [{"StorageClass": "GLACIER", "TransitionInDays": {"Ref": "CheckpointGlacierDays"}}]
    assert rules["checkpoints"]["Transitions"] == glacier
    assert rules["replaced"]["NoncurrentVersionTransitions"] == glacier
    assert _default("CheckpointGlacierDays") == 30
    assert not any("Transitions" in rule and rule.get("Prefix") != "checkpoints/" for rule in rules.values())


def test_images_are_scanned_and_untagged_ones_go() -> None:
    """On every push, and after 14 days."""
    repository = _policy("ImageRepository")
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    [rule] = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    selection = rule["selection"]
    assert (selection["tagStatus"], selection["countNumber"], selection["countUnit"]) == ("untagged", 14, "days")
    assert rule["action"] == {"type": "expire"}


@pytest.mark.parametrize("name", ["CreateEndpoints", "CreateComponent", "CreateModelStore"])
def test_nothing_that_costs_by_the_hour_is_created_unasked(name: str) -> None:
    """The stack without parameters has no endpoint, component or store of its own."""
    assert _default(name) == "false"
