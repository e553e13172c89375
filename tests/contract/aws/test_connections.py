"""How connections are kept, replaced and shared, and what odd answers do to them."""

import json
import threading
import time
from typing import Any

import pytest

from tests.contract.aws.conftest import until_noticed
from tollgate.adapters.aws.call import AwsService
from tollgate.adapters.aws.errors import AwsError
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient

ITEM = b'{"Item":{"pk":{"S":"a"}}}'


def read(transport: Any) -> Any:
    """A safe call."""
    return DynamoDBClient(transport).get_item("t", {"pk": "a"})


def invoke(transport: Any) -> Any:
    """An unsafe call."""
    return SageMakerRuntimeClient(transport).invoke_endpoint("e", b"{}")


def test_nothing_is_opened_before_the_first_call(recorder: Any, make_transport: Any) -> None:
    """Construction makes no connection and no event loop."""
    ours = make_transport()
    time.sleep(0.05)
    assert recorder.connections == 0
    assert ours.transport._runtime._bootstrap is None
    read(ours.transport)
    assert recorder.connections == 1
    assert ours.transport._runtime._bootstrap is not None


def test_connection_is_kept(recorder: Any, ours: Any) -> None:
    """Calls one after another share a connection."""
    for _ in range(5):
        read(ours.transport)
    assert {request.connection for request in recorder.requests} == {1}


@pytest.mark.parametrize("call", [read, invoke])
def test_connection_closed_while_resting_is_replaced(call: Any, recorder: Any, ours: Any) -> None:
    """The server hangs up between two calls; nobody notices, safe call or not."""
    call(ours.transport)
    recorder.drop_connections()
    until_noticed(ours.transport)
    call(ours.transport)
    assert [request.connection for request in recorder.requests] == [1, 2]
    assert ours.slept == []


@pytest.mark.parametrize("call", [read, invoke])
def test_connection_that_closes_as_it_is_taken(call: Any, recorder: Any, ours: Any) -> None:
    """A connection that closes between the check and its use was never written to, and is replaced."""
    call(ours.transport)
    for pool in ours.transport._pools.values():
        for idle in pool._idle:
            idle.connection.close().result(5)
        taken = iter([idle.connection for idle in pool._idle])
        pool._take = lambda _max_idle_s, taken=taken: next(taken, None)
    call(ours.transport)
    assert [request.connection for request in recorder.requests] == [1, 2]
    assert ours.slept == []


def test_connection_that_dies_under_a_safe_call_is_replaced(recorder: Any, answer: Any, ours: Any) -> None:
    """A kept connection that breaks without an answer costs no retry."""
    read(ours.transport)
    recorder.script = [answer(reset=True), answer(body=ITEM)]
    assert read(ours.transport) == {"pk": "a"}
    assert ours.slept == []


def test_connection_that_dies_under_an_unsafe_call_is_reported(recorder: Any, answer: Any, ours: Any) -> None:
    """The request was sent whole, so it may have run: it is not sent again."""
    invoke(ours.transport)
    recorder.script = [answer(reset=True)]
    with pytest.raises(AwsError) as failed:
        invoke(ours.transport)
    assert failed.value.outcome_unknown
    assert len(recorder.requests) == 2


def test_rested_connections_are_not_used_for_unsafe_calls(recorder: Any, make_transport: Any) -> None:
    """After a freeze a connection may be dead without a sign; unsafe calls do not take the risk."""
    ours = make_transport(max_idle_unsafe_s=0.05)
    invoke(ours.transport)
    time.sleep(0.1)
    invoke(ours.transport)
    assert [request.connection for request in recorder.requests] == [1, 2]


def test_connection_closed_after_an_answer_is_not_used_again(recorder: Any, answer: Any, ours: Any) -> None:
    """`Connection: close`, said or not, ends a connection; the next call opens another."""
    recorder.script = [answer(headers={"Connection": "close"}, close_after=True), answer(close_after=True)]
    for _ in range(3):
        read(ours.transport)
        time.sleep(0.05)
    assert [request.connection for request in recorder.requests] == [1, 2, 3]
    assert ours.slept == []


def test_close_drops_resting_connections(recorder: Any, ours: Any) -> None:
    """After `close` the next call connects anew."""
    read(ours.transport)
    ours.transport.close()
    read(ours.transport)
    assert recorder.connections == 2


def test_chunked_answer(recorder: Any, answer: Any, ours: Any) -> None:
    """A chunked body is put together, and the connection can be used again."""
    recorder.script = [answer(body=ITEM, chunked=True)] * 2
    assert [read(ours.transport) for _ in range(2)] == [{"pk": "a"}] * 2
    assert recorder.connections == 1


def test_large_body_both_ways(recorder: Any, answer: Any, ours: Any) -> None:
    """Six megabytes arrive unchanged in both directions."""
    sent = bytes(range(256)) * 24_576
    recorder.script = [answer(body=sent[::-1])]
    result = SageMakerRuntimeClient(ours.transport).invoke_endpoint("e", sent)
    assert recorder.requests[0].body == sent
    assert result.body == sent[::-1]


def test_ten_kilobyte_header(recorder: Any, answer: Any, ours: Any) -> None:
    """A long header passes both ways."""
    value = "v" * 10_240
    recorder.script = [answer(headers={"x-amzn-sagemaker-custom-attributes": value})]
    result = SageMakerRuntimeClient(ours.transport).invoke_endpoint("e", b"{}", custom_attributes=value)
    assert recorder.requests[0].headers["x-amzn-sagemaker-custom-attributes"] == value
    assert result.custom_attributes == value


def test_threads_do_not_mix_their_answers(recorder: Any, answer: Any, ours: Any) -> None:
    """Concurrent calls each get a connection and their own answer."""

    def echo(number: int) -> None:
        body = json.dumps({"pk": number}).encode()
        results.append((number, SageMakerRuntimeClient(ours.transport).invoke_endpoint(f"e{number}", body)))

    results: list[Any] = []
    recorder.script = [answer(hang=0.1)] * 8
    threads = [threading.Thread(target=echo, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(number for number, _ in results) == list(range(8))
    assert len({request.connection for request in recorder.requests}) == 8
    for request in recorder.requests:
        number = json.loads(request.body)["pk"]
        assert request.target == f"/endpoints/e{number}/invocations"


def test_many_calls_keep_the_answers_apart(recorder: Any, answer: Any, ours: Any) -> None:
    """Past the point where the event loop's thread changes its way of working, answers stay right."""
    recorder.script = [answer(body=json.dumps({"Item": {"n": {"N": str(number)}}}).encode()) for number in range(150)]
    client = DynamoDBClient(ours.transport)
    assert [client.get_item("t", {"pk": "a"}) for _ in range(150)] == [{"n": number} for number in range(150)]


def test_credentials_are_read_for_every_call(recorder: Any, ours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that change in the environment are used at once."""
    read(ours.transport)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDROTATED")
    read(ours.transport)
    used = [request.headers["authorization"].partition("Credential=")[2][:11] for request in recorder.requests]
    assert used == ["AKIDEXAMPLE", "AKIDROTATED"]


def test_services_do_not_share_connections(recorder: Any, ours: Any) -> None:
    """Each service has its own pool even on one host."""
    read(ours.transport)
    invoke(ours.transport)
    assert recorder.connections == len({AwsService.DYNAMODB, AwsService.SAGEMAKER_RUNTIME})
