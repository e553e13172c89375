"""InvokeEndpoint and InvokeEndpointWithResponseStream, as unmodified boto3 sees them."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from tests.integration.sagemaker_standin.conftest import World
from tests.integration.sagemaker_standin.process import until

pytestmark = pytest.mark.integration
CHAT = {"messages": [{"role": "user", "content": "one two three"}]}


def call(world: World, endpoint: str, document: Any = CHAT, **more: Any) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document)
    return world.invoke(endpoint, body, **more)


def test_an_answer_comes_with_its_variant_and_attributes(world: World) -> None:
    """Body, content type, variant and custom attributes arrive where botocore looks for them."""
    answer = call(world, "t-echo-realtime", CustomAttributes="trace-1", InferenceId="i-1")
    assert json.loads(answer["Body"])["choices"][0]["message"]["content"] == "three two one"
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "trace-1"
    assert [row["inference_id"] for row in world.standin.admin("GET", "state")["inferences"]].count("i-1") == 1


def test_an_unknown_endpoint_is_a_validation_error(world: World) -> None:
    """Status, code and message are those of AWS."""
    with pytest.raises(world.runtime.exceptions.ValidationError) as raised:
        call(world, "nowhere")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert raised.value.response["Error"]["Message"] == "Endpoint nowhere of account 000000000000 not found."


@pytest.mark.parametrize("status", [400, 500, 503])
def test_a_container_error_is_a_model_error(world: World, status: int) -> None:
    """A container's status and body travel in ModelError's members, under 424."""
    with pytest.raises(world.runtime.exceptions.ModelError) as raised:
        call(world, "t-echo-realtime", {"_fail": status})
    response = raised.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == f"Asked to fail with {status}"
    assert response["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/t-echo-realtime")


def test_a_body_over_six_megabytes_is_refused(world: World) -> None:
    """6,291,456 bytes pass, one more does not, and the model never sees it."""
    before = world.standin.admin("GET", "state")["inference_counts"].get("t-echo-realtime", {})
    limit = b'{"x": "' + b"a" * (6_291_456 - 9) + b'"}'
    assert len(limit) == 6_291_456
    assert call(world, "t-echo-realtime", limit)["Body"].startswith(b'{"echo"')
    with pytest.raises(ClientError) as raised:
        call(world, "t-echo-realtime", limit + b" ")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    after = world.standin.admin("GET", "state")["inference_counts"]["t-echo-realtime"]
    assert after["ok"] == before.get("ok", 0) + 1


def test_a_slow_model_times_out_as_a_model_error(world: World) -> None:
    """Past the limit (60 s on AWS) the caller gets a ModelError with status 0, and the inference is on record."""
    endpoint = world.endpoint(world.model())
    world.standin.admin("PUT", "config", {"model_limit_seconds": 0.2})
    try:
        with pytest.raises(world.runtime.exceptions.ModelError) as raised:
            call(world, endpoint, {"_sleep": 5})
    finally:
        world.standin.admin("PUT", "config", {"model_limit_seconds": 60})
    assert raised.value.response["OriginalStatusCode"] == 0
    assert "timed out" in raised.value.response["OriginalMessage"]
    assert world.standin.admin("GET", "state")["inference_counts"][endpoint] == {"timeout": 1}


def test_an_endpoint_is_as_wide_as_its_instances_and_queue(world: World) -> None:
    """Two instances of one worker serve two at once, one waits, and the next is refused with 503."""
    model = world.model(SAGEMAKER_MODEL_SERVER_WORKERS="1", STANDIN_QUEUE_LIMIT="1")
    endpoint = world.endpoint(model, instances=2)

    def gate() -> Any:
        return world.standin.admin("GET", "state")["endpoints"][endpoint]["gates"][f"{endpoint}/main"]

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(call, world, endpoint, {"_sleep": 3}) for _ in range(3)]
        until(lambda: gate() == {"places": 2, "busy": 2, "waiting": 1})
        with pytest.raises(world.runtime.exceptions.ServiceUnavailable) as raised:
            call(world, endpoint)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert [answer.result()["ResponseMetadata"]["HTTPStatusCode"] for answer in answers] == [200] * 3
    assert world.standin.admin("GET", "state")["inference_counts"][endpoint] == {"ok": 3}


def test_a_variant_can_be_named_and_must_exist(world: World) -> None:
    """TargetVariant goes to its variant; an unknown one, or a TargetModel here, is a validation error."""
    endpoint = world.endpoint(world.model())
    assert call(world, endpoint, TargetVariant="main")["InvokedProductionVariant"] == "main"
    for wrong in ({"TargetVariant": "other"}, {"TargetModel": "a.tar.gz"}, {"InferenceComponentName": "none"}):
        with pytest.raises(world.runtime.exceptions.ValidationError):
            call(world, endpoint, **wrong)


def test_traffic_follows_the_weights(world: World) -> None:
    """A variant of weight zero gets nothing, and weights can be changed under traffic."""
    name, model = world.bucket, world.model()
    variants = [
        {"VariantName": key, "ModelName": model, "InitialInstanceCount": 1, "InitialVariantWeight": weight}
        for key, weight in (("a", 1.0), ("b", 0.0))
    ]
    world.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
    world.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    world.wait(name)
    assert {call(world, name)["InvokedProductionVariant"] for _ in range(10)} == {"a"}
    wishes = [{"VariantName": "a", "DesiredWeight": 0.0}, {"VariantName": "b", "DesiredWeight": 1.0}]
    world.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wishes)
    world.wait(name)
    assert {call(world, name)["InvokedProductionVariant"] for _ in range(10)} == {"b"}


def test_pieces_of_a_stream_arrive_as_they_are_made(world: World) -> None:
    """The EventStream of botocore yields server-sent events one by one, and their text is the answer's."""
    body = json.dumps(CHAT | {"stream": True})
    answer = world.runtime.invoke_endpoint_with_response_stream(
        EndpointName="t-echo-realtime", ContentType="application/json", Body=body
    )
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ContentType"] == "text/event-stream"
    parts = [event["PayloadPart"]["Bytes"].decode() for event in answer["Body"]]
    assert len(parts) == 6
    assert parts[-1] == "data: [DONE]\n\n"
    chunks = [json.loads(part.removeprefix("data: ")) for part in parts[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == "three two one"


def test_a_stream_is_not_held_back_and_ends_with_its_listener(world: World) -> None:
    """Pieces arrive while later ones are still to be made; when the client leaves, the place is free again."""
    endpoint = world.endpoint(world.model(SAGEMAKER_MODEL_SERVER_WORKERS="1"))
    body = json.dumps({"inputs": "a " * 200, "stream": True, "_pace": 0.2})
    started = time.monotonic()
    answer = world.runtime.invoke_endpoint_with_response_stream(
        EndpointName=endpoint, ContentType="application/json", Body=body
    )
    events = iter(answer["Body"])
    for _ in range(3):
        next(events)
    assert 0.3 < time.monotonic() - started < 20  # of the forty that all of it takes
    answer["Body"].close()
    until(lambda: world.standin.admin("GET", "state")["inference_counts"][endpoint] == {"abandoned": 1})
    call(world, endpoint)


def test_a_stream_that_fails_at_once_is_an_ordinary_error(world: World) -> None:
    """Before the first piece there is still a status to answer with."""
    with pytest.raises(world.runtime.exceptions.ModelError):
        world.runtime.invoke_endpoint_with_response_stream(
            EndpointName="t-echo-realtime", ContentType="application/json", Body=json.dumps({"_fail": 500})
        )


def test_injected_failures_reach_the_client_in_their_own_shape(world: World) -> None:
    """An error has its code; a lost answer leaves the inference counted; an abandoned one breaks the connection."""
    endpoint = world.endpoint(world.model())
    world.standin.break_(op="invoke", endpoint=endpoint, kind="error", status=429, code="ModelNotReadyException")
    with pytest.raises(world.runtime.exceptions.ModelNotReadyException):
        call(world, endpoint)
    world.standin.break_(op="invoke", endpoint=endpoint, kind="timeout_after_work")
    with pytest.raises(world.runtime.exceptions.ModelError):
        call(world, endpoint)
    world.standin.break_(op="invoke", endpoint=endpoint, kind="abandon")
    with pytest.raises(HTTPClientError):
        call(world, endpoint)
    world.standin.break_(op="invoke", endpoint=endpoint, kind="latency", seconds=0.5)
    started = time.monotonic()
    call(world, endpoint)
    assert time.monotonic() - started >= 0.5
    assert world.standin.admin("GET", "state")["inference_counts"][endpoint] == {"ok": 3}
