"""An overspend with nothing faked but AWS: the functions as wired, the stand-in's endpoints, moto's tables."""

import json
import time
from collections.abc import Iterator, Sequence
from copy import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.budget_alarm import app as budget_alarm
from functions.gateway import app as gateway
from functions.usage import app as usage
from tests.contract.moto_stores import REGISTRY_TABLE, STORE_VARIABLES, LocalAws
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import proxy_event
from tests.integration.sagemaker_standin.process import StandIn, client, until
from tollgate.adapters.documents.standing import standing_document
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep
from tollgate.domain.budgets.budget import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.places.standing import Place, PlaceKind

REALTIME = Place(PlaceKind.REALTIME, "tollgate-echo-realtime")
ASYNC = Place(PlaceKind.ASYNC, "tollgate-echo-async")
LEVELS = (BrakeLevel.WARN, BrakeLevel.DOWNGRADE, BrakeLevel.DEFER, BrakeLevel.STOP)
# Further apart than what is spent while a level is waited for.
PERCENTS = (4, 6, 8, 10)
# Of 0.4 s each. Counted, and not timed: a slow machine looks less often in the seconds that the product may take.
LOOKS = 20
_CONFIG = """
prefix = "tollgate"
[start_seconds]
default = 0.3
[models.echo]
async_concurrency = 2
"""
_SCHEDULE = {"source": "aws.events"}


class Stack:
    """Gateways, the function that works the brakes, and what stands between them."""

    def __init__(self, aws: LocalAws, standin: StandIn, environment: dict[str, str], queue: str) -> None:
        self.standin = standin
        self.sqs = aws.boto3_client("sqs")
        self.sns = aws.boto3_client("sns")
        self.topic = environment["ALARM_TOPIC_ARN"]
        self._queue = queue
        self.gateways = [gateway.build(gateway.GatewaySettings.load(environment)) for _ in range(3)]
        self.alarm = budget_alarm.build(budget_alarm.BudgetAlarmSettings.load(environment))
        self.usage = usage.build(usage.UsageSettings.load(environment))
        self.control = SageMakerControl()
        self._sagemaker = client("sagemaker", standin.url)
        self._scaling = client("application-autoscaling", standin.url)

    def close(self) -> None:
        self._sagemaker.close()
        self._scaling.close()

    def infer(self, number: int = 0, priority: str = "high", **more: Any) -> dict[str, Any]:
        body = json.dumps({"model": "echo", "input": "hello", "priority": priority} | more)
        event = proxy_event("POST /v1/inferences", body, request_id=f"req-{number}")
        return gateway.handle(event, self.gateways[number % len(self.gateways)])

    def ask(self, path: str) -> Any:
        answer = usage.handle(proxy_event(f"GET {path}", scopes="admin"), self.usage)
        return json.loads(answer["body"])

    def spent(self) -> Decimal:
        (budget,) = self.ask("/v1/budgets")["data"]
        return Decimal(budget["spent_usd"])

    def deliver(self, times: int = 1) -> int:
        """Hand what was published to the function, as SNS does, each message so many times; how many there were."""
        found = self.sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        for message in found.get("Messages", ()):
            self.sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
            for _ in range(times):
                budget_alarm.handle({"Records": [{"Sns": json.loads(message["Body"])}]}, self.alarm)
        return len(found.get("Messages", ()))

    def tick(self) -> None:
        budget_alarm.handle(_SCHEDULE, self.alarm)

    def standing(self) -> str:
        """Everything that can be put back, byte for byte: as Tollgate sees it, and as SageMaker tells anybody."""
        seen = [standing_document(self.control.describe(place)) for place in (REALTIME, ASYNC)]
        told = [self._told(place.name) for place in (REALTIME, ASYNC)]
        targets = self._scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        policies = self._scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        own = [[_without_times(each) for each in found] for found in (targets, policies)]
        return json.dumps([seen, told, own], sort_keys=True)

    def _told(self, endpoint: str) -> Any:
        try:
            described = self._sagemaker.describe_endpoint(EndpointName=endpoint)
        except ClientError:
            return "absent"
        configuration = self._sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
        tags = self._sagemaker.list_tags(ResourceArn=described["EndpointArn"])["Tags"]
        return [_without_times(described), _without_times(configuration), tags]

    def down(self) -> bool:
        return all(self.control.describe(place).current == 0 for place in (REALTIME, ASYNC))

    def until_answered(self, status: int) -> None:
        """Until every gateway answers so: each has read the record at most three seconds ago."""
        for number in range(len(self.gateways)):
            end = time.monotonic() + 60
            while self.infer(number)["statusCode"] != status:
                assert time.monotonic() < end
                time.sleep(0.1)

    def until_as(self, before: str) -> None:
        end = time.monotonic() + 60
        while self.standing() != before:
            assert time.monotonic() < end, (before, self.standing())
            self.tick()


def _without_times(document: dict[str, Any]) -> dict[str, Any]:
    """What is told of a thing but when it was made."""
    passing = {"CreationTime", "LastModifiedTime", "ResponseMetadata"}
    return {name: value for name, value in document.items() if name not in passing}


def _catalogue() -> Any:
    """Each step is announced by the ledger, as `[brakes]` in a catalogue file makes it."""
    steps = tuple(BrakeStep(Decimal(p), level) for p, level in zip(PERCENTS, LEVELS, strict=True))
    told = tuple(Threshold(Decimal(p), BudgetAction.WARN) for p in PERCENTS)
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.TOTAL, Decimal("0.01"), told)
    return replace(make_catalogue(), brakes=BrakePolicy(steps), budgets=(budget,))


@pytest.fixture
def stack(aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    file = tmp_path / "standin.toml"
    file.write_text(_CONFIG)
    standin = StandIn(tmp_path, aws.url, file)
    sqs, sns = aws.boto3_client("sqs"), aws.boto3_client("sns")
    names = ("ASYNC_QUEUE_URL", "BATCH_QUEUE_URL", "DEFERRED_QUEUE_URL")
    queues = {name: sqs.create_queue(QueueName=name.lower().replace("_", "-"))["QueueUrl"] for name in names}
    listener = sqs.create_queue(QueueName="alarm-listener")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=listener, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    environment = {
        **STORE_VARIABLES,
        "AWS_ENDPOINT_URL_SAGEMAKER": standin.url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": standin.url,
        "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING": standin.url,
        "ALARM_TOPIC_ARN": topic,
        "LOG_LEVEL": "CRITICAL",
        **queues,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    aws.boto3_client("s3").create_bucket(Bucket="overspend")
    standin.admin("PUT", "config", {"bucket": "overspend"})
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(_catalogue(), now=datetime.now(UTC))
    writer.point_to(1, expected=0)
    scaling = client("application-autoscaling", standin.url)
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{ASYNC.name}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    made = Stack(aws, standin, environment, listener)
    until(lambda: made.control.describe(REALTIME).current and made.control.describe(ASYNC).current)
    variant = made.control.describe(ASYNC).variants[0].name
    target["ResourceId"] = f"endpoint/{ASYNC.name}/variant/{variant}"
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=4)
    scaling.put_scaling_policy(
        **target,
        PolicyName="backlog",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0,
            "CustomizedMetricSpecification": {
                "Namespace": "AWS/SageMaker",
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Dimensions": [{"Name": "EndpointName", "Value": ASYNC.name}],
                "Statistic": "Average",
            },
        },
    )
    scaling.close()
    yield made
    made.close()
    for queue in (*queues.values(), listener):
        sqs.delete_queue(QueueUrl=queue)
    sns.delete_topic(TopicArn=topic)
    standin.stop()


STEPS = tuple(zip(PERCENTS, LEVELS, strict=True))


def _overspend(stack: Stack, steps: Sequence[tuple[int, BrakeLevel]] = STEPS, *, times: int = 1) -> dict[str, int]:
    """Spend until the last of these steps; looks from each crossing until its level is in force."""
    limit, number, below = Decimal("0.01"), 0, "none"
    looks = {level.word: 0 for _, level in steps}
    for percent, level in steps:
        while stack.spent() * 100 < limit * percent:
            number += 1
            # With a deadline no level but the last sends it to a later road, where nobody is here to finish it.
            assert stack.infer(number, deadline_seconds=20)["statusCode"] == 200
        assert stack.ask("/v1/control")["level"] == below
        below = level.word
        while stack.ask("/v1/control")["level"] != level.word:
            # What the others spend an environment reads every five seconds. Slowly, or the next step is crossed too.
            time.sleep(0.4)
            stack.infer(number := number + 1, deadline_seconds=20)
            stack.deliver(times)
            looks[level.word] += 1
            assert looks[level.word] <= LOOKS
    return looks


def test_an_overspend_goes_through_every_level_and_back(stack: Stack) -> None:
    """Each within ten seconds, messages doubled; then nothing is spent; a resume puts all back, byte for byte."""
    before = stack.standing()
    assert list(_overspend(stack, times=2)) == ["warn", "downgrade", "defer", "stop"]
    end = time.monotonic() + 60
    while not stack.down():
        assert time.monotonic() < end
        stack.tick()
    # A gateway may have read the record three seconds ago; the budget's refusals look the same as the brake's.
    time.sleep(3.1)
    spent = stack.spent()
    for number in range(9):
        answer = stack.infer(number, ("high", "medium", "low")[number % 3])
        assert answer["statusCode"] == 429
        assert answer["headers"]["x-tollgate-route-reason"] == "brake=stop"
    assert stack.spent() == spent
    control = stack.ask("/v1/control")
    assert {step["state"] for step in control["steps"]} == {"done"}
    assert Decimal(control["saves_usd_per_hour"]) == Decimal("0.23")
    order = {"source": "tollgate.brake", "order": "resume", "who": "ann"}
    assert budget_alarm.handle(order, stack.alarm)["level"] == "none"
    stack.until_as(before)
    stack.deliver(2)
    stack.tick()
    assert stack.ask("/v1/control")["level"] == "none"
    stack.until_answered(200)


def test_late_alarms_after_a_resume_change_nothing(stack: Stack) -> None:
    """Every message of an overspend that crossed all steps at once, once more and out of order."""
    _overspend(stack, STEPS[-1:])
    budget_alarm.handle({"source": "tollgate.brake", "order": "resume", "who": "ann"}, stack.alarm)
    (budget,) = stack.ask("/v1/budgets")["data"]
    for percent in (10, 4, 8, 6):
        notice = {
            "event": "budget.threshold",
            "budget": "gateway",
            "counter": budget["counter"],
            "at_percent": str(percent),
            "period_ends": budget["period_ends_at"],
        }
        stack.sns.publish(TopicArn=stack.topic, Message=json.dumps(notice))
        assert stack.deliver() >= 1
    assert stack.ask("/v1/control")["level"] == "none"


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([{"op": "DeleteEndpoint", "kind": "error", "status": 500, "count": 5}], id="deletion fails"),
        pytest.param([{"op": "DeleteEndpoint", "kind": "timeout_after_work", "count": 1}], id="answer lost"),
        pytest.param([{"op": "CreateEndpoint", "kind": "capacity", "count": 1}], id="creation refused"),
        pytest.param([{"op": "start", "kind": "capacity", "count": 2}], id="instances do not come, twice"),
    ],
)
def test_whatever_sagemaker_does_everything_goes_down_and_comes_back(
    stack: Stack, faults: list[dict[str, Any]]
) -> None:
    """The gateway is stopped at once; the schedule goes on until it is as it should be, in both directions."""
    before = stack.standing()
    stack.standin.admin("PUT", "faults", {"faults": [{"endpoint": REALTIME.name, **fault} for fault in faults]})
    order = {"source": "tollgate.brake", "who": "ann"}
    assert budget_alarm.handle(order | {"order": "set", "level": "stop"}, stack.alarm)["level"] == "stop"
    end = time.monotonic() + 60
    while not stack.down():
        assert time.monotonic() < end
        stack.tick()
    assert budget_alarm.handle(order | {"order": "resume"}, stack.alarm)["level"] == "none"
    stack.until_as(before)
