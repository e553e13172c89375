"""InvokeEndpointAsync: S3 in, S3 out, SNS at the end."""

import json
from typing import Any

import pytest

from tests.integration.sagemaker_standin.conftest import World

pytestmark = pytest.mark.integration
QUESTION = json.dumps({"inputs": "a b c"}).encode()


def submit(world: World, endpoint: str, **arguments: Any) -> Any:
    given = {"ContentType": "application/json", **arguments}
    return world.runtime.invoke_endpoint_async(EndpointName=endpoint, **given)


def test_an_input_in_s3_ends_as_an_output_in_s3_and_a_message(world: World) -> None:
    """202 with both locations; then the output is there and SNS says so in AWS's shape."""
    endpoint = world.endpoint(world.model(), asynchronous=True)
    world.s3.put_object(Bucket=world.bucket, Key="in/1", Body=QUESTION)
    location = f"s3://{world.bucket}/in/1"
    answer = submit(world, endpoint, InputLocation=location, InferenceId="mine", Accept="application/json")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "mine"
    assert answer["FailureLocation"].startswith(f"s3://{world.bucket}/results-failed/")
    [message] = world.messages(1)
    assert json.loads(world.read(answer["OutputLocation"]))[0]["generated_text"] == "c b a"
    times = (message.pop("eventTime"), message.pop("receivedTime"))
    assert times[0] >= times[1]
    assert message == {
        "awsRegion": "us-east-1",
        "invocationStatus": "Completed",
        "requestParameters": {
            "accept": "application/json",
            "contentType": "application/json",
            "endpointName": endpoint,
            "inputLocation": location,
        },
        "responseParameters": {"contentType": "application/json", "outputLocation": answer["OutputLocation"]},
        "inferenceId": "mine",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def test_a_body_may_travel_in_the_request(world: World) -> None:
    """An inline body does the same without S3; an id is made when none is given."""
    endpoint = world.endpoint(world.model(), asynchronous=True)
    answer = submit(world, endpoint, Body=QUESTION)
    [message] = world.messages(1)
    assert message["inferenceId"] == answer["InferenceId"]
    assert message["responseParameters"]["outputLocation"] == answer["OutputLocation"]


def test_a_failure_is_written_and_told(world: World) -> None:
    """A container error, and an input that is not there, end in a failure object and the error topic."""
    endpoint = world.endpoint(world.model(), asynchronous=True)
    answers = {
        "model": submit(world, endpoint, Body=b'{"_fail": 500}', InferenceId="model"),
        "input": submit(world, endpoint, InputLocation=f"s3://{world.bucket}/none", InferenceId="input"),
    }
    for message in world.messages(2):
        assert message["invocationStatus"] == "Failed"
        assert "responseParameters" not in message
        written = json.loads(world.read(answers[message["inferenceId"]]["FailureLocation"]))
        assert written["error"] == message["failureReason"]
    assert world.keys("results/") == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"Body": b"{}", "InputLocation": "s3://b/k"},
        {"Body": b"x" * 128_001},
        {"InputLocation": "file:///etc"},
        {"Body": b"{}", "InferenceId": "i", "RequestTTLSeconds": 60, "endpoint": "t-echo-realtime"},
    ],
    ids=["neither", "both", "too large", "not S3", "not asynchronous"],
)
def test_what_cannot_be_taken_is_refused_at_once(world: World, arguments: dict[str, Any]) -> None:
    """Exactly one input of at most 128,000 bytes, from S3 or inline, to an asynchronous endpoint."""
    endpoint = arguments.pop("endpoint", None) or world.endpoint(world.model(), asynchronous=True)
    with pytest.raises(world.runtime.exceptions.ClientError) as raised:
        submit(world, endpoint, **arguments)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 413)


def test_a_real_time_call_to_an_async_endpoint_is_refused(world: World) -> None:
    """AWS has two kinds of endpoint, and neither serves the other's calls."""
    endpoint = world.endpoint(world.model(), asynchronous=True)
    with pytest.raises(world.runtime.exceptions.ValidationError):
        world.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}")


def test_an_endpoint_at_zero_keeps_its_backlog(world: World) -> None:
    """At no instances requests are accepted and wait; when instances come, all of them are served."""
    endpoint = world.endpoint(world.model(), asynchronous=True)
    world.scale(endpoint, 0)
    ids = {submit(world, endpoint, Body=QUESTION, InferenceId=f"w-{n}")["InferenceId"] for n in range(5)}
    assert world.no_message()
    assert world.standin.admin("GET", "state")["endpoints"][endpoint]["queue_depth"] == 5
    world.scale(endpoint, 1)
    assert {message["inferenceId"] for message in world.messages(5)} == ids
    assert world.standin.admin("GET", "state")["endpoints"][endpoint]["queue_depth"] == 0


def test_work_is_as_wide_as_the_endpoint(world: World) -> None:
    """MaxConcurrentInvocationsPerInstance times instances requests run at once, no more."""
    endpoint = world.endpoint(world.model(), asynchronous=True, instances=2, per_instance=2)
    for number in range(8):
        submit(world, endpoint, Body=b'{"_sleep": 0.3}', InferenceId=f"{number}")
    world.messages(8)
    state = world.standin.admin("GET", "state")
    starts = sorted(row["at"] for row in state["inferences"] if row["endpoint"] == endpoint)
    assert all(later - earlier >= 0.29 for earlier, later in zip(starts, starts[4:], strict=False))


def test_messages_can_be_lost_and_doubled(world: World) -> None:
    """A dropped message leaves only the output in S3; a duplicated one comes twice."""
    endpoint = world.endpoint(world.model(), asynchronous=True)
    world.standin.break_(op="sns", endpoint=endpoint, kind="drop")
    submit(world, endpoint, Body=QUESTION, InferenceId="lost")
    assert world.no_message()
    assert len(world.keys("results/")) == 1
    world.standin.break_(op="sns", endpoint=endpoint, kind="duplicate")
    submit(world, endpoint, Body=QUESTION, InferenceId="twice")
    assert [message["inferenceId"] for message in world.messages(2)] == ["twice", "twice"]
