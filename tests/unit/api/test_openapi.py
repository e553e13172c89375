"""The OpenAPI document: up to date, valid, complete, and true of what the gateway answers."""

import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from local.openapi.__main__ import KEPT, main
from local.openapi.document import OPERATIONS
from tests.fakes.gateway import FakeGateway, document, proxy_event
from tests.unit.template_document import ROOT, events_of, functions
from tollgate.api.http import Answer, read_call
from tollgate.api.jobs_routes import JobsApi
from tollgate.api.telemetry import Telemetry
from tollgate.services.jobs.queries import JobQueries

DOCUMENT: dict[str, Any] = json.loads(KEPT.read_text("utf-8"))
CHOICE = {"message": {"role": "assistant", "content": "there"}, "finish_reason": "stop"}
CHAT = json.dumps({"object": "chat.completion", "choices": [CHOICE], "usage": {}}).encode()
REALTIME = {"model": "echo", "service_tier": "priority"}
MESSAGES = {"messages": [{"role": "user", "content": "hello"}]}


def test_it_is_what_the_code_makes() -> None:
    """Otherwise: make openapi."""
    assert main(["--check"]) == 0
    assert (ROOT / "docs" / "openapi.json").read_text("utf-8") == KEPT.read_text("utf-8")


def test_a_change_is_noticed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check names the command that mends it."""
    changed = tmp_path / "openapi.json"
    changed.write_text("{}")
    monkeypatch.setattr("local.openapi.__main__.KEPT", changed)
    assert main(["--check"]) == 1
    assert "make openapi" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_it_has_exactly_the_routes_of_the_template() -> None:
    """None is missing, none is promised that is not there."""
    deployed = {
        (event["Properties"]["Path"], event["Properties"]["Method"])
        for logical_id in functions()
        for event in events_of(logical_id).values()
        if event["Type"] == "Api"
    }
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == deployed == {(operation.path, operation.method) for operation in OPERATIONS}


def test_every_route_has_one_of_the_listed_tags() -> None:
    """Readers of the document see the routes in groups."""
    listed = {tag["name"] for tag in DOCUMENT["tags"]}
    used = [operation["tags"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert all(len(tags) == 1 for tags in used)
    assert {tag for tags in used for tag in tags} == listed


@pytest.mark.parametrize("name", ["InferenceRequest", "CacheWishes", "Trim", "Cascade", "FeedbackRequest"])
def test_every_field_of_our_own_bodies_is_described(name: str) -> None:
    """OpenAI's are described by OpenAI; ours are told nowhere else."""
    fields = DOCUMENT["components"]["schemas"][name]["properties"]
    assert not [field for field, schema in fields.items() if not schema.get("description")]


def test_operation_ids_are_unique() -> None:
    """Generators of clients name their functions after them."""
    names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_schema_is_a_schema(name: str) -> None:
    """And refers only to what is there."""
    schema = DOCUMENT["components"]["schemas"][name]
    jsonschema.Draft202012Validator.check_schema(schema)
    _Refs(schema)


def test_every_reference_leads_somewhere() -> None:
    """To a schema, a header or an answer; and every link to a route, with the parameters that its path has."""
    _Refs(DOCUMENT)
    by_name = {
        operation["operationId"]: path for path, methods in DOCUMENT["paths"].items() for operation in methods.values()
    }
    links = [
        link
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) > 20
    for link in links:
        assert set(re.findall(r"{(\w+)}", by_name[link["operationId"]])) == set(link.get("parameters", {}))


class _Refs:
    """Follows every reference in a value."""

    def __init__(self, value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                kind, name = value["$ref"].removeprefix("#/components/").split("/")
                assert name in DOCUMENT["components"][kind]
            for inner in value.values():
                _Refs(inner)
        elif isinstance(value, list):
            for inner in value:
                _Refs(inner)


def _described(path: str, method: str, status: int) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path][method]["responses"][str(status)]
    kept: dict[str, Any] = DOCUMENT["components"]["responses"]
    return kept[found["$ref"].rpartition("/")[2]] if "$ref" in found else found


def _holds(route: str, answer: Answer) -> None:
    method, path = route.lower().split(" ")
    described = _described(path, method, answer.status)
    named = {name.lower() for name in described["headers"]} | {"content-type"}
    assert {name.lower() for name in answer.headers} <= named
    kind = answer.to_event()["headers"]["Content-Type"].partition(";")[0]
    schema = {**described["content"][kind]["schema"], "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.body if kind != "application/json" else document(answer))


def _gateway() -> FakeGateway:
    gateway = FakeGateway()
    gateway.realtime.answer = CHAT
    return gateway


@pytest.mark.parametrize(
    ("route", "body", "model_says", "status"),
    [
        ("POST /v1/chat/completions", REALTIME | MESSAGES, [{"generated_text": "there"}], 200),
        ("POST /v1/chat/completions", REALTIME | MESSAGES | {"stream": True}, [{"generated_text": "there"}], 200),
        ("POST /v1/chat/completions", REALTIME, None, 400),
        ("POST /v1/chat/completions", REALTIME | MESSAGES | {"service_tier": "flex"}, None, 504),
        ("POST /v1/completions", REALTIME | {"prompt": "x"}, [{"generated_text": "there"}], 200),
        ("POST /v1/completions", REALTIME | {"prompt": 5}, None, 400),
        ("POST /v1/embeddings", REALTIME | {"input": "x"}, [[1.0, 2.0]], 200),
        ("POST /v1/embeddings", REALTIME | {"input": "x", "encoding_format": "base64"}, [[1.0, 2.0]], 200),
        ("POST /v1/embeddings", REALTIME | {"input": "x"}, {"no": "vectors"}, 502),
        ("POST /v1/responses", REALTIME | {"input": "x"}, [{"generated_text": "there"}], 200),
        ("POST /v1/responses", REALTIME | {"input": "x", "background": True}, None, 200),
        ("POST /v1/responses", REALTIME | {"input": "x", "model": "none"}, None, 404),
        ("POST /v1/inferences", {"model": "echo", "input": 1, "priority": "high"}, {"any": "thing"}, 200),
        ("POST /v1/inferences", {"model": "echo", "input": 1, "priority": "low"}, None, 202),
        ("POST /v1/inferences", {"model": "echo", "input": 1, "deadline_seconds": 0.001}, None, 422),
        ("POST /v1/route", {"model": "echo", "input": 1}, None, 200),
        ("GET /v1/models", None, None, 200),
        ("GET /v1/openapi.json", None, None, 200),
    ],
)
def test_the_gateways_answers_have_the_documented_shape(route: str, body: Any, model_says: Any, status: int) -> None:
    """And a status that the document lists."""
    gateway = _gateway()
    if model_says is not None:
        gateway.realtime.answer = json.dumps(model_says).encode()
    answer = gateway.call(route, body)
    assert answer.status == status
    _holds(route, answer)


def test_what_is_accepted_has_the_documented_shape() -> None:
    """202 is a job."""
    headers = {"Prefer": "respond-async"}
    answer = _gateway().call(
        "POST /v1/chat/completions", REALTIME | MESSAGES | {"service_tier": "flex"}, headers=headers
    )
    assert answer.status == 202
    _holds("POST /v1/chat/completions", answer)


@pytest.mark.parametrize(
    ("route", "made_by", "body"),
    [
        ("GET /v1/inferences", "POST /v1/inferences", {"model": "echo", "input": 1, "priority": "low"}),
        ("GET /v1/inferences/{id}", "POST /v1/inferences", {"model": "echo", "input": 1, "priority": "low"}),
        ("DELETE /v1/inferences/{id}", "POST /v1/inferences", {"model": "echo", "input": 1, "priority": "low"}),
        ("GET /v1/responses/{id}", "POST /v1/responses", {"model": "echo", "input": "x", "background": True}),
        ("POST /v1/responses/{id}/cancel", "POST /v1/responses", {"model": "echo", "input": "x", "background": True}),
    ],
)
def test_answers_about_jobs_have_the_documented_shape(route: str, made_by: str, body: dict[str, Any]) -> None:
    """Those of the other function too."""
    gateway = _gateway()
    made = document(gateway.call(made_by, body))["id"]
    queries = JobQueries(jobs=gateway.jobs, objects=gateway.objects, clock=gateway.clock)
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _line: None)
    api = JobsApi(queries=queries, telemetry=telemetry)
    answer = api.respond(read_call(proxy_event(route, path={"id": made})))
    assert answer.status == 200
    _holds(route, answer)
    if "{id}" in route:
        missing = api.respond(read_call(proxy_event(route, path={"id": "resp_none"})))
        assert missing.status == 404
        _holds(route, missing)
