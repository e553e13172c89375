"""What travels over HTTP: requests, replies, and the errors botocore knows how to read."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, read to its end. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header's value, or None when it is absent or empty."""
        return self.headers.get(name.lower()) or None


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; a body that is an iterator is sent piece by piece as it is made."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class ServiceError(Exception):
    """An error the way SageMaker answers it: a status, a code, a message and sometimes more members.

    Args:
        status: HTTP status.
        code: the name of the exception in the service model, such as `ValidationError`.
        message: the text for a person.
        members: further members of the error's shape, such as `OriginalStatusCode`.
    """

    def __init__(self, status: int, code: str, message: str, members: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.members = members or {}


class AbandonedConnectionError(Exception):
    """The answer is withheld and the connection closed: what a client sees when a server dies in mid-work."""


def validation_error(message: str) -> ServiceError:
    """Return the runtime's ValidationError (400)."""
    return ServiceError(400, "ValidationError", message)


def validation_exception(message: str) -> ServiceError:
    """Return the control plane's ValidationException (400)."""
    return ServiceError(400, "ValidationException", message)


def model_error(original_status: int, original_message: str, *, log_arn: str) -> ServiceError:
    """Return a ModelError (424) for a container that answered badly or, with status 0, not at all."""
    kind = "client" if 400 <= original_status < 500 else "server"
    message = f'Received {kind} error ({original_status}) from primary with message "{original_message}".'
    members = {
        "OriginalStatusCode": original_status,
        "OriginalMessage": original_message,
        "LogStreamArn": log_arn,
    }
    return ServiceError(424, "ModelError", message, members)


def json_reply(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON answer."""
    body = json.dumps(document).encode()
    return Reply(status, body, {"content-type": "application/json", **(headers or {})})


def runtime_error(error: ServiceError) -> Reply:
    """Encode an error for the REST-JSON runtime API: the code travels in a header."""
    return json_reply(
        {"Message": error.message, **error.members},
        error.status,
        {"x-amzn-errortype": error.code},
    )


def control_error(error: ServiceError) -> Reply:
    """Encode an error for the JSON 1.1 control plane: the code travels in `__type`."""
    body = json.dumps({"__type": error.code, "message": error.message, **error.members}).encode()
    return Reply(error.status, body, {"content-type": "application/x-amz-json-1.1"})
