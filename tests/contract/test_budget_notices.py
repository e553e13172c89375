"""A threshold's notice reaches who subscribed to the alarm topic, once, whoever crosses it."""

import json
import socket
import time
from collections.abc import Iterator
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.moto_stores import LEDGER_TABLE, LocalAws
from tests.fakes.clock import ManualClock
from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.messaging.sns_notices import SnsNotices
from tollgate.domain.budgets.budget import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.errors import BudgetExceededError
from tollgate.services.budgets.finish_notices import NoticeFinisher
from tollgate.services.requests.admission import Admission

_BUDGET = Budget(
    ScopeKind.TEAM,
    OWNER.team,
    BudgetPeriod.DAY,
    Decimal(1),
    thresholds=(Threshold(Decimal(80), BudgetAction.WARN), Threshold(Decimal(95), BudgetAction.DEFER)),
)
_CATALOGUE = replace(make_catalogue(), budgets=(_BUDGET,))


class Subscriber:
    """A queue that is subscribed to a topic."""

    def __init__(self, aws: LocalAws) -> None:
        self._topics, self._queues = aws.boto3_client("sns"), aws.boto3_client("sqs")
        self.topic = self._topics.create_topic(Name="alarms")["TopicArn"]
        self._queue = self._queues.create_queue(QueueName="subscriber")["QueueUrl"]
        wanted = self._queues.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn = wanted["Attributes"]["QueueArn"]
        self._topics.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def received(self) -> list[dict[str, Any]]:
        """Everything that has come and was not read yet."""
        found: list[dict[str, Any]] = []
        while messages := self._queues.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self._queues.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def end(self) -> None:
        self._topics.delete_topic(TopicArn=self.topic)
        self._queues.delete_queue(QueueUrl=self._queue)


@pytest.fixture
def subscriber(aws: LocalAws) -> Iterator[Subscriber]:
    found = Subscriber(aws)
    yield found
    found.end()


def _environments(aws: LocalAws, topic: str, clock: ManualClock, count: int) -> list[Admission]:
    """Execution environments, which know nothing of one another."""
    return [
        Admission(
            ledger=DynamoDBLedger(aws.dynamodb, LEDGER_TABLE),
            telemetry=RecordingTelemetry(),
            clock=clock,
            notices=SnsNotices(topic),
        )
        for _ in range(count)
    ]


def _spend(admission: Admission, clock: ManualClock, name: str, amount: str) -> None:
    """One request, long enough after the one before that its environment looks at the counters again."""
    clock.advance(6)
    admitted = admission.admit(_CATALOGUE, OWNER, "echo")
    assert admitted is not None
    admission.pressure(admitted)
    reservation = admission.reserve(admitted, [Ask(Decimal(amount))], inference_id=name)
    admission.settle(reservation, Decimal(amount), "completed")


def test_each_threshold_is_told_once_to_the_subscriber(aws: LocalAws, subscriber: Subscriber) -> None:
    """Four environments cross them one after the other; the next day they are told again."""
    clock = ManualClock()
    environments = _environments(aws, subscriber.topic, clock, 4)
    _spend(environments[0], clock, "below", "0.7")
    assert subscriber.received() == []
    for number, admission in enumerate(environments):
        _spend(admission, clock, f"warned-{number}", "0.035")
    (told,) = subscriber.received()
    assert told["TopicArn"] == subscriber.topic
    assert told["Subject"] == f"Tollgate budget team:{OWNER.team} at 80 %: warn"
    notice = json.loads(told["Message"])
    day = f"{clock.now():%Y-%m-%d}"
    assert notice | {"period_ends": None} == {
        "id": f"team:{OWNER.tenant}/{OWNER.team}#day#{day}@80",
        "event": "budget.threshold",
        "budget": f"team:{OWNER.team}",
        "counter": f"team:{OWNER.tenant}/{OWNER.team}#day#{day}",
        "at_percent": "80",
        "action": "warn",
        "limit_usd": "1",
        "period_ends": None,
    }
    assert notice["period_ends"] > day
    for number, admission in enumerate(environments):
        _spend(admission, clock, f"deferred-{number}", "0.03")
    for admission in environments:
        with pytest.raises(BudgetExceededError):
            _spend(admission, clock, "refused", "0.1")
    assert [json.loads(each["Message"])["action"] for each in subscriber.received()] == ["defer", "block"]
    clock.advance(24 * 3600)
    _spend(environments[1], clock, "tomorrow", "0.9")
    assert [json.loads(each["Message"])["action"] for each in subscriber.received()] == ["warn"]


def test_a_topic_that_is_not_there_refuses_no_request(aws: LocalAws, subscriber: Subscriber) -> None:
    """The request that crossed the threshold is admitted and settled; the schedule publishes once the topic is back."""
    clock = ManualClock()
    (admission,) = _environments(aws, f"{subscriber.topic}-gone", clock, 1)
    _spend(admission, clock, "first", "0.9")
    ledger = DynamoDBLedger(aws.dynamodb, LEDGER_TABLE)
    (counter,) = ledger.read([f"team:{OWNER.tenant}/{OWNER.team}#day#{clock.now():%Y-%m-%d}"], consistent=True).values()
    assert (counter.spent, counter.held) == (Decimal("0.9"), Decimal(0))
    assert subscriber.received() == []
    schedule = NoticeFinisher(
        ledger=ledger, notices=SnsNotices(subscriber.topic), telemetry=RecordingTelemetry(), clock=clock
    )
    clock.advance(60)
    assert [schedule.finish(), schedule.finish()] == [1, 0]
    (told,) = subscriber.received()
    assert json.loads(told["Message"])["at_percent"] == "80"


def test_a_topic_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits for it for two seconds, not for the minute that is usual; the notice stays open."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", f"http://127.0.0.1:{silent.getsockname()[1]}")
        clock, telemetry, ledger = ManualClock(), RecordingTelemetry(), InMemoryLedger()
        notices = SnsNotices("arn:aws:sns:us-east-1:123456789012:alarms")
        admission = Admission(ledger=ledger, telemetry=telemetry, clock=clock, notices=notices)
        began = time.monotonic()
        _spend(admission, clock, "first", "0.9")
        assert time.monotonic() - began < 30  # of the minute that is usual
    assert telemetry.counts["BudgetNoticeDelayed"] == 1
    assert [notice.document["at_percent"] for notice in ledger.open_notices(limit=9)] == ["80"]
