"""One emulator and one stand-in for all tests here; a topic, a queue and a bucket for each."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sagemaker_standin.process import Emulator, StandIn, client, interpreter, until

CONFIG = """
prefix = "t"
[start_seconds]
default = 0.1
[models.echo]
"""
ROLE = "arn:aws:iam::000000000000:role/any"


@dataclass
class World:
    """What a test talks to."""

    standin: StandIn
    s3: Any
    sqs: Any
    events: Any
    runtime: Any
    sagemaker: Any
    bucket: str
    queue: str
    queue_arn: str

    def invoke(self, endpoint: str, body: bytes | str, **more: Any) -> Any:
        """Call InvokeEndpoint with JSON; the answer's body is read to its end."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=endpoint, **{"ContentType": "application/json", "Body": body, **more}
        )
        return answer | {"Body": answer["Body"].read()}

    def close(self) -> None:
        """Close every connection."""
        for one in (self.s3, self.sqs, self.events, self.runtime, self.sagemaker):
            one.close()

    def messages(self, count: int, seconds: float = 60.0) -> list[Any]:
        """Take exactly so many messages from the test's queue."""
        found: list[Any] = []

        def take() -> bool:
            answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            for message in answer.get("Messages", ()):
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                found.append(json.loads(body["Message"]) if "TopicArn" in body else body)
            return len(found) >= count

        until(take, seconds)
        return found

    def no_message(self) -> bool:
        """Tell whether nothing comes for a moment."""
        answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=1, WaitTimeSeconds=1)
        return not answer.get("Messages")

    def read(self, uri: str) -> bytes:
        """Read an S3 object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        """List the test's bucket below a prefix."""
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", ())
        return [item["Key"] for item in found]

    def component(self, name: str) -> None:
        """Create an endpoint, and on it an inference component of the same name without copies, and wait for both."""
        variant: Any = {"VariantName": "main", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant], ExecutionRoleArn=ROLE
        )
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self.wait(name)
        self.sagemaker.create_inference_component(
            InferenceComponentName=name,
            EndpointName=name,
            VariantName="main",
            Specification={"ModelName": self.model()},
            RuntimeConfig={"CopyCount": 0},
        )
        until(lambda: self.has_copies(name, 0))

    def has_copies(self, component: str, copies: int) -> bool:
        """Whether a component is in service with so many copies."""
        seen = self.sagemaker.describe_inference_component(InferenceComponentName=component)
        in_service = seen["InferenceComponentStatus"] == "InService"
        return bool(in_service and seen["RuntimeConfig"]["CurrentCopyCount"] == copies)

    def model(self, image: str = "tollgate/echo", **environment: str) -> str:
        """Create a model and return its name."""
        name = f"m-{uuid.uuid4().hex[:10]}"
        container = {"Image": image, "Environment": environment}
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        return name

    def endpoint(self, model: str, *, instances: int = 1, asynchronous: bool = False, per_instance: int = 4) -> str:
        """Create an endpoint, wait until it is in service, and return its name."""
        name = f"e-{uuid.uuid4().hex[:10]}"
        variant = {
            "VariantName": "main",
            "ModelName": model,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": instances,
        }
        config: dict[str, Any] = {"EndpointConfigName": name, "ProductionVariants": [variant]}
        if asynchronous:
            config["AsyncInferenceConfig"] = self.async_config(per_instance)
        self.sagemaker.create_endpoint_config(**config)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self.wait(name)
        return name

    def async_config(self, per_instance: int) -> dict[str, Any]:
        """Return an AsyncInferenceConfig whose two topics end in the test's queue."""
        root = f"s3://{self.bucket}/results"
        topic = f"arn:aws:sns:us-east-1:000000000000:{self.bucket}"
        output = {
            "S3OutputPath": root,
            "S3FailurePath": f"{root}-failed",
            "NotificationConfig": {"SuccessTopic": topic, "ErrorTopic": topic},
        }
        return {"OutputConfig": output, "ClientConfig": {"MaxConcurrentInvocationsPerInstance": per_instance}}

    def wait(self, endpoint: str, status: str = "InService") -> Any:
        """Wait until an endpoint has a status; return its description."""

        def look() -> Any:
            answer = self.sagemaker.describe_endpoint(EndpointName=endpoint)
            return answer if answer["EndpointStatus"] == status else None

        return until(look)

    def scale(self, endpoint: str, instances: int) -> None:
        """Set an endpoint's instance count and wait for it."""
        wish = {"VariantName": "main", "DesiredInstanceCount": instances}
        self.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=[wish])
        self.wait(endpoint)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    if not interpreter("emulator").exists():
        pytest.skip("no .venv/emulator and no TOLLGATE_EMULATOR_PYTHON")
    emulator = Emulator(tmp_path_factory.mktemp("emulator"))
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "standin.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory, emulator: Emulator, config_file: Path) -> Iterator[StandIn]:
    standin = StandIn(tmp_path_factory.mktemp("standin"), emulator.url, config_file)
    yield standin
    standin.stop()


@pytest.fixture
def fresh_standin(tmp_path: Path, emulator: Emulator, config_file: Path) -> Iterator[StandIn]:
    """A stand-in of the test's own, to be killed."""
    standin = StandIn(tmp_path, emulator.url, config_file)
    yield standin
    standin.stop()


@pytest.fixture
def world(standin: StandIn, emulator: Emulator) -> Iterator[World]:
    standin.admin("DELETE", "faults")
    world = make_world(standin, emulator)
    yield world
    world.close()


@pytest.fixture
def fresh_world(fresh_standin: StandIn, emulator: Emulator) -> Iterator[World]:
    world = make_world(fresh_standin, emulator)
    yield world
    world.close()


def make_world(standin: StandIn, emulator: Emulator) -> World:
    """Return clients, and a new bucket, topic and queue."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    s3, sqs, sns = (client(service, emulator.url, retries=3) for service in ("s3", "sqs", "sns"))
    s3.create_bucket(Bucket=name)
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
    sns.close()
    return World(
        standin=standin,
        s3=s3,
        sqs=sqs,
        events=client("events", emulator.url),
        runtime=client("sagemaker-runtime", standin.url),
        sagemaker=client("sagemaker", standin.url),
        bucket=name,
        queue=queue,
        queue_arn=attributes["QueueArn"],
    )
