"""API Gateway proxy events and answers. Header names are read without regard to case.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

import base64
import codecs
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.domain.errors import BodyTooLargeError, InvalidRequestError
from tollgate.domain.jobs.job import Owner
from tollgate.domain.json_values import DEEPEST, compact_json, finite_float, refuse_half_pairs, within_depth

if TYPE_CHECKING:
    from tollgate.api.outlet import Outlet


class Call(NamedTuple):
    """One API call.

    Attributes:
        route: method and resource, ``POST /v1/inferences``.
        headers: names in lower case.
        owner: from the authorizer's context.
        outlet: takes the answer while it is made; None where it goes back as a whole.
    """

    route: str
    path_parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    owner: Owner
    outlet: "Outlet | None" = None


class Answer(NamedTuple):
    """What goes back; `body` is JSON text."""

    status: int
    body: str
    headers: Mapping[str, str] = MappingProxyType({})

    def to_event(self) -> dict[str, Any]:
        """The answer in API Gateway's shape.

        It is its caller's alone. Of a cache on the way, RFC 9111 asks that only where the key is in ``Authorization``.
        """
        return {
            "statusCode": self.status,
            "headers": {"Content-Type": "application/json", "Cache-Control": "no-store", **self.headers},
            "body": self.body,
            "isBase64Encoded": False,
        }


def json_answer(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with this JSON document."""
    return Answer(status, answer_text(document), headers or {})


def answer_text(document: Any) -> str:
    """The document as JSON text that can be encoded: half of a surrogate pair, which a model may answer, is escaped."""
    text = compact_json(document)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    return text


def read_call(event: Mapping[str, Any]) -> Call:
    """The call in an API Gateway proxy event."""
    context = event.get("requestContext") or {}
    text = event.get("body") or ""
    body = text.encode("utf-8", "surrogatepass")
    if event.get("isBase64Encoded"):
        # API Gateway encodes by itself. What somebody else got wrong stays as it is, and is no body for any route.
        with suppress(ValueError):
            body = base64.b64decode(text, validate=True)
    return Call(
        route=f"{event.get('httpMethod')} {event.get('resource')}",
        path_parameters=event.get("pathParameters") or {},
        query=event.get("queryStringParameters") or {},
        headers=_headers(event),
        body=body,
        # The other one is whatever a client sent as `x-amzn-requestid`, and usage counts each request by its id.
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-access-logging.html
        request_id=str(context.get("extendedRequestId") or context.get("requestId") or ""),
        owner=_owner(context.get("authorizer") or {}),
    )


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        # Of a repeated header, `headers` has only the last line. RFC 9110, 5.3: lists may come in several.
        if len(values) > 1 and name.lower() in _LISTS:
            headers[name.lower()] = ", ".join(values)
    return headers


def _owner(authorizer: Mapping[str, Any]) -> Owner:
    return Owner(
        tenant=str(authorizer.get("tenant", "")),
        key_id=str(authorizer.get("key_id", "")),
        team=str(authorizer.get("team", "")),
        scopes=frozenset(str(authorizer.get("scopes", "")).split()),
    )


def json_body(call: Call) -> Any:
    """The JSON value in the body.

    Raises:
        InvalidRequestError: empty, not UTF-8, not JSON, nested too deeply, or with a text that no UTF-8 can write; says
            where.
        BodyTooLargeError: of more values than can be read.
    """
    if not call.body.strip():
        raise InvalidRequestError("The body is empty; send a JSON object.")
    if len(call.body) > _SMALL_BYTES:
        from tollgate.domain.reading_limits import MOST_CONTAINERS, MOST_VALUES, is_crowded  # noqa: PLC0415 -- few are large

        if is_crowded(call.body):
            raise BodyTooLargeError(
                f"The body has more than {MOST_CONTAINERS} objects and lists, or {MOST_VALUES} values."
            )
    try:
        text = call.body.removeprefix(codecs.BOM_UTF8).decode()
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidRequestError(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.{_hint(call)}"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"The body is not UTF-8.{_hint(call)}") from error
    except RecursionError as error:
        raise InvalidRequestError(_TOO_DEEP) from error
    except ValueError as error:
        # `finite_float`, or a whole number of over 4,300 digits, which Python does not read:
        # https://docs.python.org/3/library/stdtypes.html#integer-string-conversion-length-limitation
        raise InvalidRequestError("The body has a number that is too large.") from error
    if not within_depth(value, call.body):
        raise InvalidRequestError(_TOO_DEEP)
    refuse_half_pairs(value, text)
    return value


def _hint(call: Call) -> str:
    compressed = call.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}
    return " Compressed bodies are not read." if compressed else ""


def _refuse_constant(name: str) -> Any:
    raise InvalidRequestError(f"The body is not valid JSON: {name} is not a JSON number.")


_TOO_DEEP = f"The body is nested too deeply; at most {DEEPEST} levels are read."
_LISTS = frozenset({"cache-control", "prefer"})
_SMALL_BYTES = 400_000
"""A body of so many bytes has no more values than can be read."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=finite_float)
