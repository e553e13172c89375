"""Endpoints of a running stack that may sleep: made at the stand-in, put into the catalogue, and watched.

Five minutes without requests send them to sleep, and two seconds of start wake them, where AWS takes minutes.
Everything in between is what is deployed: the schedule's function, the records, CloudWatch's metrics.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.request import Request, urlopen

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.launch import programs
from local.launch.layout import ROOT, STACK_NAME, aws_environment
from tests.local_stack import LocalStack
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.documents.standing import standing_document
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.domain.errors import StorageError
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import Place, PlaceKind, StandStatus

START_SECONDS = 2
_LOOK_SECONDS = 10
_FILES = (ROOT / "models.toml", ROOT / "local" / "models.local.toml")
_ROLE = "arn:aws:iam::000000000000:role/any"
_MODEL = """
[models.{name}]
default_priority = "{priority}"
fall_back_to_async = false
[models.{name}.deployments.main]
tier = "small"
dialect = "inputs"
instance_type = "ml.m5.large"
timing = {{ base_seconds = 0.01 }}
sleep = {{ idle_minutes = 5 }}
{road} = {{ endpoint = "tollgate-{name}", concurrency = 16, startup_seconds = {start}{component} }}
"""


@dataclass(frozen=True)
class Napper:
    """A model with one road, whose place may sleep; `name` is the model's, and in the place's."""

    name: str
    kind: PlaceKind = PlaceKind.REALTIME

    @property
    def place(self) -> Place:
        """What sleeps: an endpoint, or the component on one."""
        return Place(self.kind, f"tollgate-{self.name}")

    @property
    def resource(self) -> str:
        """What Application Auto Scaling calls it."""
        if self.kind is PlaceKind.COMPONENT:
            return f"inference-component/{self.place.name}"
        return f"endpoint/{self.place.name}/variant/AllTraffic"

    def toml(self) -> str:
        """Its part of the catalogue."""
        is_async = self.kind is PlaceKind.ASYNC
        component = f', inference_component = "{self.place.name}"' if self.kind is PlaceKind.COMPONENT else ""
        return _MODEL.format(
            name=self.name,
            priority="medium" if is_async else "high",
            road="async" if is_async else "realtime",
            start=START_SECONDS,
            component=component,
        )


class Bedroom:
    """The stack's nappers, and those who watch them. The process's environment must lead to the stack."""

    def __init__(self, stack: LocalStack, nappers: Sequence[Napper]) -> None:
        self.stack = stack
        self.nappers = nappers
        self._sagemaker = stack.aws("sagemaker")
        self._functions = stack.aws("lambda")
        self._control = SageMakerControl()

    @cached_property
    def records(self) -> RegistryPlaces:
        """What the keeper writes down."""
        tables = DynamoDBClient(AwsTransport(TransportConfig.from_mapping(aws_environment(self.stack.layout))))
        return RegistryPlaces(tables, self.stack.outputs["RegistryTableName"])

    # -- before and after

    def furnish(self) -> None:
        """Make the endpoints, and wait until they stand; each with a scaling target and its policy."""
        for napper in self.nappers:
            self._make(napper)
        until(lambda: all(self._control.describe(n.place).status is StandStatus.UP for n in self.nappers), 30)
        for napper in self.nappers:
            self._let_scale(napper)

    def _make(self, napper: Napper) -> None:
        name = napper.place.name
        container = {"Image": "tollgate/echo", "Environment": {"STANDIN_START_SECONDS": str(START_SECONDS)}}
        self._sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=_ROLE)
        variant = {"VariantName": "AllTraffic", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        if napper.kind is not PlaceKind.COMPONENT:
            variant["ModelName"] = name
        config: dict[str, Any] = {"EndpointConfigName": name, "ProductionVariants": [variant]}
        if napper.kind is PlaceKind.ASYNC:
            outputs = self.stack.outputs
            root = f"s3://{outputs['BucketName']}/async-output/{name}/"
            topics = {"SuccessTopic": outputs["AsyncSuccessTopicArn"], "ErrorTopic": outputs["AsyncErrorTopicArn"]}
            output = {"S3OutputPath": root, "S3FailurePath": root, "NotificationConfig": topics}
            config["AsyncInferenceConfig"] = {"OutputConfig": output}
        self._sagemaker.create_endpoint_config(**config)
        tags = [{"Key": "team", "Value": "naps"}]
        self._sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)
        if napper.kind is PlaceKind.COMPONENT:
            endpoint = Place(PlaceKind.REALTIME, name)
            until(lambda: self._control.describe(endpoint).status is StandStatus.UP, 30)
            self._sagemaker.create_inference_component(
                InferenceComponentName=name,
                EndpointName=name,
                VariantName="AllTraffic",
                Specification={"ModelName": name},
                RuntimeConfig={"CopyCount": 1},
            )

    def _let_scale(self, napper: Napper) -> None:
        scaling = boto3.client("application-autoscaling")
        is_component = napper.kind is PlaceKind.COMPONENT
        common = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": napper.resource,
            "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount"
            if is_component
            else "sagemaker:variant:DesiredInstanceCount",
        }
        lowest = 1 if napper.kind is PlaceKind.REALTIME else 0
        scaling.register_scalable_target(MinCapacity=lowest, MaxCapacity=2, **common)
        metric = (
            "SageMakerInferenceComponentInvocationsPerCopy"
            if is_component
            else "SageMakerVariantInvocationsPerInstance"
        )
        scaling.put_scaling_policy(
            PolicyName="follow",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 500.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            },
            **common,
        )

    def apply_catalogue(self) -> None:
        """Add the nappers to the stack's catalogue."""
        text = _FILES[1].read_text() + "".join(napper.toml() for napper in self.nappers)
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            self.tollgate("models", "apply", str(_FILES[0]), "--overlay", file.name)

    def clear(self) -> None:
        """Take the nappers out of the catalogue, the registry and SageMaker."""
        self.tollgate("models", "apply", str(_FILES[0]), "--overlay", str(_FILES[1]))
        table = self.stack.aws("dynamodb")
        for napper in self.nappers:
            key = {"pk": {"S": "endpoints"}, "sk": {"S": napper.place.key}}
            table.delete_item(TableName=self.stack.outputs["RegistryTableName"], Key=key)
            if napper.kind is PlaceKind.COMPONENT:
                self._sagemaker.delete_inference_component(InferenceComponentName=napper.place.name)
            with suppress(ClientError):  # after a test that failed it may be asleep
                self._sagemaker.delete_endpoint(EndpointName=napper.place.name)

    def idle_since_an_hour(self, nappers: Iterable[Napper]) -> None:
        """Write down that they have been up for an hour, so that idle time need not be waited for."""
        earlier = datetime.now(UTC) - timedelta(hours=1)
        for napper in nappers:
            record = PlaceRecord(napper.place, Phase.AWAKE, earlier)
            assert self.records.write(record.moved(Phase.AWAKE, earlier, "first seen"))

    # -- watching

    def tollgate(self, *words: str) -> str:
        """What a command of the command line prints."""
        command = [sys.executable, "-m", "cli", "--stack", STACK_NAME, *words]
        done = subprocess.run(  # noqa: S603 -- our own program
            command, cwd=ROOT, env=programs.environment(self.stack.layout), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def phases(self) -> Mapping[str, Phase]:
        """The phase of each napper that the keeper knows, by name."""
        known = {record.place: record.phase for record in self.records.all()}
        return {napper.name: known[napper.place] for napper in self.nappers if napper.place in known}

    def all_are(self, phase: Phase, nappers: Iterable[Napper]) -> bool:
        """Whether each of these is known to be in the phase; not if the records cannot be read now."""
        try:
            phases = self.phases()
        except StorageError:
            return False
        return all(phases.get(napper.name) is phase for napper in nappers)

    def standing(self, napper: Napper) -> str:
        """How its place stands: configuration, counts, weights, tags, scaling targets and policies, as text."""
        return json.dumps(standing_document(self._control.describe(napper.place)), sort_keys=True)

    def ordered(self, napper: Napper) -> Mapping[str, int]:
        """What SageMaker was made to do with it so far, by action."""
        with urlopen(self.stack.standin_url + "/_standin/state", timeout=60) as answer:  # noqa: S310 -- our own
            actions: Mapping[str, Mapping[str, int]] = json.load(answer)["actions"]
        return actions.get(napper.place.name, {})

    def tell_standin(self, method: str, what: str, document: Any = None) -> None:
        """Set faults or settings of the stand-in."""
        url = f"{self.stack.standin_url}/_standin/{what}"
        data = None if document is None else json.dumps(document).encode()
        with urlopen(Request(url, data=data, method=method), timeout=60):  # noqa: S310 -- our own stand-in
            return

    def look(self) -> None:
        """Have the keeper look now, as its schedule does every minute; it goes on looking while something changes."""
        event = (ROOT / "events" / "capacity" / "schedule.json").read_bytes()
        with suppress(BotoCoreError):  # nobody answered in time: the next look makes up for this one
            self._functions.invoke(FunctionName=f"{STACK_NAME}-capacity", InvocationType="Event", Payload=event)

    @contextmanager
    def looked_at_often(self) -> Iterator[None]:
        """A schedule that comes every few seconds, so that a night is short; its calls overlap, as they may."""
        over = threading.Event()

        def schedule() -> None:
            while True:
                self.look()
                if over.wait(_LOOK_SECONDS):
                    return

        thread = threading.Thread(target=schedule)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def until(happened: Callable[[], bool], seconds: float, pause: float = 0.5) -> None:
    """Look until it has happened."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"It did not happen within {seconds:.0f} s"
        time.sleep(pause)
