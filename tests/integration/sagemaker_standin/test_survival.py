"""Killed in mid-work and started again: nothing accepted is lost."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from tests.integration.sagemaker_standin.conftest import World
from tests.integration.sagemaker_standin.process import until

pytestmark = pytest.mark.integration


def counts(world: World, name: str) -> dict[str, int]:
    found: dict[str, int] = world.standin.admin("GET", "state")["inference_counts"].get(name, {})
    return found


def finished(world: World, name: str, goal: int) -> None:
    until(lambda: counts(world, name).get("ok", 0) >= goal)


def test_no_async_request_is_lost(fresh_world: World) -> None:
    """Killed three times with requests queued, running and done, every request ends in one output and is told."""
    world = fresh_world
    endpoint = world.endpoint(world.model(), asynchronous=True, per_instance=3)
    locations = {}
    for number in range(24):
        body = json.dumps({"inputs": f"n{number} end", "_sleep": 0.15})
        answer = world.runtime.invoke_endpoint_async(
            EndpointName=endpoint, ContentType="application/json", Body=body, InferenceId=f"n{number}"
        )
        locations[f"n{number}"] = answer["OutputLocation"]
    for done in (3, 9, 15):
        finished(world, endpoint, done)
        world.standin.kill()
        world.standin.start()
    told: set[str] = set()

    def all_told() -> bool:
        told.update(message["inferenceId"] for message in world.messages(1))
        return told == set(locations)

    until(all_told)
    for name, location in locations.items():
        assert json.loads(world.read(location))[0]["generated_text"] == f"end {name}"
    state = world.standin.admin("GET", "state")
    assert state["async_requests"][endpoint] == {"completed": 24}
    ran = state["inference_counts"][endpoint]
    assert ran["ok"] >= 24
    assert ran.get("started", 0) <= 9  # at most three were running at each of three kills


def test_a_transform_job_goes_on_where_it_was(fresh_world: World) -> None:
    """Killed between objects and in mid-object, the job completes, and finished objects are not done again."""
    world = fresh_world
    for name in ("1", "2", "3"):
        body = b"".join(json.dumps({"id": n, "_sleep": 0.05}).encode() + b"\n" for n in range(10))
        world.s3.put_object(Bucket=world.bucket, Key=f"in/{name}.jsonl", Body=body)
    pattern = {"source": ["aws.sagemaker"], "detail": {"TransformJobName": ["survivor"]}}
    world.events.put_rule(Name=world.bucket, EventPattern=json.dumps(pattern))
    world.events.put_targets(Rule=world.bucket, Targets=[{"Id": "q", "Arn": world.queue_arn}])
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{world.bucket}/in/"}
    world.sagemaker.create_transform_job(
        TransformJobName="survivor",
        ModelName=world.model(),
        BatchStrategy="SingleRecord",
        TransformInput={"DataSource": {"S3DataSource": source}, "ContentType": "application/json", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": f"s3://{world.bucket}/out/", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        DataProcessing={"JoinSource": "Input", "OutputFilter": "$.id"},
    )
    finished(world, "transform/survivor", 14)
    world.standin.kill()
    world.standin.start()

    def completed() -> Any:
        job = world.sagemaker.describe_transform_job(TransformJobName="survivor")
        return job["TransformJobStatus"] == "Completed"

    until(completed)
    for name in ("1", "2", "3"):
        body = world.read(f"s3://{world.bucket}/out/{name}.jsonl.out")
        assert [int(line) for line in body.splitlines()] == list(range(10))
    # 30 records, and those of the one object that was cut off in its middle once more.
    assert 30 <= counts(world, "transform/survivor")["ok"] <= 40
    statuses = [message["detail"]["TransformJobStatus"] for message in world.messages(2)]
    assert statuses == ["InProgress", "Completed"]


def test_endpoints_and_settings_come_back(fresh_world: World) -> None:
    """After a kill an endpoint has its instances, one that was starting starts, and the bucket is still known."""
    world = fresh_world
    config = {"bucket": world.bucket, "success_topic_arn": "arn:aws:sns:us-east-1:000000000000:s"}
    world.standin.admin("PUT", "config", config)
    endpoint = world.endpoint(world.model(), asynchronous=True)
    world.scale(endpoint, 2)
    slow = world.bucket
    variant = {"VariantName": "main", "ModelName": world.model(STANDIN_START_SECONDS="1"), "InitialInstanceCount": 1}
    world.sagemaker.create_endpoint_config(EndpointConfigName=slow, ProductionVariants=[variant])
    world.sagemaker.create_endpoint(EndpointName=slow, EndpointConfigName=slow)
    world.standin.kill()
    world.standin.start()
    [summary] = world.wait(endpoint)["ProductionVariants"]
    assert summary["CurrentInstanceCount"] == 2
    world.wait(slow)
    kept = world.standin.admin("GET", "config")
    assert {name: kept[name] for name in config} == config
    seeded = world.wait("t-echo-async")["AsyncInferenceConfig"]["OutputConfig"]
    assert seeded["S3OutputPath"] == f"s3://{world.bucket}/async-output/echo/"
    assert seeded["NotificationConfig"] == {"SuccessTopic": config["success_topic_arn"]}


def test_it_ends_when_asked(fresh_world: World) -> None:
    """SIGTERM ends it with 0 within seconds, even with work of both kinds under way; it has printed one line."""
    world = fresh_world
    endpoint = world.endpoint(world.model(), asynchronous=True)
    world.runtime.invoke_endpoint_async(EndpointName=endpoint, ContentType="application/json", Body=b'{"_sleep": 60}')
    until(lambda: counts(world, endpoint).get("started"))
    with ThreadPoolExecutor(1) as pool:
        cut_off = pool.submit(world.invoke, "t-echo-realtime", b'{"_sleep": 60}')
        until(lambda: counts(world, "t-echo-realtime").get("started"))
        started = time.monotonic()
        code, printed = world.standin.stop()
        assert isinstance(cut_off.exception(10), ClientError | HTTPClientError)
    assert time.monotonic() - started < 15
    assert code == 0
    assert printed == f"SageMaker stand-in ready on {world.standin.url}\n"
    world.standin.start()


def test_a_reset_leaves_the_seed(fresh_world: World) -> None:
    """After a reset only what the configuration file lists is there, in service, with nothing counted."""
    world = fresh_world
    world.endpoint(world.model())
    world.invoke("t-echo-realtime", b"{}")
    world.standin.admin("POST", "reset")
    world.wait("t-echo-realtime")
    state = world.standin.admin("GET", "state")
    assert list(state["endpoints"]) == ["t-echo-realtime"]
    assert state["inference_counts"] == {}
    world.invoke("t-echo-realtime", b"{}")
