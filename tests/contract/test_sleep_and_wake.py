"""Sleep and wake with nothing faked but AWS: the functions' own wiring, the stand-in's endpoints, moto's tables.

Only the keeper's clock is ours, so that half an hour without requests need not be waited for.
"""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from functions.async_submit import app as async_submit
from functions.capacity import app as capacity
from functions.deferred import app as deferred
from functions.gateway import app as gateway
from tests.contract.moto_stores import REGISTRY_TABLE, STORE_VARIABLES, LocalAws
from tests.fakes.function_events import FunctionEventsServer
from tests.fakes.gateway import proxy_event
from tests.fakes.sleepers import ASYNC, POLICY, REALTIME, sleepy_catalogue
from tests.integration.sagemaker_standin.process import StandIn, client
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.metering.cloudwatch_activity import CloudWatchActivity
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import Job, JobState
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import LATE_SECONDS, Phase, SleepPolicy
from tollgate.domain.places.standing import Place
from tollgate.services.places.keep_places import DRAIN_SECONDS, PlaceKeeper
from tollgate.services.places.rightsize import RightSizing

_STORM, _LOAD = 100, 24
_CONFIG = """
prefix = "tollgate"
[start_seconds]
default = 0.3
[models.echo]
async_concurrency = 2
"""


class _AheadClock:
    """The real time, and as much more as a test wants."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead.total_seconds()


class Stack:
    """The functions over one stand-in and one set of tables."""

    def __init__(
        self, aws: LocalAws, standin: StandIn, events: FunctionEventsServer, environment: dict[str, str]
    ) -> None:
        self.standin = standin
        self.events = events
        self.clock = _AheadClock()
        self.sagemaker = client("sagemaker", standin.url)
        self.sqs = aws.boto3_client("sqs")
        self._environment = environment
        self.places = RegistryPlaces(aws.dynamodb, REGISTRY_TABLE)
        self.deferred = deferred.build(deferred.DeferredSettings.load(environment))
        self.gateways = [self._gateway() for _ in range(4)]

    def _gateway(self) -> Any:
        return gateway.build(gateway.GatewaySettings.load(self._environment))

    def new_gateways(self) -> None:
        """Execution environments that have just started, and so read the registry anew."""
        self.gateways = [self._gateway() for _ in range(4)]

    @cached_property
    def keeper(self) -> PlaceKeeper:
        """The capacity function's service, on the test's clock."""
        built = capacity.build(capacity.CapacitySettings.load(self._environment)).keeper
        built._clock = self.clock
        built._pause = lambda _seconds: None
        return built

    def infer(self, number: int = 0, **options: Any) -> Any:
        """One urgent request at one of the gateways."""
        wishes = {name: options.pop(name) for name in ("priority", "deadline_seconds") if name in options}
        asked = {"model": "echo", "input": f"hello {number}", "priority": "high"} | wishes
        body = {name: value for name, value in asked.items() if value is not None}
        event = proxy_event("POST /v1/inferences", json.dumps(body), request_id=f"req-{number}", **options)
        return gateway.handle(event, self.gateways[number % len(self.gateways)])

    def pump(self) -> None:
        """Hand events and what waits in the queue to their functions."""
        for event in self.events.take(self._environment["CAPACITY_FUNCTION"]):
            capacity.handle(event, capacity.Services(self.keeper, _not_now))
        while records := self._take(self._environment["DEFERRED_QUEUE_URL"]):
            deferred.handle({"Records": records}, self.deferred)

    def _take(self, url: str) -> list[dict[str, Any]]:
        found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", ())
        for message in found:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:q",
                "awsRegion": "us-east-1",
            }
            for message in found
        ]

    def record(self, place: Place = REALTIME) -> PlaceRecord:
        """The record of a place."""
        found = self.places.get(place)
        assert found is not None
        return found

    def until(self, phase: Phase, place: Place = REALTIME) -> None:
        """Look every 20 s of the keeper's time until the place is in this phase."""
        end = time.monotonic() + 120
        while self.record(place).phase is not phase:
            assert time.monotonic() < end, self.record(place)
            self.clock.ahead += timedelta(seconds=DRAIN_SECONDS)
            self.pump()
            self.keeper.tick()
            time.sleep(0.1)

    def exists(self) -> bool:
        """Whether the real-time endpoint stands."""
        names = [e["EndpointName"] for e in self.sagemaker.list_endpoints(MaxResults=100)["Endpoints"]]
        return REALTIME.name in names

    def to_sleep(self) -> None:
        """Use the endpoint once, then leave it alone for the idle time."""
        assert self.infer()["statusCode"] == 200
        self.keeper.tick()
        self.clock.ahead += POLICY.idle + timedelta(minutes=1)
        self.until(Phase.ASLEEP)


@pytest.fixture
def stack(aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    file = tmp_path / "standin.toml"
    file.write_text(_CONFIG)
    standin = StandIn(tmp_path, aws.url, file)
    sqs = aws.boto3_client("sqs")
    queues = {
        name: sqs.create_queue(QueueName=name.lower().replace("_", "-"))["QueueUrl"]
        for name in ("ASYNC_QUEUE_URL", "BATCH_QUEUE_URL", "DEFERRED_QUEUE_URL", "WEBHOOK_QUEUE_URL")
    }
    events = FunctionEventsServer()
    environment = {
        **STORE_VARIABLES,
        "AWS_ENDPOINT_URL_LAMBDA": events.url,
        "CAPACITY_FUNCTION": "tollgate-capacity",
        "AWS_ENDPOINT_URL_SAGEMAKER": standin.url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": standin.url,
        "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING": standin.url,
        **queues,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    aws.boto3_client("s3").create_bucket(Bucket="sleep-and-wake")
    standin.admin("PUT", "config", {"metrics_seconds": 0.5, "bucket": "sleep-and-wake"})
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(sleepy_catalogue(POLICY, InferenceType.REALTIME), now=datetime.now(UTC))
    writer.point_to(1, expected=0)
    made = Stack(aws, standin, events, environment)
    yield made
    made.sagemaker.close()
    for queue in queues.values():
        sqs.delete_queue(QueueUrl=queue)
    standin.stop()
    events.stop()


def _not_now() -> RightSizing:
    raise AssertionError("Nobody asked for sizes")


def _settled(stack: Stack, identities: list[str]) -> list[str]:
    """States of these jobs, once none is open."""
    jobs = stack.deferred._jobs
    end = time.monotonic() + 120
    while True:
        states = [job.state.value for job in jobs.get_many(identities)]
        if len(states) == len(identities) and not {"queued", "submitted"} & set(states):
            return states
        assert time.monotonic() < end, states
        stack.clock.ahead += timedelta(seconds=DRAIN_SECONDS)
        stack.keeper.tick()
        stack.pump()
        time.sleep(0.1)


def test_an_endpoint_sleeps_wakes_and_answers_a_storm(stack: Stack) -> None:
    """Deleted when idle, made once for a hundred requests at four gateways, all answered, and as it was before."""
    before = SageMakerControl().describe(REALTIME)
    stack.to_sleep()
    assert not stack.exists()
    assert stack.record().before == before
    stack.new_gateways()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(stack.infer, range(_STORM)))
    assert {answer["statusCode"] for answer in answers} == {202}
    identities = [json.loads(answer["body"])["id"] for answer in answers]
    assert _settled(stack, identities) == ["completed"] * _STORM
    assert [line.phase for line in stack.record().history].count(Phase.WAKING) == 1
    assert SageMakerControl().describe(REALTIME) == before
    stack.new_gateways()
    assert stack.infer()["statusCode"] == 200


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([{"op": "start", "kind": "capacity", "count": 2}], id="instances do not come, twice"),
        pytest.param([{"op": "CreateEndpoint", "kind": "capacity", "count": 1}], id="creation refused"),
        pytest.param([{"op": "CreateEndpoint", "kind": "timeout_after_work", "count": 1}], id="answer lost"),
        pytest.param([{"op": "CreateEndpoint", "kind": "error", "status": 500, "count": 5}], id="creation fails"),
    ],
)
def test_no_request_is_lost_when_waking_fails(stack: Stack, faults: list[dict[str, Any]]) -> None:
    """Whatever goes wrong with the start, under load: every request is answered and the record says what happened."""
    stack.to_sleep()
    stack.new_gateways()
    stack.standin.admin("PUT", "faults", {"faults": [{"endpoint": REALTIME.name, **fault} for fault in faults]})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(stack.infer, range(_LOAD)))
    assert {answer["statusCode"] for answer in answers} == {202}
    assert _settled(stack, [json.loads(a["body"])["id"] for a in answers]) == ["completed"] * _LOAD
    assert stack.record().phase is Phase.AWAKE
    used = [rule["used"] for rule in stack.standin.admin("GET", "faults")["faults"]]
    assert all(used)
    story = [line.reason for line in stack.record().history]
    assert story[-1].startswith("after ")
    if faults[0]["kind"] == "capacity":
        assert any(reason.startswith("failed: ") for reason in story)


def test_an_endpoint_in_use_is_not_put_to_sleep(stack: Stack) -> None:
    """What CloudWatch says of the last invocation keeps it up for the idle time, and no longer."""
    assert stack.infer()["statusCode"] == 200
    activity, since = CloudWatchActivity(), datetime.now(UTC) - timedelta(hours=1)
    end = time.monotonic() + 60
    while activity.last_invocation(REALTIME, ["AllTraffic"], since, datetime.now(UTC)) is None:
        assert time.monotonic() < end, "The stand-in sent no metric"
        time.sleep(0.1)
    stack.keeper.tick()
    assert stack.places.write(replace(stack.record(), since=since))
    stack.clock.ahead += POLICY.idle - timedelta(minutes=2)
    stack.keeper.tick()
    assert stack.record().phase is Phase.AWAKE
    stack.clock.ahead += timedelta(minutes=4)
    stack.keeper.tick()
    assert stack.record().phase is Phase.FALLING_ASLEEP


def test_a_request_while_the_gateway_thinks_it_awake_is_not_lost(stack: Stack) -> None:
    """The gateways' copies are old: the call finds no endpoint, is accepted, and wakes it."""
    for number in range(4):
        assert stack.infer(number)["statusCode"] == 200
    stack.to_sleep()
    answer = stack.infer(1)
    assert answer["statusCode"] == 202
    assert _settled(stack, [json.loads(answer["body"])["id"]]) == ["completed"]


def test_an_asynchronous_endpoint_goes_to_zero_and_comes_back(stack: Stack) -> None:
    """By the same keeper, with its scaling target as it was."""
    writer = RegistryCatalogueWriter(stack.places._client, REGISTRY_TABLE)
    writer.store(replace(sleepy_catalogue(POLICY, InferenceType.ASYNC), version=2), now=datetime.now(UTC))
    writer.point_to(2, expected=1)
    scaling = client("application-autoscaling", stack.standin.url)
    scaling.register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{ASYNC.name}/variant/AllTraffic",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=3,
    )
    scaling.close()
    before = SageMakerControl().describe(ASYNC)
    stack.keeper.tick()
    stack.clock.ahead += POLICY.idle + timedelta(minutes=1)
    stack.until(Phase.ASLEEP, ASYNC)
    assert SageMakerControl().describe(ASYNC).current == 0
    stack.keeper.wake(ASYNC)
    stack.until(Phase.AWAKE, ASYNC)
    assert SageMakerControl().describe(ASYNC) == before


class Gathering:
    """A stack whose asynchronous endpoint gathers, and sleeps; six requests have come for it, due in half an hour."""

    def __init__(self, stack: Stack, policy: SleepPolicy) -> None:
        self.stack = stack
        writer = RegistryCatalogueWriter(stack.places._client, REGISTRY_TABLE)
        writer.store(replace(sleepy_catalogue(policy, InferenceType.ASYNC), version=2), now=datetime.now(UTC))
        writer.point_to(2, expected=1)
        self._submitter = async_submit.build(async_submit.AsyncSubmitSettings.load(stack._environment))
        stack.keeper.tick()
        stack.clock.ahead += POLICY.idle + timedelta(minutes=1)
        stack.until(Phase.ASLEEP, ASYNC)
        stack.clock.ahead = timedelta()
        stack.new_gateways()
        answers = [stack.infer(number, priority=None, deadline_seconds=1800) for number in range(6)]
        assert {answer["statusCode"] for answer in answers} == {202}
        self._identities = [json.loads(answer["body"])["id"] for answer in answers]
        self.hand_over()

    @property
    def jobs(self) -> Sequence[Job]:
        return self.stack.deferred._jobs.get_many(self._identities)

    @property
    def states(self) -> set[JobState]:
        return {job.state for job in self.jobs}

    def hand_over(self) -> None:
        """What is in the queue reaches its function."""
        while records := self.stack._take(self.stack._environment["ASYNC_QUEUE_URL"]):
            assert async_submit.handle({"Records": records}, self._submitter) == {"batchItemFailures": []}

    def until_due(self, policy: SleepPolicy) -> None:
        """The last look before the first of them could be late."""
        left = 1800 - 240 - policy.gather_margin_seconds - LATE_SECONDS
        self.stack.clock.ahead += timedelta(seconds=left)
        self.stack.keeper.tick()
        assert self.stack.record(ASYNC).history[-1].reason == "gathered requests must start"
        self.stack.until(Phase.AWAKE, ASYNC)
        self.hand_over()


def test_work_with_a_deadline_is_gathered_at_a_sleeping_endpoint(stack: Stack) -> None:
    """Not handed to SageMaker, whose backlog would start instances; woken for once, in time; then handed over."""
    policy = replace(POLICY, gather=True)
    gathering = Gathering(stack, policy)
    stack.pump()
    stack.keeper.tick()
    assert gathering.states == {JobState.QUEUED}
    assert stack.record(ASYNC).phase is Phase.ASLEEP
    gathering.until_due(policy)
    assert gathering.states == {JobState.SUBMITTED}
    assert [line.phase for line in stack.record(ASYNC).history].count(Phase.WAKING) == 1


def test_an_endpoint_that_ends_with_its_work_goes_when_all_is_answered(stack: Stack) -> None:
    """Scaling suspended while it serves; nothing is taken down before the last answer, and all of it soon after."""
    scaling = client("application-autoscaling", stack.standin.url)
    scaling.register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{ASYNC.name}/variant/AllTraffic",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=0,
        MaxCapacity=3,
    )
    scaling.close()
    policy = replace(POLICY, gather=True, idle_minutes=0)
    gathering = Gathering(stack, policy)
    gathering.until_due(policy)
    up = SageMakerControl().describe(ASYNC)
    assert (up.current, up.scaling[0].suspended) == (1, (True, True, False))
    *answered, last = gathering.jobs
    _answer(stack, answered)
    for _ in range(5):
        stack.clock.ahead += timedelta(minutes=1)
        stack.keeper.tick()
    assert SageMakerControl().describe(ASYNC).current == 1
    _answer(stack, [last])
    stack.until(Phase.ASLEEP, ASYNC)
    before = stack.record(ASYNC).before
    assert before is not None
    assert (before.scaling[0].maximum, before.scaling[0].suspended) == (3, (False, False, False))
    assert SageMakerControl().describe(ASYNC).current == 0


def _answer(stack: Stack, jobs: Sequence[Job]) -> None:
    for job in jobs:
        done = job._replace(state=JobState.COMPLETED, finished_at=datetime.now(UTC))
        assert stack.deferred._jobs.change(done, expected=frozenset({JobState.SUBMITTED}))
