"""Events of API Gateway as calls: headers that come twice, and bodies that are not what they should be."""

import base64
import gzip
import json
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document, proxy_event
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.api.http import json_body, read_call
from tollgate.domain.cache.control import CacheControl, control_of
from tollgate.domain.costs.usage import roll_up, sum_of
from tollgate.domain.errors import InvalidRequestError

BODY = {"model": "echo", "input": "hello"}


def _event(headers: dict[str, list[str]]) -> dict[str, Any]:
    event = proxy_event("POST /v1/inferences", json.dumps(BODY))
    return event | {
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
    }


def test_a_list_may_come_in_several_headers() -> None:
    """The first line counts as much as the last: nothing is kept that the caller said not to keep."""
    call = read_call(_event({"Cache-Control": ["no-store", "max-age=60"], "Prefer": ["respond-async", "wait=5"]}))
    assert call.headers == {"cache-control": "no-store, max-age=60", "prefer": "respond-async, wait=5"}
    assert control_of(call.headers["cache-control"], None) == CacheControl(
        read=False, store=False, max_age_seconds=60, max_stale_seconds=0
    )


def test_of_any_other_header_the_last_one_counts() -> None:
    """As API Gateway gives it: two types of one body are no list."""
    assert read_call(_event({"Content-Type": ["a/b", "c/d"]})).headers == {"content-type": "c/d"}


@pytest.mark.parametrize("as_text", [False, True])
def test_a_compressed_body_is_refused_in_so_many_words(*, as_text: bool) -> None:
    """In base64, as API Gateway sends types that are declared as binary, and as the text that it makes of others."""
    packed = gzip.compress(json.dumps(BODY).encode())
    text = packed.decode(errors="replace") if as_text else base64.b64encode(packed).decode()
    event = proxy_event("POST /v1/inferences", text, headers={"Content-Encoding": "gzip"})
    with pytest.raises(InvalidRequestError, match="Compressed bodies are not read"):
        json_body(read_call(event | {"isBase64Encoded": not as_text}))


@pytest.mark.parametrize("encoding", ["identity", "Identity ", ""])
def test_a_body_that_is_not_compressed_is_not_called_so(encoding: str) -> None:
    """`identity` names no compression: https://www.rfc-editor.org/rfc/rfc9110#section-8.4."""
    call = read_call(proxy_event("POST /v1/inferences", "{", headers={"Content-Encoding": encoding}))
    with pytest.raises(InvalidRequestError, match=r"line 1, column 2\.$"):
        json_body(call)


def test_what_reads_well_is_taken_whatever_its_header_says() -> None:
    """Some clients name a character set as the encoding."""
    answer = FakeGateway().infer(BODY, headers={"Content-Encoding": "utf-8"})
    assert answer.status < 300, document(answer)


def test_a_caller_does_not_choose_the_name_of_a_request() -> None:
    """By its name it is counted, once, and drawn for variants and samples; `x-amzn-requestid` sets the other one."""
    gateway = FakeGateway()
    for number in range(3):
        event = proxy_event("POST /v1/inferences", json.dumps({"model": "echo", "input": "a", "priority": "high"}))
        event["requestContext"] |= {"requestId": "always the same", "extendedRequestId": f"own-{number}="}
        answer = gateway.api.respond(read_call(event))
        assert answer.headers["x-tollgate-request-id"] == f"own-{number}="
    lines = [json.dumps(line, separators=(",", ":")) for line in gateway.lines]
    now = gateway.clock.now()
    records = [record for line in lines for record in records_of_line(line, now)]
    assert sum_of(roll_up(records, now)).requests == 3


def test_no_cache_on_the_way_may_keep_an_answer() -> None:
    """To a key in `x-api-key`, nothing else forbids it: https://www.rfc-editor.org/rfc/rfc9111#section-3.5."""
    models = FakeGateway().call("GET /v1/models").to_event()
    refused = FakeGateway().infer({}).to_event()
    assert [event["headers"]["Cache-Control"] for event in (models, refused)] == ["no-store", "no-store"]
