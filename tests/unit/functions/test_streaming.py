"""The streaming function's handler, on the samples of its events."""

import json
from copy import replace

import pytest

from functions.streaming import app as streaming
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway
from tests.fakes.sizes import chat_answer
from tests.fakes.streams import RecordingOutlet, chunk
from tests.unit.template_document import ROOT
from tollgate.domain.catalogue import Priority


def _handled(sample: str) -> RecordingOutlet:
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    (small,) = model.deployments
    model = replace(model, default_priority=Priority.HIGH, deployments=(replace(small, dialect="messages"),))
    gateway = FakeGateway(catalogue=replace(catalogue, models=dict.fromkeys(("smollm2", "echo"), model)))
    gateway.stream.pieces = [chunk("hello"), chunk(" you", "stop")]
    gateway.realtime.answer = (
        b'[{"generated_text": "hello whole"}]' if sample == "completion" else chat_answer("hello whole")
    )
    outlet = RecordingOutlet()
    event = json.loads((ROOT / "events" / "streaming" / f"{sample}.json").read_text())
    event["requestContext"]["authorizer"]["scopes"] = "infer"
    streaming.handle(event, gateway.api, outlet)
    return outlet


def test_a_stream_goes_out_in_pieces() -> None:
    """With the head of an event stream."""
    outlet = _handled("chat_stream")
    assert outlet.status == 200, outlet.body
    assert outlet.headers["Content-Type"].startswith("text/event-stream")
    assert outlet.headers["Cache-Control"] == "no-store"
    assert outlet.text == "hello you"
    assert outlet.events[-1] == "[DONE]"


def test_what_is_not_streamed_goes_out_as_one() -> None:
    """By the same function, since API Gateway cannot tell the two apart."""
    outlet = _handled("chat")
    assert len(outlet.written) == 1
    assert json.loads(outlet.body)["choices"][0]["message"]["content"] == "hello whole"


def test_a_response_goes_out_in_its_own_events() -> None:
    """From the first to the last."""
    kinds = [line.removeprefix("event: ") for line in _handled("response_stream").body.split("\n") if "event: " in line]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert kinds.count("response.output_text.delta") == 2


def test_a_plain_completion_is_answered() -> None:
    """The third route of this function."""
    outlet = _handled("completion")
    assert json.loads(outlet.body)["choices"][0]["text"] == "hello whole"


def test_what_is_held_for_a_stream_outlives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Money and idempotency key: given back too early, another call could spend or run the same."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    names = dict.fromkeys(("TABLE_JOBS", "TABLE_LEDGER", "TABLE_CACHE", "TABLE_REGISTRY", "BUCKET"), "x")
    queues = dict.fromkeys(("ASYNC_QUEUE_URL", "BATCH_QUEUE_URL"), "http://127.0.0.1/q")
    settings = streaming.StreamingSettings.load({**names, **queues, "STREAMING_SECONDS": "600"})
    service = streaming.build(settings)
    assert service._idempotency._lease_seconds > 600
    assert service._inference._admission._lease.total_seconds() > 600
    assert service._inference._realtime._time_limit < 600
