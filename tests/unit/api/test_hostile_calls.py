"""Whatever arrives on any route, the answer is a documented refusal and never a failure of the gateway's own."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.gateway import document
from tests.fakes.whole_api import WholeApi
from tests.unit.api.test_openapi import DOCUMENT
from tollgate.api.http import Answer
from tollgate.domain.json_values import DEEPEST

ROUTES = sorted(
    f"{method.upper()} {path}"
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if path not in {"/v1/control", "/v1/recommendations"}
)
WITH_BODY = sorted(
    f"{method.upper()} {path}"
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
)
# A body that each route takes; the hostile value comes into one of its fields, and stands alone.
BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/chat/completions": {"model": "echo", "messages": [{"role": "user", "content": "a"}]},
    "POST /v1/completions": {"model": "echo", "prompt": "a"},
    "POST /v1/embeddings": {"model": "echo", "input": "a"},
    "POST /v1/responses": {"model": "echo", "input": "a"},
    "POST /v1/inferences": {"model": "echo", "input": "a", "priority": "high"},
    "POST /v1/route": {"model": "echo", "input": "a"},
    "POST /v1/cache/lookup": {"model": "echo", "input": "a"},
    "PUT /v1/cache/{namespace}/{key}": {"value": "a"},
    "POST /v1/feedback": {"model": "echo", "inference_id": "a", "score": 1},
    "POST /v1/uploads": {"filename": "a", "purpose": "batch", "bytes": 1, "mime_type": "a"},
    "POST /v1/uploads/{id}/complete": {"part_ids": []},
    "POST /v1/batches": {"input_file_id": "a", "endpoint": "/v1/embeddings", "completion_window": "24h"},
    "POST /v1/files": {},
    "POST /v1/uploads/{id}/parts": {},
}
PATH = {"id": "x", "model": "echo", "namespace": "n", "key": "k"}


def _nested(levels: int, *, inside: str = "1") -> str:
    return '{"a":[' * (levels // 2) + inside + "]}" * (levels // 2)


def _with(route: str, name: str, value: str) -> str:
    fields = {field: json.dumps(entry) for field, entry in BODIES[route].items()} | {name: value}
    return "{" + ",".join(f"{json.dumps(field)}:{entry}" for field, entry in fields.items()) + "}"


def _call(api: WholeApi, route: str, body: str | None, **options: Any) -> Answer:
    return api.call(route, body, path=PATH, **options)


def _is_documented(route: str, answer: Answer) -> None:
    method, path = route.lower().split(" ")
    assert str(answer.status) in DOCUMENT["paths"][path][method]["responses"], answer.body[:300]
    assert answer.status < 500 or answer.status == 504, answer.body[:300]
    answer.body.encode()
    if answer.status >= 400:
        assert set(document(answer)["error"]) == {"message", "type", "param", "code"}


def test_every_route_with_a_body_is_tried() -> None:
    """A new one needs a body here."""
    assert sorted(BODIES) == WITH_BODY


@pytest.mark.parametrize("levels", [DEEPEST + 2, 900, 9_000, 10_000, 200_000])
@pytest.mark.parametrize("route", WITH_BODY)
def test_nesting_is_refused_on_every_route(route: str, levels: int) -> None:
    """Where it stands alone and where it is a field of what is right otherwise, long before Python itself gives up."""
    api = WholeApi()
    fields = [*BODIES[route], "parameters", "metadata", "tools", "cache", "unknown"]
    for body in [_nested(levels), *(_with(route, name, _nested(levels)) for name in fields)]:
        answer = _call(api, route, body)
        assert answer.status == 400
        assert "nested too deeply" in answer.body or route in {"POST /v1/files", "POST /v1/uploads/{id}/parts"}


def test_nesting_that_anybody_could_mean_is_taken() -> None:
    """Up to the limit, by what keeps answers and by what keeps values."""
    api = WholeApi()
    deep = _nested(DEEPEST - 2)
    for _ in range(2):
        assert _call(api, "POST /v1/inferences", _with("POST /v1/inferences", "input", deep)).status == 200
    route = "PUT /v1/cache/{namespace}/{key}"
    assert _call(api, route, _with(route, "value", deep)).status == 200


ODD = {
    "a number beyond floats": "1e400",
    "a number of 5,000 digits": "9" * 5_000,
    "a negative one": "-" + "9" * 4_000,
    "not a number": "NaN",
    "an infinity": "-Infinity",
    "half of a surrogate pair": '"\\ud800"',
    "half of a pair as a name": '{"\\udfff": "\\ud800"}',
    "NUL": '"\\u0000"',
    "an empty list": "[]",
    "an empty object": "{}",
    "null": "null",
    "true": "true",
    "a negative number": "-1",
    "zero": "0",
    "a long text": json.dumps("a" * 100_000),
    "a list of everything": '[1e308, -0.0, "", null, {"a": []}]',
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("route", WITH_BODY)
def test_odd_values_are_answered_on_every_route(route: str, value: str) -> None:
    """In each field that the route knows, in one that it does not, twice in one object, and as the whole body."""
    api = WholeApi()
    known = [*BODIES[route], "parameters", "metadata", "max_tokens", "n", "stop", "cache", "ttl", "priority", "unknown"]
    twice = '{"model":"echo","model":%s,"input":"a"}' % value  # noqa: UP031 -- braces are what this is about
    for body in [value, twice, f"[{value}]", *(_with(route, name, value) for name in known)]:
        _is_documented(route, _call(api, route, body))


RAW: dict[str, tuple[bytes, bool]] = {
    "nothing": (b"", False),
    "white space": (b" \r\n\t", False),
    "a byte order mark alone": (b"\xef\xbb\xbf", True),
    "no UTF-8": (b'{"model": "\xff\xfe"}', True),
    "UTF-16": ('{"model": "echo"}'.encode("utf-16"), True),
    "bytes that say nothing": (bytes(range(256)), True),
    "half of an object": (b'{"model": "echo", ', False),
    "two objects": (b'{"model": "echo"}{"model": "echo"}', False),
    "a comment": (b'{"model": "echo"} // and more', False),
    "a form": (b"model=echo&input=a", False),
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
@pytest.mark.parametrize("route", WITH_BODY)
def test_what_is_no_json_is_refused(route: str, raw: tuple[bytes, bool]) -> None:
    """As text, in base64 as API Gateway sends what is no text, and as base64 that is none."""
    api = WholeApi()
    body, in_base64 = raw
    text = base64.b64encode(body).decode() if in_base64 else body.decode()
    kinds = ("application/json", "multipart/form-data; boundary=x", "", "a/b; c=\xe9", "a\udcff; b*=utf-8''\udcff%zz")
    for kind in kinds:
        headers = {"Content-Type": kind}
        for changes in ({"isBase64Encoded": in_base64}, {"isBase64Encoded": True, "body": "%%% no base64 %%%"}):
            answer = _call(api, route, text, headers=headers, changes=changes)
            assert answer.status == 400, answer.body[:300]
            _is_documented(route, answer)


def test_a_byte_order_mark_before_json_is_passed_over() -> None:
    """Some editors write one."""
    body = b"\xef\xbb\xbf" + json.dumps(BODIES["POST /v1/inferences"]).encode()
    changes = {"isBase64Encoded": True, "body": base64.b64encode(body).decode()}
    assert _call(WholeApi(), "POST /v1/inferences", None, changes=changes).status == 200


HEADERS = (
    "accept",
    "authorization",
    "cache-control",
    "content-length",
    "content-type",
    "idempotency-key",
    "prefer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "x-amzn-trace-id",
    "x-forwarded-for",
    "x-tollgate-parent",
    "x-tollgate-workflow",
)
WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "",
            " ",
            "a" * 9_000,
            "a\r\nx-injected: 1",
            "\x00",
            "wait=99999999999999",
            "wait=-1",
            "respond-async, wait=0",
            "max-age=99999999999999999999",
            "max-age=-1, no-store, only-if-cached",
            "00-" + "f" * 32 + "-" + "0" * 16 + "-01",
            "Root=1-67891233-abcdef012345678912345678",
            "é",
            "\ud800",
            "a, a, a",
        ]
    ),
)


@given(data=st.data())
def test_headers_of_any_kind_are_answered(data: st.DataObject) -> None:
    """Long, empty, not ASCII, with line breaks; and nothing of them breaks out of a header of the answer."""
    route = data.draw(st.sampled_from(ROUTES))
    headers = data.draw(st.dictionaries(st.sampled_from(HEADERS), WORDS, max_size=4))
    body = json.dumps(BODIES[route]) if route in BODIES else None
    answer = _call(WholeApi(), route, body, headers=headers)
    _is_documented(route, answer)
    assert not any(mark in text for text in answer.headers.values() for mark in "\r\n\x00")


NUMBERS = [
    "-1",
    "0",
    "1.5",
    "99999999999999999999999",
    "1e9",
    "٣",
    "²",
    " 1",
    "+1",
    "0x1",
    "",
    "null",
    "1\n",
    "a" * 9_000,
]


@given(data=st.data())
def test_parameters_of_any_kind_are_answered(data: st.DataObject) -> None:
    """In the path and in the query."""
    route = data.draw(st.sampled_from(ROUTES))
    method, path = route.lower().split(" ")
    named = [p for p in DOCUMENT["paths"][path][method].get("parameters", []) if p["in"] != "header"]
    texts = st.one_of(
        st.text(max_size=30), st.sampled_from([*NUMBERS, "../../x", "%2e%2e/", "x/../y", "\ud800", "\x00"])
    )
    given_ = {p["name"]: data.draw(texts) for p in named}
    places = {p["name"]: p["in"] for p in named}
    query = {name: text for name, text in given_.items() if places[name] == "query"}
    body = json.dumps(BODIES[route]) if route in BODIES else None
    answer = WholeApi().call(route, body, path=PATH | given_, query=query or None)
    _is_documented(route, answer)


@pytest.mark.parametrize("limit", NUMBERS)
@pytest.mark.parametrize("route", ["GET /v1/files", "GET /v1/batches", "GET /v1/inferences"])
def test_a_limit_is_a_small_whole_number(route: str, limit: str) -> None:
    """Digits of other scripts are none."""
    answer = WholeApi().call(route, query={"limit": limit})
    assert answer.status == 400
    assert document(answer)["error"]["param"] == "limit"


@pytest.mark.parametrize("levels", [DEEPEST + 2, 9_000, 10_000, 200_000])
def test_a_container_that_nests_is_the_models_failure(levels: int) -> None:
    """Its answer has to be written down, priced and sent on, wrapped in ours."""
    api = WholeApi()
    api.gateway.realtime.answer = _nested(levels).encode()
    answer = _call(api, "POST /v1/inferences", json.dumps(BODIES["POST /v1/inferences"]))
    assert (answer.status, document(answer)["error"]["code"]) == (502, "model_error")
