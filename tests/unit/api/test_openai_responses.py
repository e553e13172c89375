"""OpenAI's responses over fakes: created as jobs, looked up, called off, and answered at once."""

import json
from copy import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document, proxy_event
from tests.fakes.openai_calls import openai_catalogue
from tollgate.api.http import Answer, read_call
from tollgate.api.jobs_routes import JobsApi
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import Priority
from tollgate.domain.jobs.job import JobFailure, JobState, Payload, Usage
from tollgate.services.jobs.queries import JobQueries

BODY = {"model": "echo", "input": "hello there", "background": True}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def _gateway(**changes: Any) -> FakeGateway:
    gateway = FakeGateway()
    (model,) = gateway.catalogue.models.values()
    deployment = replace(model.deployments[0], dialect="tgi", supports=frozenset({"tools", "response_format"}))
    models = {"echo": replace(model, deployments=(deployment,), **changes)}
    return FakeGateway(catalogue=replace(gateway.catalogue, models=models))


def _create(gateway: FakeGateway, **changes: Any) -> Answer:
    return gateway.call("POST /v1/responses", BODY | changes)


def _ask(gateway: FakeGateway, route: str, response: str, **options: Any) -> Answer:
    api = JobsApi(
        queries=JobQueries(jobs=gateway.jobs, objects=gateway.objects, clock=gateway.clock),
        telemetry=Telemetry(namespace="Tollgate", service="tollgate", write=lambda _line: None),
    )
    return api.respond(read_call(proxy_event(route, path={"id": response}, **options)))


def _get(gateway: FakeGateway, response: str, **options: Any) -> Answer:
    return _ask(gateway, "GET /v1/responses/{id}", response, **options)


def _end(gateway: FakeGateway, **changes: Any) -> None:
    (job,) = gateway.jobs.jobs.values()
    values: dict[str, Any] = {
        "state": JobState.COMPLETED,
        "output": Payload({"text": "there hello", "finish_reason": "stop"}),
        "usage": Usage(2, 3),
        "finished_at": job.created_at + timedelta(seconds=4),
    }
    gateway.jobs.jobs[job.job_id] = job._replace(**values | changes)


def test_a_background_response_is_a_job_under_another_name() -> None:
    """Queued at once, on the asynchronous road, with the instructions as the first message."""
    gateway = _gateway()
    answer = _create(gateway, instructions="Be short.", max_output_tokens=9, metadata={"a": "b"})
    body = document(answer)
    (job,) = gateway.jobs.jobs.values()
    assert answer.status == 200
    assert (body["object"], body["status"], body["background"]) == ("response", "queued", True)
    assert body["id"] == job.job_id.replace("inf_", "resp_")
    assert body["metadata"] == {"a": "b"}
    assert answer.headers["x-tollgate-job-id"] == job.job_id
    assert answer.headers["x-tollgate-inference-type"] == "async"
    assert job.input.inline == {
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hello there"}]
    }
    assert job.parameters == {"max_tokens": 9}
    assert gateway.metrics == []


def test_a_finished_response_has_text_and_usage() -> None:
    """And the job's own cost in the headers."""
    gateway = _gateway()
    made = document(_create(gateway))["id"]
    assert document(_get(gateway, made))["status"] == "queued"
    _end(gateway)
    answer = _get(gateway, made)
    body = document(answer)
    assert body["status"] == "completed"
    assert body["output"][0]["content"] == [{"type": "output_text", "text": "there hello", "annotations": []}]
    assert body["usage"]["total_tokens"] == 5
    assert body["completed_at"] == body["created_at"] + 4
    assert answer.headers["x-tollgate-inference-type"] == "async"


def test_a_large_result_is_fetched_from_the_bucket() -> None:
    """A response has no link in its place."""
    gateway = _gateway()
    made = document(_create(gateway))["id"]
    gateway.objects.put("results/1.json", b'{"text": "long"}')
    _end(gateway, output=Payload(key="results/1.json"))
    assert document(_get(gateway, made))["output"][0]["content"][0]["text"] == "long"


def test_tool_calls_are_items_of_their_own() -> None:
    """Flat, as responses have them; so are the tools."""
    gateway = _gateway()
    made = document(_create(gateway, tools=[TOOL], tool_choice={"type": "function", "name": "f"}))["id"]
    (job,) = gateway.jobs.jobs.values()
    assert job.parameters["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    ]
    assert job.parameters["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    _end(gateway, output=Payload({"text": None, "finish_reason": "tool_calls", "tool_calls": [CALL]}))
    body = document(_get(gateway, made))
    assert body["tools"] == [TOOL]
    assert [(item["type"], item["call_id"], item["name"]) for item in body["output"]] == [("function_call", "c1", "f")]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"state": JobState.SUBMITTED, "output": Payload(), "finished_at": None}, "in_progress"),
        ({"state": JobState.FAILED, "output": Payload(), "failure": JobFailure("model_failed", "why")}, "failed"),
        ({"state": JobState.EXPIRED, "output": Payload(), "failure": JobFailure("expired", "why")}, "failed"),
        ({"output": Payload({"text": "x", "finish_reason": "length"})}, "incomplete"),
    ],
)
def test_every_state_has_openais_word(changes: dict[str, Any], status: str) -> None:
    """With the reason, where there is one."""
    gateway = _gateway()
    made = document(_create(gateway))["id"]
    _end(gateway, **changes)
    body = document(_get(gateway, made))
    assert body["status"] == status
    assert (body["error"] or {}).get("message") == ("why" if status == "failed" else None)
    assert (body["incomplete_details"] is not None) == (status == "incomplete")
    assert "completed_at" not in body


def test_a_waiting_response_can_be_called_off() -> None:
    """Once it runs it cannot, and the SDK is told not to try again."""
    gateway = _gateway()
    made = document(_create(gateway))["id"]
    route = "POST /v1/responses/{id}/cancel"
    cancelled = document(_ask(gateway, route, made))
    assert (cancelled["status"], cancelled.get("completed_at")) == ("cancelled", None)
    _end(gateway, state=JobState.SUBMITTED, output=Payload())
    refused = _ask(gateway, route, made)
    assert refused.status == 409
    assert refused.headers["x-should-retry"] == "false"


def test_only_responses_of_the_own_tenant_are_found() -> None:
    """Neither another tenant's, nor a job's own name, nor what was no chat."""
    gateway = _gateway()
    made = document(_create(gateway))["id"]
    refused = _get(gateway, made, tenant="other")
    assert refused.status == 404
    assert f"There is no response '{made}'." in document(refused)["error"]["message"]
    assert _get(gateway, made.replace("resp_", "inf_")).status == 404
    _end(gateway, input=Payload({"inputs": ["a"]}))
    assert _get(gateway, made).status == 404


def test_a_background_response_is_not_looked_up_as_a_stream() -> None:
    """OpenAI's client would take the answer for a stream without events, and say nothing."""
    gateway = _gateway()
    made = document(_create(gateway))["id"]
    refused = _get(gateway, made, query={"stream": "true"})
    assert (refused.status, document(refused)["error"]["param"]) == (400, "stream")
    assert _get(gateway, made, query={"stream": "false"}).status == 200


def test_without_background_the_answer_comes_at_once() -> None:
    """By the road that the service tier names."""
    gateway = _gateway()
    choice = {"message": {"role": "assistant", "content": "there"}, "finish_reason": "stop"}
    gateway.realtime.answer = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
    body = document(_create(gateway, background=False, service_tier="priority"))
    assert body["status"] == "completed"
    assert body["background"] is False
    assert body["service_tier"] == "priority"
    assert body["usage"] is None


@pytest.mark.parametrize(("tier", "road"), [(None, "batch"), ("flex", "async")])
def test_the_background_takes_a_models_batch_road(tier: str | None, road: str) -> None:
    """Nobody waits, so the cheapest default holds; `flex` still means asynchronous."""
    answer = _create(_gateway(default_priority=Priority.LOW), service_tier=tier)
    assert answer.headers["x-tollgate-inference-type"] == road


def test_a_conversation_of_items_becomes_a_chat() -> None:
    """Messages, the model's own tool calls, and what the tools gave."""
    gateway = _gateway()
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    items = [
        {"role": "developer", "content": "Be short."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        call,
        call | {"call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
    ]
    assert _create(gateway, input=items).status == 200
    (job,) = gateway.jobs.jobs.values()
    assert job.input.inline["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL | {"id": "c2"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]


def test_a_models_own_output_is_input_again() -> None:
    """So a conversation goes on without being kept: thoughts are left out, what was said goes with its calls."""
    gateway = _gateway()
    output = {"text": "wait", "finish_reason": "tool_calls", "tool_calls": [CALL], "reasoning_content": "hm"}
    made = document(_create(gateway))["id"]
    _end(gateway, output=Payload(output))
    items = document(_get(gateway, made))["output"]
    assert [item["type"] for item in items] == ["reasoning", "message", "function_call"]
    given = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "42"}]}
    gateway.jobs.jobs.clear()
    assert _create(gateway, input=[{"role": "user", "content": "go"}, *items, given]).status == 200
    (job,) = gateway.jobs.jobs.values()
    assert job.input.inline["messages"] == [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "wait", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]


def test_the_effort_goes_to_containers_that_know_it() -> None:
    """Under the name that it has in chats."""
    gateway = FakeGateway(
        catalogue=openai_catalogue(FakeGateway(), dialect="messages", supports=frozenset({"reasoning_effort"}))
    )
    assert _create(gateway, reasoning={"effort": "low", "summary": None}, text={"verbosity": "medium"}).status == 200
    (job,) = gateway.jobs.jobs.values()
    assert job.parameters == {"reasoning_effort": "low"}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"stream": True}, "stream"),
        ({"store": False}, "store"),
        ({"input": []}, "input"),
        ({"input": [{"type": "computer_call"}]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"truncation": "auto"}, "truncation"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"max_tool_calls": 1}, "max_tool_calls"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": []}}, "text.format"),
    ],
)
def test_what_responses_cannot_do_here_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    """400 with the parameter, and no job."""
    gateway = _gateway()
    answer = _create(gateway, **changes)
    assert answer.status == 400
    assert document(answer)["error"]["param"] == param
    assert gateway.jobs.jobs == {}


_PART = {"type": "input_text", "text": "a"}
_OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
_CALLED = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"role": "tool", "content": "a"}, "Invalid 'input[1].role': it should be 'system', 'developer', "),
        ({"role": "user", "content": None}, "Missing required parameter: 'input[1].content'."),
        ({"role": "user", "content": [_PART, {"type": "input_text", "text": None}]}, "Missing required parameter: "),
        ({"role": "user", "content": [_PART | {"text": 5}]}, "Invalid 'input[1].content[0].text': it should be a "),
        ({"role": "user", "content": [_PART | {"type": ["a"]}]}, "Invalid 'input[1].content[0].type': it should be "),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": None}]}, "Missing required parameter: "),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": {"url": "a"}}]},
            "Invalid 'input[1].content[0].image_url': it should be a string.",
        ),
        (_CALLED | {"name": None}, "Missing required parameter: 'input[1].name'."),
        (_CALLED | {"arguments": {"a": 1}}, "Invalid 'input[1].arguments': it should be a string."),
        (_CALLED | {"call_id": 5}, "Invalid 'input[1].call_id': it should be a string."),
        (_OUTPUT | {"output": None}, "Missing required parameter: 'input[1].output'."),
        (_OUTPUT | {"output": {"a": 1}}, "Invalid 'input[1].output': it should be a string or a list."),
        (_OUTPUT | {"output": [5]}, "Invalid 'input[1].output[0]': it should be an object."),
    ],
)
def test_an_input_item_that_is_no_text_is_refused(item: dict[str, Any], message: str) -> None:
    """By its place, in JSON's words; a model would be asked about Python's `None` and dictionaries."""
    gateway = _gateway()
    answer = _create(gateway, input=[{"role": "user", "content": "hello"}, item])
    assert answer.status == 400
    assert document(answer)["error"]["message"].startswith(message)
    assert gateway.jobs.jobs == {}


def test_a_schema_is_handed_on_in_the_chats_form() -> None:
    """Responses have it flat under `text.format`."""
    gateway = _gateway()
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    _create(gateway, text={"format": schema})
    (job,) = gateway.jobs.jobs.values()
    assert job.parameters["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}},
    }
