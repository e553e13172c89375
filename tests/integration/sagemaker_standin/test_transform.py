"""Batch transform jobs over real S3 objects."""

import json
from typing import Any

import pytest

from tests.integration.sagemaker_standin.conftest import World
from tests.integration.sagemaker_standin.process import until

pytestmark = pytest.mark.integration


def lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def create(world: World, name: str, **changes: Any) -> str:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{world.bucket}/in/"}
    request: dict[str, Any] = {
        "TransformJobName": name,
        "ModelName": world.model(),
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": source},
            "ContentType": "application/json",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": f"s3://{world.bucket}/out", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    arn: str = world.sagemaker.create_transform_job(**request | changes)["TransformJobArn"]
    return arn


def ended(world: World, name: str) -> Any:
    def look() -> Any:
        job = world.sagemaker.describe_transform_job(TransformJobName=name)
        return job if job["TransformJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return until(look, 60)


def put(world: World, key: str, body: bytes) -> None:
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=body)


def output(world: World, key: str) -> list[Any]:
    body = world.read(f"s3://{world.bucket}/out/{key}.out")
    return [json.loads(line) for line in body.splitlines()]


def test_every_record_comes_back_joined_and_in_order(world: World) -> None:
    """Ids that the model never sees come back beside its answers, in the input's order, under concurrency."""
    records = [{"id": n, "payload": {"inputs": f"w{n} x", "_sleep": (n % 3) / 50}} for n in range(30)]
    put(world, "in/a.jsonl", lines(*records[:20]))
    put(world, "in/deep/b.jsonl", lines(*records[20:]))
    create(
        world,
        world.bucket,
        MaxConcurrentTransforms=4,
        DataProcessing={
            "InputFilter": "$.payload",
            "JoinSource": "Input",
            "OutputFilter": "$['id','SageMakerOutput']",
        },
    )
    job = ended(world, world.bucket)
    assert job["TransformJobStatus"] == "Completed"
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    rows = output(world, "a.jsonl") + output(world, "deep/b.jsonl")
    assert [row["id"] for row in rows] == list(range(30))
    assert [row["SageMakerOutput"][0]["generated_text"] for row in rows] == [f"x w{n}" for n in range(30)]


def test_a_bad_record_costs_its_file_and_no_other(world: World) -> None:
    """No output for the object with the bad record, outputs for the rest, and the job ends Failed with a reason."""
    put(world, "in/1-good.jsonl", lines({"inputs": "a b"}))
    put(world, "in/2-bad.jsonl", lines({"inputs": "a b"}, {"_fail": 400}))
    put(world, "in/3-good.jsonl", lines({"inputs": "c d"}))
    create(world, world.bucket)
    job = ended(world, world.bucket)
    assert job["TransformJobStatus"] == "Failed"
    assert "2-bad.jsonl" in job["FailureReason"]
    assert world.keys("out/") == ["out/1-good.jsonl.out", "out/3-good.jsonl.out"]


def test_many_records_share_a_payload(world: World) -> None:
    """MultiRecord sends full payloads of JSON Lines, and the answers are joined line by line."""
    put(world, "in/a.jsonl", lines(*({"id": n, "x": "y" * 1000} for n in range(3000))))
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{world.bucket}/in/a.jsonl"}
    create(
        world,
        world.bucket,
        BatchStrategy="MultiRecord",
        MaxPayloadInMB=1,
        TransformInput={
            "DataSource": {"S3DataSource": source},
            "ContentType": "application/jsonlines",
            "SplitType": "Line",
        },
        DataProcessing={"JoinSource": "Input", "OutputFilter": "$['id']"},
    )
    assert ended(world, world.bucket)["TransformJobStatus"] == "Completed"
    assert output(world, "a.jsonl") == list(range(3000))
    counts = world.standin.admin("GET", "state")["inference_counts"]
    assert counts[f"transform/{world.bucket}"] == {"ok": 3}


def test_a_manifest_lists_whole_objects(world: World) -> None:
    """A manifest's objects, each one record, are transformed whatever else lies beside them."""
    for name in ("x", "y", "z"):
        put(world, f"data/{name}.json", json.dumps({"inputs": f"{name} end"}).encode())
    manifest = [{"prefix": f"s3://{world.bucket}/data/"}, "x.json", "z.json"]
    put(world, "job.manifest", json.dumps(manifest).encode())
    source = {"S3DataType": "ManifestFile", "S3Uri": f"s3://{world.bucket}/job.manifest"}
    create(
        world,
        world.bucket,
        TransformInput={"DataSource": {"S3DataSource": source}, "ContentType": "application/json", "SplitType": "None"},
    )
    assert ended(world, world.bucket)["TransformJobStatus"] == "Completed"
    assert world.keys("out/") == ["out/x.json.out", "out/z.json.out"]
    assert output(world, "z.json")[0][0]["generated_text"] == "end z"


def test_the_bus_hears_of_every_change(world: World) -> None:
    """Rules on aws.sagemaker get the documented event, at the start and at the end, with times in milliseconds."""
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Transform Job State Change"],
        "detail": {"TransformJobName": [world.bucket]},
    }
    world.events.put_rule(Name=world.bucket, EventPattern=json.dumps(pattern))
    world.events.put_targets(Rule=world.bucket, Targets=[{"Id": "q", "Arn": world.queue_arn}])
    put(world, "in/a.jsonl", lines({"inputs": "a"}))
    arn = create(world, world.bucket, Tags=[{"Key": "InferenceType", "Value": "batch"}])
    first, last = world.messages(2)
    assert first["detail"]["TransformJobStatus"] == "InProgress"
    assert last["source"] == "aws.sagemaker"
    assert last["resources"] == [arn]
    detail = last["detail"]
    assert detail["TransformJobStatus"] == "Completed"
    assert detail["TransformJobArn"] == arn
    assert detail["Tags"] == {"InferenceType": "batch"}
    assert detail["TransformOutput"]["S3OutputPath"] == f"s3://{world.bucket}/out"
    assert detail["TransformEndTime"] >= detail["TransformStartTime"] >= detail["CreationTime"] > 1e12
    world.standin.break_(op="eventbridge", endpoint=f"{world.bucket}-2", kind="drop", count=None)
    world.events.put_rule(Name=world.bucket, EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    create(world, f"{world.bucket}-2")
    ended(world, f"{world.bucket}-2")
    assert world.no_message()


def test_a_running_job_can_be_stopped_once(world: World) -> None:
    """Stopping ends it as Stopped without output; stopping again changes nothing."""
    put(world, "in/a.jsonl", lines({"_sleep": 30}))
    create(world, world.bucket)
    until(lambda: world.standin.admin("GET", "state")["inference_counts"].get(f"transform/{world.bucket}"))
    world.sagemaker.stop_transform_job(TransformJobName=world.bucket)
    assert ended(world, world.bucket)["TransformJobStatus"] == "Stopped"
    world.sagemaker.stop_transform_job(TransformJobName=world.bucket)
    assert world.keys("out/") == []
    listed = world.sagemaker.list_transform_jobs(NameContains=world.bucket, StatusEquals="Stopped")
    assert [job["TransformJobName"] for job in listed["TransformJobSummaries"]] == [world.bucket]


def test_jobs_that_cannot_work_say_so(world: World) -> None:
    """A name taken, a model unknown, a filter that is no JSONPath, and no input at all."""
    put(world, "in/a.jsonl", lines({"inputs": "a"}))
    create(world, world.bucket)
    with pytest.raises(world.sagemaker.exceptions.ResourceInUse):
        create(world, world.bucket)
    for wrong in ({"ModelName": "none"}, {"DataProcessing": {"InputFilter": "$..id"}}, {"MaxPayloadInMB": 101}):
        with pytest.raises(world.sagemaker.exceptions.ClientError) as raised:
            create(world, f"{world.bucket}-x", **wrong)
        assert raised.value.response["Error"]["Code"] == "ValidationException"
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{world.bucket}/empty/"}
    create(world, f"{world.bucket}-y", TransformInput={"DataSource": {"S3DataSource": source}})
    job = ended(world, f"{world.bucket}-y")
    assert job["TransformJobStatus"] == "Failed"
    assert "No S3 objects found" in job["FailureReason"]


def test_a_large_object_passes_in_little_memory(fresh_world: World) -> None:
    """Sixty megabytes go through while the process grows by less than half of that."""
    world = fresh_world
    line = json.dumps({"x": "y" * 2000}).encode() + b"\n"
    body = line * (60_000_000 // len(line))
    put(world, "in/warm.jsonl", line)
    settings: dict[str, Any] = {"BatchStrategy": "MultiRecord", "MaxPayloadInMB": 1}
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{world.bucket}/in/"}
    settings["TransformInput"] = {
        "DataSource": {"S3DataSource": source},
        "ContentType": "application/jsonlines",
        "SplitType": "Line",
    }
    create(world, "warm", **settings)
    assert ended(world, "warm")["TransformJobStatus"] == "Completed"
    before = world.standin.peak_bytes
    put(world, "in/large.jsonl", body)
    create(world, "large", **settings)
    assert ended(world, "large")["TransformJobStatus"] == "Completed"
    size = world.s3.head_object(Bucket=world.bucket, Key="out/large.jsonl.out")["ContentLength"]
    assert size > len(body)
    assert world.standin.peak_bytes - before < 25_000_000
