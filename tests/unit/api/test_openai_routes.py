"""OpenAI's routes over fakes: what containers are sent, what clients get back, and what each refusal names."""

import base64
import json
import struct
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document
from tollgate.domain.catalogue import Catalogue, InferenceType, ModelKind, Priority
from tollgate.domain.errors import BackendTimeoutError, CapacityError, StorageError
from tollgate.domain.jobs import JobFailure, JobState, Payload, Usage

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}], "service_tier": "priority"}
COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "there hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
}
GENERATED = {"text": "there hello", "finish_reason": "stop"}


def _catalogue(gateway: FakeGateway, **changes: Any) -> Catalogue:
    """The example catalogue, with changes to its model; `dialect` and `supports` go to the deployment."""
    (model,) = gateway.catalogue.models.values()
    own = {name: changes.pop(name) for name in ("dialect", "supports") if name in changes}
    deployment = replace(model.deployments[0], **own)
    return replace(gateway.catalogue, models={"echo": replace(model, deployments=(deployment,), **changes)})


def _gateway(**changes: Any) -> FakeGateway:
    changes.setdefault("dialect", "tgi")
    gateway = FakeGateway()
    gateway = FakeGateway(catalogue=_catalogue(gateway, **changes))
    gateway.realtime.answer = json.dumps(COMPLETION).encode()
    return gateway


def _chat(gateway: FakeGateway, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    return gateway.call("POST /v1/chat/completions", CHAT | changes, headers=headers or {})


def _sent(gateway: FakeGateway) -> Any:
    return json.loads(gateway.realtime.calls[-1][1])


def _finish(gateway: FakeGateway, **changes: Any) -> None:
    """End every open job the next time the gateway pauses."""

    def finish() -> None:
        for job in list(gateway.jobs.jobs.values()):
            ended: dict[str, Any] = {
                "state": JobState.COMPLETED,
                "output": Payload(GENERATED),
                "usage": Usage(2, 2),
            } | changes
            gateway.jobs.change(replace(job, **ended), expected=frozenset({JobState.QUEUED}))

    gateway.meanwhile = finish


def _events(answer: Any) -> list[Any]:
    lines = answer.body.removesuffix("data: [DONE]\n\n").split("\n\n")
    assert lines.pop() == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_chat_is_answered_in_openais_shape() -> None:
    """With an id of its kind, the tier that was used, a fingerprint, the usage, and Tollgate's headers."""
    answer = _chat(_gateway())
    body = document(answer)
    assert answer.status == 200
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["service_tier"] == "priority"
    assert body["system_fingerprint"].startswith("fp_")
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "there hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert answer.headers["x-request-id"] == answer.headers["x-tollgate-request-id"]
    assert float(answer.headers["x-tollgate-cost-usd"]) > 0


def test_the_container_gets_what_was_asked_and_nothing_else() -> None:
    """Limits under one name, roles and content that templates know; nothing that only the gateway needs."""
    gateway = _gateway()
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "name": None},
    ]
    answer = _chat(
        gateway,
        messages=messages,
        max_completion_tokens=9,
        temperature=0,
        user="u",
        n=1,
        logprobs=False,
        response_format={"type": "text"},
        tool_choice="auto",
        store=False,
        metadata={"a": "b"},
    )
    assert answer.status == 200
    assert _sent(gateway) == {
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "one\ntwo"}],
        "max_tokens": 9,
        "temperature": 0,
    }


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"seed": 1}, "seed"),
        ({"n": 2}, "n"),
        ({"logprobs": True, "top_logprobs": 2}, "logprobs"),
        ({"store": True}, "store"),
        ({"top_k": 5}, "top_k"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
    ],
)
def test_what_no_container_supports_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    """400 with the parameter, before anything runs."""
    gateway = _gateway()
    answer = _chat(gateway, **changes)
    error = document(answer)["error"]
    assert answer.status == 400
    assert error["code"] == "unsupported_parameter"
    assert error["param"] == param
    assert gateway.realtime.calls == []


def test_what_a_container_supports_reaches_it() -> None:
    """A capability opens all parameters that belong to it."""
    gateway = _gateway(supports=frozenset({"tools", "top_k"}))
    tools = [{"type": "function", "function": {"name": "f"}}]
    _chat(gateway, tools=tools, tool_choice="auto", parallel_tool_calls=False, top_k=5)
    sent = _sent(gateway)
    assert sent["tools"] == tools
    assert sent["tool_choice"] == "auto"
    assert sent["parallel_tool_calls"] is False
    assert sent["top_k"] == 5


def test_a_request_goes_to_a_deployment_that_understands_it() -> None:
    """The others are not considered, however heavy they are."""
    gateway = _gateway()
    (model,) = gateway.catalogue.models.values()
    plain = replace(model.deployments[0], name="plain", weight=1000)
    able = replace(model.deployments[0], name="able", weight=1, supports=frozenset({"seed"}))
    gateway = FakeGateway(
        catalogue=replace(gateway.catalogue, models={"echo": replace(model, deployments=(plain, able))})
    )
    gateway.realtime.answer = json.dumps(COMPLETION).encode()
    assert _chat(gateway, seed=1).headers["x-tollgate-deployment"] == "echo/able"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ],
)
def test_a_malformed_field_is_named(changes: dict[str, Any], param: str) -> None:
    """As OpenAI names it."""
    error = document(_chat(_gateway(), **changes))["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_missing_messages_are_named() -> None:
    """The body without them is refused."""
    answer = _gateway().call("POST /v1/chat/completions", {"model": "echo"})
    assert answer.status == 400
    assert document(answer)["error"]["param"] == "messages"


@pytest.mark.parametrize(("kind", "param"), [(ModelKind.EMBEDDING, "model"), (ModelKind.CUSTOM, "model")])
def test_a_model_for_something_else_is_refused(kind: ModelKind, param: str) -> None:
    """With the route that it is for."""
    answer = _chat(_gateway(kind=kind))
    assert answer.status == 400
    assert document(answer)["error"]["param"] == param


def test_an_unknown_model_is_a_404() -> None:
    """So that the SDK raises NotFoundError."""
    answer = _chat(_gateway(), model="nobody")
    assert answer.status == 404
    assert document(answer)["error"]["code"] == "model_not_found"


def test_flex_waits_for_its_job() -> None:
    """The answer has the job's own cost and tier; the metrics are left to the job's end."""
    gateway = _gateway()
    _finish(gateway)
    answer = _chat(gateway, service_tier="flex")
    body = document(answer)
    assert answer.status == 200
    assert body["choices"][0]["message"]["content"] == "there hello"
    assert body["service_tier"] == "flex"
    assert answer.headers["x-tollgate-inference-type"] == "async"
    assert answer.headers["x-tollgate-job-id"].startswith("inf_")
    assert "Location" not in answer.headers
    assert gateway.metrics == []
    assert len(gateway.async_queue.sent) == 1


def test_flex_is_accepted_for_those_who_prefer_it() -> None:
    """202 with a place to look, as RFC 7240 has it."""
    gateway = _gateway()
    answer = _chat(gateway, headers={"Prefer": "wait=5, respond-async"}, service_tier="flex")
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == f"/v1/inferences/{document(answer)['id']}"


def test_a_wait_that_runs_out_names_the_job_and_stops_the_sdk_from_sending_again() -> None:
    """The job goes on; a second one would only cost a second time."""
    gateway = _gateway()
    answer = _chat(gateway, service_tier="flex")
    error = document(answer)["error"]
    (job,) = gateway.jobs.jobs.values()
    assert answer.status == 504
    assert error["code"] == "job_not_finished"
    assert job.job_id in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["Location"] == f"/v1/inferences/{job.job_id}"
    assert job.state is JobState.QUEUED
    assert 26 < gateway.clock.monotonic() < 27


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [
        (JobState.FAILED, "model_failed", 502),
        (JobState.FAILED, "invalid_request", 400),
        (JobState.EXPIRED, "expired", 504),
        (JobState.CANCELLED, "cancelled", 409),
    ],
)
def test_a_job_that_ends_badly_ends_the_wait(state: JobState, code: str, status: int) -> None:
    """With a status that says whose fault it is, and no second try by the SDK."""
    gateway = _gateway()
    _finish(gateway, state=state, failure=JobFailure(code, "the reason"), output=Payload())
    answer = _chat(gateway, service_tier="flex")
    assert answer.status == status
    assert answer.headers["x-should-retry"] == "false"
    if state is not JobState.CANCELLED:
        assert document(answer)["error"]["message"] == "the reason"


def test_an_answer_that_does_not_fit_is_fetched_from_its_job() -> None:
    """Where it lies, and without a second job; quotation marks count twice, as they do on the wire."""
    gateway = _gateway()
    _finish(gateway, output=Payload(GENERATED | {"text": '"' * 1_600_000}))
    answer = _chat(gateway, service_tier="flex")
    assert answer.status == 502
    assert document(answer)["error"]["code"] == "answer_too_large"
    assert answer.headers["Location"].startswith("/v1/inferences/inf_")
    assert answer.headers["x-should-retry"] == "false"
    _finish(gateway, output=Payload(GENERATED | {"text": "x" * 5_900_000}))
    assert _chat(gateway, service_tier="flex").status == 200


def test_a_large_answer_without_a_job_is_refused_too() -> None:
    """It would end as API Gateway's 502, which the SDK repeats and pays for again."""
    gateway = _gateway()
    gateway.realtime.answer = json.dumps([{"generated_text": "x" * 6_000_000}]).encode()
    answer = _chat(gateway)
    assert answer.status == 502
    assert answer.headers["x-should-retry"] == "false"
    assert float(answer.headers["x-tollgate-cost-usd"]) > 0


def test_a_model_that_takes_too_long_is_not_run_again_by_the_sdk() -> None:
    """It may have run, and will hardly be quicker the next time."""
    gateway = _gateway()
    gateway.realtime.answer = BackendTimeoutError("too slow")
    answer = _chat(gateway)
    assert answer.status == 504
    assert answer.headers["x-should-retry"] == "false"


def test_a_record_that_cannot_be_read_does_not_start_a_second_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK is told not to try again, and where the job is."""
    gateway = _gateway()

    def fail(_job_id: str) -> None:
        raise StorageError("The table failed.")

    monkeypatch.setattr(gateway.jobs, "get", fail)
    answer = _chat(gateway, service_tier="flex")
    assert answer.status == 503
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["Location"].startswith("/v1/inferences/inf_")


def test_nobody_waits_for_a_batch() -> None:
    """A model whose default is the batch road serves chats asynchronously, unless the client does not wait."""
    gateway = _gateway(default_priority=Priority.LOW)
    _finish(gateway)
    waited = _chat(gateway, service_tier="auto")
    accepted = _chat(gateway, headers={"Prefer": "respond-async"}, service_tier="auto")
    assert waited.headers["x-tollgate-inference-type"] == "async"
    assert accepted.headers["x-tollgate-inference-type"] == "batch"


def test_a_batch_that_could_not_be_avoided_is_not_waited_for() -> None:
    """The job is named at once; waiting for a transform job to start would only cost."""
    gateway = _gateway()
    (model,) = gateway.catalogue.models.values()
    (deployment,) = model.deployments
    roads = {InferenceType.BATCH: deployment.roads[InferenceType.BATCH]}
    models = {"echo": replace(model, deployments=(replace(deployment, roads=roads),))}
    gateway = FakeGateway(catalogue=replace(gateway.catalogue, models=models))
    answer = _chat(gateway, service_tier="flex")
    assert document(answer)["error"]["code"] == "job_not_finished"
    assert answer.headers["x-tollgate-inference-type"] == "batch"
    assert gateway.clock.monotonic() == 0


def test_priority_without_capacity_waits_on_the_async_road() -> None:
    """The caller sees an answer, and which tier it really was."""
    gateway = _gateway()
    gateway.realtime.answer = CapacityError("full")
    _finish(gateway)
    answer = _chat(gateway)
    assert answer.status == 200
    assert document(answer)["service_tier"] == "flex"
    assert "no_capacity" in answer.headers["x-tollgate-route-reason"]


def test_an_idempotency_key_joins_the_job_of_the_first_call() -> None:
    """Also when the first caller was told that the wait is over; the repetition costs nothing."""
    gateway = _gateway()
    key = {"Idempotency-Key": "k1"}
    assert _chat(gateway, headers=key, service_tier="flex").status == 504
    _finish(gateway)
    again = _chat(gateway, headers=key, service_tier="flex")
    assert again.status == 200
    assert again.headers["x-tollgate-idempotent-replay"] == "true"
    assert again.headers["x-tollgate-cost-usd"] == "0"
    assert len(gateway.jobs.jobs) == 1


def test_a_stream_has_role_content_reason_usage_and_an_end() -> None:
    """Chunks of one id, the usage in the last of them."""
    answer = _chat(_gateway(), stream=True, stream_options={"include_usage": True})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.to_event()["headers"]["Content-Type"].startswith("text/event-stream")
    events = _events(answer)
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in events}) == 1
    assert [event["choices"][0]["delta"] for event in events[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "there hello"},
        {},
    ]
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert [event["usage"] for event in events[:-1]] == [None] * 3
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] == 4


def test_a_stream_passes_half_a_surrogate_pair_on() -> None:
    """As the escape it came as, like every other answer."""
    gateway = _gateway()
    gateway.realtime.answer = json.dumps([{"generated_text": "\ud83d"}]).encode()
    answer = _chat(gateway, stream=True)
    assert answer.body.encode()
    assert _events(answer)[1]["choices"][0]["delta"] == {"content": "\ud83d"}


def test_a_stream_carries_tool_calls_with_their_place() -> None:
    """The index is what clients put the pieces together by."""
    gateway = _gateway(supports=frozenset({"tools"}))
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    gateway.realtime.answer = json.dumps(COMPLETION | {"choices": [choice]}).encode()
    events = _events(_chat(gateway, tools=[{"type": "function"}], stream=True))
    assert [event["choices"][0]["delta"] for event in events[1:]] == [{"tool_calls": [call | {"index": 0}]}, {}]
    assert all("usage" not in event for event in events)


def test_a_completion_continues_one_text() -> None:
    """In Hugging Face's words to the container, in OpenAI's to the client."""
    gateway = _gateway()
    details = {"finish_reason": "eos_token", "generated_tokens": 2, "input_length": 3}
    gateway.realtime.answer = json.dumps([{"generated_text": "there hello", "details": details}]).encode()
    body = {"model": "echo", "prompt": ["hello there"], "max_tokens": 5, "service_tier": "priority"}
    answer = gateway.call("POST /v1/completions", body)
    assert _sent(gateway) == {
        "inputs": "hello there",
        "parameters": {"details": True, "return_full_text": False, "max_new_tokens": 5},
    }
    given = document(answer)
    assert given["object"] == "text_completion"
    assert given["choices"] == [{"index": 0, "text": "there hello", "logprobs": None, "finish_reason": "stop"}]
    assert given["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events = _events(gateway.call("POST /v1/completions", body | {"stream": True}))
    assert [event["choices"][0]["text"] for event in events] == ["there hello", ""]


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], []])
def test_several_prompts_in_one_request_are_refused(prompt: list[Any]) -> None:
    """One request has one cost."""
    answer = _gateway().call("POST /v1/completions", {"model": "echo", "prompt": prompt})
    assert answer.status == 400
    assert document(answer)["error"]["param"].startswith("prompt")


def test_embeddings_come_as_numbers_or_packed() -> None:
    """The packed ones are little-endian 32-bit floats; usage that nobody counted says that it is an estimate."""
    gateway = _gateway(kind=ModelKind.EMBEDDING)
    gateway.realtime.answer = b"[[1, 0.5], [0, -2]]"
    body = {"model": "echo", "input": ["one", "two"], "service_tier": "priority"}
    plain = document(gateway.call("POST /v1/embeddings", body))
    packed = document(gateway.call("POST /v1/embeddings", body | {"encoding_format": "base64"}))
    assert _sent(gateway) == {"inputs": ["one", "two"]}
    assert [entry["embedding"] for entry in plain["data"]] == [[1, 0.5], [0, -2]]
    assert [struct.unpack("<2f", base64.b64decode(entry["embedding"])) for entry in packed["data"]] == [
        (1.0, 0.5),
        (0.0, -2.0),
    ]
    assert plain["usage"]["estimated"] is True
    assert plain["usage"]["prompt_tokens"] >= 2


@pytest.mark.parametrize("answer", [b"[[1, 2]]", b'{"echo": 1}', b"[]", b"[[]]", b"[[1e300], [1]]"])
def test_embeddings_that_do_not_fit_their_texts_are_the_models_fault(answer: bytes) -> None:
    """A count that differs must not put vectors beside the wrong texts."""
    gateway = _gateway()
    gateway.realtime.answer = answer
    body = {"model": "echo", "input": ["one", "two"], "service_tier": "priority", "encoding_format": "base64"}
    assert gateway.call("POST /v1/embeddings", body).status == 502


@pytest.mark.parametrize(("changes", "param"), [({"input": [1, 2]}, "input[0]"), ({"input": ""}, "input")])
def test_embeddings_of_tokens_or_nothing_are_refused(changes: dict[str, Any], param: str) -> None:
    """The input is at fault."""
    answer = _gateway().call("POST /v1/embeddings", {"model": "echo"} | changes)
    assert answer.status == 400
    assert document(answer)["error"]["param"] == param


def test_dimensions_are_for_models_that_have_them() -> None:
    """Refused by name elsewhere, handed on where supported."""
    body = {"model": "echo", "input": "one", "dimensions": 2, "service_tier": "priority"}
    assert document(_gateway().call("POST /v1/embeddings", body))["error"]["param"] == "dimensions"
    gateway = _gateway(supports=frozenset({"dimensions"}))
    gateway.realtime.answer = b"[[1, 2]]"
    assert gateway.call("POST /v1/embeddings", body).status == 200
    assert _sent(gateway) == {"inputs": ["one"], "parameters": {"dimensions": 2}}


def test_one_model_can_be_looked_up() -> None:
    """With its kind and what it supports; an unknown one is a 404."""
    gateway = _gateway(supports=frozenset({"seed"}), kind=ModelKind.CHAT)
    found = document(gateway.call("GET /v1/models/{model}", path={"model": "echo"}))
    assert found["object"] == "model"
    assert found["id"] == "echo"
    assert found["kind"] == "chat"
    assert found["supports"] == ["seed"]
    assert gateway.call("GET /v1/models/{model}", path={"model": "other"}).status == 404


@pytest.mark.parametrize("route", ["POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings"])
def test_running_needs_its_scope(route: str) -> None:
    """A key that only reads is refused before its body is looked at."""
    gateway = _gateway()
    assert gateway.call(route, {"model": "echo"}, scopes="read").status == 403
