"""The functions behind the gateway over an AWS emulator and the SageMaker stand-in.

There is no Lambda in between: the tests hand the functions what the queues hold.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.async_completion import app as async_completion
from functions.async_submit import app as async_submit
from functions.batch_completion import app as batch_completion
from functions.batch_dispatch import app as batch_dispatch
from functions.sweeper import app as sweeper
from tests.contract.moto_stores import jobs_table, registry_table
from tests.fakes.examples import make_catalogue, make_job
from tests.integration.sagemaker_standin.process import REGION, Emulator, StandIn, client, interpreter, until
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.system import TimeSortedIds
from tollgate.domain.catalogue import BatchPolicy
from tollgate.domain.jobs.job import FINAL_STATES, Job, Payload

_CONFIG = """
prefix = "tollgate"
[start_seconds]
default = 0.1
[models.echo]
async_concurrency = 2
"""


@dataclass
class Roads:
    """What a test talks to: the functions, what feeds them, and what they leave behind."""

    standin: StandIn
    s3: Any
    sqs: Any
    bucket: str
    jobs: DynamoDBJobStore
    queues: dict[str, str]
    environment: dict[str, str]
    ids: TimeSortedIds = field(default_factory=TimeSortedIds)

    def __post_init__(self) -> None:
        load = self.environment
        self.submitter = async_submit.build(async_submit.AsyncSubmitSettings.load(load))
        self.completion = async_completion.build(async_completion.AsyncCompletionSettings.load(load))
        self.dispatch = batch_dispatch.build(batch_dispatch.BatchDispatchSettings.load(load))
        self.collector = batch_completion.build(batch_completion.BatchCompletionSettings.load(load))
        self.sweeper = sweeper.build(sweeper.SweeperSettings.load(load))

    def add_job(self, value: Any, **changes: Any) -> str:
        """Write a job down as the gateway does; its id."""
        job_id = self.ids.new("inf")
        stored = Payload(inline=value) if not isinstance(value, Payload) else value
        self.jobs.add(make_job(job_id, created_at=datetime.now(UTC), input=stored, **changes))
        return job_id

    def submit(self, job_id: str) -> None:
        """Give the submitting function a message."""
        async_submit.handle(_sqs_event({"job_id": job_id}), self.submitter)

    def pump(self) -> None:
        """Hand what SageMaker has told to the functions, as Lambda would; what fails stays in its queue."""
        for body in self._take("notices"):
            async_completion.handle({"Records": [{"Sns": {"Message": json.loads(body)["Message"]}}]}, self.completion)
        for body in self._take("events"):
            batch_completion.handle(json.loads(body), self.collector)

    def _take(self, queue: str) -> Iterator[str]:
        found = self.sqs.receive_message(QueueUrl=self.queues[queue], MaxNumberOfMessages=10)
        for message in found.get("Messages", ()):
            yield message["Body"]
            self.sqs.delete_message(QueueUrl=self.queues[queue], ReceiptHandle=message["ReceiptHandle"])

    def job(self, job_id: str) -> Job:
        """The job as it stands."""
        found = self.jobs.get(job_id)
        assert found is not None
        return found

    def all_ended(self, job_ids: list[str], seconds: float = 40) -> list[Job]:
        """Pump until these jobs have ended."""

        def look() -> list[Job] | None:
            jobs = list(self.jobs.get_many(job_ids))
            return jobs if all(job.state in FINAL_STATES for job in jobs) else None

        return self.pump_until(look, seconds)

    def pump_until[T](self, get: Callable[[], T | None], seconds: float = 40) -> T:
        """Pump until there is something."""

        def look() -> T | None:
            self.pump()
            return get()

        return until(look, seconds)

    def read(self, key: str) -> bytes | None:
        """An object of the bucket."""
        if not any(item["Key"] == key for item in self._listed(key)):
            return None
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def _listed(self, prefix: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return found


def _sqs_event(*bodies: dict[str, Any]) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": "r",
                "body": json.dumps(body),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:q",
                "awsRegion": REGION,
            }
            for number, body in enumerate(bodies)
        ]
    }


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    if not interpreter("emulator").exists():
        pytest.skip("no .venv/emulator and no TOLLGATE_EMULATOR_PYTHON")
    started = Emulator(tmp_path_factory.mktemp("emulator"))
    yield started
    started.stop()


@pytest.fixture
def standin(emulator: Emulator, tmp_path: Path) -> Iterator[StandIn]:
    """SageMaker's stand-in beside the emulator, stopped whatever becomes of the test."""
    config = tmp_path / "standin.toml"
    config.write_text(_CONFIG)
    started = StandIn(tmp_path, emulator.url, config)
    yield started
    started.stop()


@pytest.fixture
def roads(emulator: Emulator, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Roads:
    """Tables, queues, topics and a bucket of the test's own, and a stand-in that knows them."""
    name = f"t{uuid.uuid4().hex[:10]}"
    environment = {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": emulator.url,
        "AWS_ENDPOINT_URL_SAGEMAKER": standin.url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": standin.url,
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    queues, topic = _messaging(emulator.url, name)
    bucket = client("s3", emulator.url)
    bucket.create_bucket(Bucket=name)
    standin.admin("PUT", "config", {"bucket": name, "success_topic_arn": topic, "error_topic_arn": topic})
    until(lambda: _in_service(standin.url))
    tables = client("dynamodb", emulator.url)
    tables.create_table(**jobs_table() | {"TableName": f"{name}-jobs"})
    tables.create_table(**registry_table() | {"TableName": f"{name}-registry"})
    own = DynamoDBClient(AwsTransport(TransportConfig.from_mapping(environment)))
    writer = RegistryCatalogueWriter(own, f"{name}-registry")
    batch = BatchPolicy(max_records=6, max_age_seconds=1, records_per_file=2)
    writer.store(make_catalogue(batch=batch), now=datetime.now(UTC))
    writer.point_to(1, expected=0)
    return Roads(
        standin=standin,
        s3=bucket,
        sqs=client("sqs", emulator.url),
        bucket=name,
        jobs=DynamoDBJobStore(own, f"{name}-jobs"),
        queues=queues,
        environment=environment
        | {
            "TABLE_JOBS": f"{name}-jobs",
            "TABLE_LEDGER": f"{name}-ledger",
            "TABLE_REGISTRY": f"{name}-registry",
            "BUCKET": name,
            "ASYNC_QUEUE_URL": queues["async"],
            "BATCH_QUEUE_URL": queues["batch"],
            "WEBHOOK_QUEUE_URL": queues["webhooks"],
            # Nothing here has a cache or sleeps, so neither is ever called.
            "TABLE_CACHE": f"{name}-cache",
            "DEFERRED_QUEUE_URL": queues["async"],
            "FILE_RETENTION_DAYS": "30",
            "STACK_NAME": name,
        },
    )


def _in_service(url: str) -> bool:
    listed = client("sagemaker", url).list_endpoints()["Endpoints"]
    states = {endpoint["EndpointName"]: endpoint["EndpointStatus"] for endpoint in listed}
    return states.get("tollgate-echo-async") == "InService"


def _messaging(url: str, name: str) -> tuple[dict[str, str], str]:
    """Queues by what they hold, and the topic of asynchronous results."""
    sqs, sns, events = client("sqs", url), client("sns", url), client("events", url)
    queues = {
        kind: sqs.create_queue(QueueName=f"{name}-{kind}")["QueueUrl"]
        for kind in ("async", "batch", "webhooks", "notices", "events")
    }
    arns = {
        kind: sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for kind, queue in queues.items()
    }
    topic: str = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["notices"])
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Transform Job State Change"],
        "detail": {"TransformJobStatus": ["Completed", "Failed", "Stopped"]},
    }
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arns["events"]}])
    return queues, topic
