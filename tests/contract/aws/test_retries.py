"""What is sent again, how often, and after which wait."""

import socket
from time import monotonic
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tollgate.adapters.aws.errors import AwsConnectionError, AwsError, AwsTimeoutError, ThrottledError
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.transaction import TransactPut
from tollgate.adapters.messaging.sqs_client import QueueMessage, SqsClient
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient

THROTTLE = b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow"}'
INVALID = b'{"__type":"com.amazon.coral.validate#ValidationException","message":"bad"}'
FAILURES: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "502": {"status": 502},
    "503": {"status": 503},
    "504": {"status": 504},
    "501": {"status": 501},
    "429 without code": {"status": 429, "body": b""},
    "throttle": {"status": 400, "body": THROTTLE},
    "invalid": {"status": 400, "body": INVALID},
    "request timeout": {"status": 400, "body": b'{"__type":"RequestTimeout"}'},
    "access denied": {"status": 403, "body": b'{"__type":"AccessDeniedException"}'},
    "reset before the answer": {"reset": True},
    "reset in the answer": {"body": b'{"Item":{"pk":{"S":"a"}}}', "cut": 9},
}


@pytest.mark.parametrize("name", FAILURES)
def test_reads_are_tried_as_often_as_by_botocore(
    name: str, recorder: Any, answer: Any, ours: Any, make_boto: Any
) -> None:
    """A failure that stays is tried as often as botocore's standard mode tries it."""
    recorder.script = [answer(**FAILURES[name])] * 9
    with pytest.raises((ClientError, BotoCoreError)):
        make_boto("dynamodb").get_item(TableName="t", Key={"pk": {"S": "a"}})
    theirs = len(recorder.requests)
    recorder.script = [answer(**FAILURES[name])] * 9
    with pytest.raises(AwsError):
        DynamoDBClient(ours.transport).get_item("t", {"pk": "a"})
    assert len(recorder.requests) - theirs == theirs
    assert len(ours.slept) == theirs - 1


@pytest.mark.parametrize("name", [n for n in FAILURES if n not in {"501", "invalid", "access denied"}])
def test_reads_recover(name: str, recorder: Any, answer: Any, ours: Any) -> None:
    """After one failure of a kind that passes, the second answer counts."""
    recorder.script = [answer(**FAILURES[name]), answer(body=b'{"Item":{"pk":{"S":"a"}}}')]
    assert DynamoDBClient(ours.transport).get_item("t", {"pk": "a"}) == {"pk": "a"}


def test_waits_double_from_the_base_of_the_service(recorder: Any, answer: Any, ours: Any) -> None:
    """With jitter at one half, failures wait 12.5 and 25 ms, throttles 0.5 and 1 s."""
    recorder.script = [answer(status=500)] * 3 + [answer(status=400, body=THROTTLE)] * 3
    for _ in range(2):
        with pytest.raises(AwsError):
            DynamoDBClient(ours.transport).get_item("t", {"pk": "a"})
    assert ours.slept == [0.0125, 0.025, 0.5, 1.0]


def test_server_can_ask_for_a_longer_wait(recorder: Any, answer: Any, ours: Any) -> None:
    """`x-amz-retry-after` raises the wait, up to five seconds more."""
    recorder.script = [
        answer(status=500, headers={"x-amz-retry-after": "1500"}),
        answer(status=500, headers={"x-amz-retry-after": "99000"}),
    ]
    DynamoDBClient(ours.transport).get_item("t", {"pk": "a"})
    assert ours.slept == [1.5, 5.025]


def update(transport: Any) -> Any:
    """A write that must not run twice."""
    return DynamoDBClient(transport).update_item("t", {"pk": "a"}, update="ADD n :one", values={":one": 1})


def invoke(transport: Any) -> Any:
    """An inference, which costs money."""
    return SageMakerRuntimeClient(transport).invoke_endpoint("e", b"{}")


@pytest.mark.parametrize("call", [update, invoke])
@pytest.mark.parametrize("name", ["500", "503", "reset before the answer", "reset in the answer"])
def test_unsafe_calls_are_not_repeated_when_they_may_have_run(
    call: Any, name: str, recorder: Any, answer: Any, ours: Any
) -> None:
    """One request only, and the caller is told that the outcome is unknown."""
    recorder.script = [answer(**FAILURES[name])]
    with pytest.raises(AwsError) as failed:
        call(ours.transport)
    assert failed.value.outcome_unknown
    assert len(recorder.requests) == 1


@pytest.mark.parametrize("call", [update, invoke])
def test_unsafe_calls_are_repeated_after_a_throttle(call: Any, recorder: Any, answer: Any, ours: Any) -> None:
    """A throttled call did not run, so it is sent again."""
    recorder.script = [answer(status=400, body=THROTTLE)]
    call(ours.transport)
    assert len(recorder.requests) == 2


def test_all_attempts_share_the_limit_of_the_call(recorder: Any, answer: Any, ours: Any) -> None:
    """A refused call is not made again where its wait leaves too little time, and what is left limits the next one."""
    client = SageMakerRuntimeClient(ours.transport)
    recorder.script = [answer(status=400, body=THROTTLE)]
    with pytest.raises(ThrottledError):
        client.invoke_endpoint("e", b"{}", timeout_s=0.9)
    assert (len(recorder.requests), ours.slept) == (1, [])
    recorder.script = [answer(status=400, body=THROTTLE, hang=0.4), answer(hang=2.5)]
    began = monotonic()
    with pytest.raises(AwsTimeoutError):
        client.invoke_endpoint("e", b"{}", timeout_s=2.0)
    assert monotonic() - began < 2.4
    assert (len(recorder.requests), ours.slept) == (3, [0.5])


def test_a_connection_counts_for_the_limit(make_transport: Any) -> None:
    """Nobody answers at all: the call ends with its limit, and certainly did not run."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
        port = full.getsockname()[1]
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        ours = make_transport(sagemaker_runtime_endpoint=f"http://127.0.0.1:{port}")
        began = monotonic()
        with pytest.raises(AwsConnectionError) as failed:
            SageMakerRuntimeClient(ours.transport).invoke_endpoint("e", b"{}", timeout_s=0.3)
        assert monotonic() - began < 1
        for connection in waiting:
            connection.close()
    assert not failed.value.outcome_unknown


def test_policy_can_be_chosen_for_a_call(recorder: Any, answer: Any, ours: Any) -> None:
    """A caller who knows that a write is harmless to repeat says so; one who forbids retries has none."""
    client = DynamoDBClient(ours.transport)
    recorder.script = [answer(status=500)]
    client.update_item("t", {"pk": "a"}, update="SET a = :a", values={":a": 1}, retry=RetryPolicy.IDEMPOTENT)
    assert len(recorder.requests) == 2
    recorder.script = [answer(status=400, body=THROTTLE)]
    with pytest.raises(ThrottledError):
        client.put_item("t", {"pk": "a"}, retry=RetryPolicy.NEVER)
    assert len(recorder.requests) == 3


@pytest.mark.parametrize(("condition", "requests"), [(None, 2), ("attribute_not_exists(pk)", 1)])
def test_only_unconditional_puts_are_repeated(
    condition: str | None, requests: int, recorder: Any, answer: Any, ours: Any
) -> None:
    """A conditional put would fail on its own first write; it is left to the caller."""
    recorder.script = [answer(status=500)]
    try:
        DynamoDBClient(ours.transport).put_item("t", {"pk": "a"}, condition=condition)
    except AwsError as error:
        assert error.outcome_unknown  # noqa: PT017  # one of the two cases raises
    assert len(recorder.requests) == requests


@pytest.mark.parametrize(("token", "requests"), [("token", 2), (None, 1)])
def test_transactions_are_repeated_with_a_token(
    token: str | None, requests: int, recorder: Any, answer: Any, ours: Any
) -> None:
    """DynamoDB applies one token once, so only then is a lost answer asked for again."""
    recorder.script = [answer(reset=True)]
    client = DynamoDBClient(ours.transport)
    try:
        client.transact_write_items([TransactPut("t", {"pk": "a"})], client_request_token=token)
    except AwsError as error:
        assert error.outcome_unknown  # noqa: PT017  # one of the two cases raises
    assert len(recorder.requests) == requests


def test_slow_answer_is_a_timeout(recorder: Any, answer: Any, make_transport: Any) -> None:
    """An answer after the read time-out is not waited for, and the outcome is unknown."""
    ours = make_transport(read_timeout_s=1.0)
    recorder.script = [answer(hang=20.0)]
    with pytest.raises(AwsTimeoutError) as failed:
        update(ours.transport)
    assert failed.value.outcome_unknown
    assert update(ours.transport) is None
    assert [request.connection for request in recorder.requests] == [1, 2]


def test_reads_are_repeated_after_a_timeout(recorder: Any, answer: Any, make_transport: Any) -> None:
    """A read that was too slow is tried again on a new connection."""
    ours = make_transport(read_timeout_s=1.0)
    recorder.script = [answer(hang=20.0), answer(body=b'{"Item":{"pk":{"S":"a"}}}')]
    assert DynamoDBClient(ours.transport).get_item("t", {"pk": "a"}) == {"pk": "a"}
    assert [request.connection for request in recorder.requests] == [1, 2]


def test_refused_connection_is_tried_again_even_for_unsafe_calls(make_transport: Any) -> None:
    """Nothing was sent, so three connections are tried; the outcome is known."""
    ours = make_transport(sagemaker_runtime_endpoint="http://127.0.0.1:1")
    with pytest.raises(AwsConnectionError) as failed:
        invoke(ours.transport)
    assert not failed.value.outcome_unknown
    assert ours.slept == [0.025, 0.05]


def test_budget_stops_retries_when_everything_fails(recorder: Any, answer: Any, ours: Any) -> None:
    """500 tokens pay for 35 retries at 14 each; then calls fail at the first attempt, per service."""
    client = DynamoDBClient(ours.transport)
    recorder.script = [answer(status=500)] * 100
    for _ in range(20):
        with pytest.raises(AwsError):
            client.get_item("t", {"pk": "a"})
    assert len(recorder.requests) == 20 + 35
    recorder.script = [answer(status=500), answer(body=b'{"MessageId":"m"}')]
    SqsClient(ours.transport).send_message("q", QueueMessage("m"))
    assert len(recorder.requests) == 20 + 35 + 2


def test_unread_keys_are_asked_for_again(recorder: Any, answer: Any, ours: Any) -> None:
    """A batch read goes on until DynamoDB has read every key."""
    recorder.script = [
        answer(body=b'{"Responses":{"t":[{"pk":{"S":"a"}}]},"UnprocessedKeys":{"t":{"Keys":[{"pk":{"S":"b"}}]}}}'),
        answer(body=b'{"Responses":{"t":[{"pk":{"S":"b"}}]},"UnprocessedKeys":{}}'),
    ]
    found = DynamoDBClient(ours.transport).batch_get_item({"t": [{"pk": "a"}, {"pk": "b"}]})
    assert found == {"t": [{"pk": "a"}, {"pk": "b"}]}
    assert b'"Keys":[{"pk":{"S":"b"}}]' in recorder.requests[1].body
    assert len(ours.slept) == 1


def test_keys_that_stay_unread_are_an_error(recorder: Any, answer: Any, ours: Any) -> None:
    """Missing items are never passed off as not existing."""
    recorder.script = [answer(body=b'{"Responses":{},"UnprocessedKeys":{"t":{"Keys":[{"pk":{"S":"b"}}]}}}')] * 5
    with pytest.raises(ThrottledError):
        DynamoDBClient(ours.transport).batch_get_item({"t": [{"pk": "b"}]})
    assert len(recorder.requests) == 5
