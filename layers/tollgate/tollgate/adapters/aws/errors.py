"""What can go wrong when AWS is called, and the one place where AWS error codes become exceptions.

AwsError                        any error answer without a class of its own
├── AwsConnectionError          no answer: no connection, or it broke
├── AwsTimeoutError             no answer in time; whether AWS acted is unknown
├── ThrottledError              refused because of rate; AWS did not act
├── ConditionalCheckFailedError a DynamoDB condition was false
├── TransactionCancelledError   a DynamoDB transaction was refused as a whole
├── InvalidRequestError         AWS cannot make sense of the request; repeating it is useless
├── ResourceNotFoundError       table, index, queue, endpoint, bucket or object does not exist
├── NoCapacityError             SageMaker has no instance or copy ready to answer
└── ModelError                  the model, or its container, answered with an error
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tollgate.adapters.aws.retry import FailureKind
from tollgate.adapters.dynamodb.values import from_attributes

# botocore/retries/standard.py (1.44.5), ThrottledRetryableChecker
_THROTTLE_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_TRANSIENT_CODES = frozenset({"RequestTimeout", "RequestTimeoutException"})
_TRANSIENT_STATUSES = frozenset({500, 502, 503, 504})
_INVALID_CODES = frozenset(
    {
        "InvalidMessageContents",
        "MissingParameter",
        "InvalidParameterValue",
        "SerializationException",
        "ValidationError",
        "ValidationException",
    }
)
_NOT_FOUND_CODES = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchKey",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
# An inference component scaled to zero has no code of its own: SageMaker answers ValidationError, and the
# sentence is all that tells it from a bad request.
# https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-zero-instances.html
_NO_CAPACITY_PHRASE = "has no capacity to process this request"
_NO_CAPACITY_CODES = frozenset({"ModelNotReadyException"})
_XML_FIELD = re.compile(r"<(Code|Message)>([^<]*)</")
# A proxy's or balancer's error page, which would fill the log.
_MAX_FOREIGN_MESSAGE = 500


class AwsError(Exception):
    """AWS answered with an error, or did not answer.

    Attributes:
        code: AWS error code without namespace; the HTTP status as text when AWS gave none.
        message: AWS's own words.
        status: HTTP status, 0 when there was no answer.
        request_id: AWS's request id, empty when there was no answer.
        operation: name of the operation, such as `GetItem`.
        kind: how the retry logic sees it.
        retry_after_ms: the `x-amz-retry-after` header, if any.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 0,
        request_id: str = "",
        operation: str = "",
        *,
        kind: FailureKind = FailureKind.FINAL,
        retry_after_ms: str | None = None,
    ) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id
        self.operation = operation
        self.kind = kind
        self.retry_after_ms = retry_after_ms

    @property
    def outcome_unknown(self) -> bool:
        """True when AWS may have acted although the call failed."""
        return self.kind is FailureKind.TRANSIENT


class AwsConnectionError(AwsError):
    """No connection could be made, or it broke before the whole answer was there."""


class AwsTimeoutError(AwsError):
    """The answer did not come in time; AWS may or may not have acted."""


class ThrottledError(AwsError):
    """AWS refused the call because of its rate and did not act on it."""


class InvalidRequestError(AwsError):
    """AWS cannot make sense of the request."""


class ResourceNotFoundError(AwsError):
    """The table, index, queue, endpoint, bucket or object does not exist."""


class NoCapacityError(AwsError):
    """SageMaker has no instance or model copy that could answer now."""


class ConditionalCheckFailedError(AwsError):
    """The condition of a DynamoDB write was false, so nothing was written.

    Attributes:
        item: the item as it stands, when the call asked for it; None also when there is no such item.
    """

    item: dict[str, Any] | None = None


class CancellationReason(NamedTuple):
    """Why one action of a transaction could not go ahead; code `None` means that it could.

    Attributes:
        code: `None`, `ConditionalCheckFailed`, `TransactionConflict`, `ThrottlingError`,
            `ProvisionedThroughputExceeded`, `ItemCollectionSizeLimitExceeded` or `ValidationError`, as text.
        message: AWS's own words.
        item: the item as it stands, when the action asked for it.
    """

    code: str
    message: str
    item: dict[str, Any] | None


class TransactionCancelledError(AwsError):
    """A DynamoDB transaction was refused as a whole; nothing was written.

    Attributes:
        reasons: one for each action, in the order of the request.
    """

    reasons: tuple[CancellationReason, ...] = ()


class ModelError(AwsError):
    """The model's container, or Bedrock's model, answered with an error, which AWS passes on.

    Attributes:
        original_status_code: the container's HTTP status, None when AWS did not say.
        original_message: the container's body.
        log_stream_arn: where the container's log is.
    """

    original_status_code: int | None = None
    original_message: str = ""
    log_stream_arn: str = ""


def _body_as_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body) if body else {}
    except ValueError:
        if b"<Error>" in body:
            # S3 answers in XML; an error is a flat element, not worth an XML parser in every cold start.
            return _fields_of_xml(body.decode("utf-8", "replace"))
        parsed = {"message": body[:_MAX_FOREIGN_MESSAGE].decode("utf-8", "replace")}
    if not isinstance(parsed, dict):
        return {}
    if isinstance(parsed.get("error"), dict):
        from tollgate.adapters.sagemaker.openai_errors import fields_of  # noqa: PLC0415  # one route's, and rare

        return fields_of(parsed["error"])
    return parsed


def _fields_of_xml(text: str) -> dict[str, Any]:
    from html import unescape  # noqa: PLC0415  # a table of 2,231 names that good answers do not need

    return {name: unescape(found) for name, found in _XML_FIELD.findall(text)}


def _bare(code: str) -> str:
    return code.split(":", 1)[0].rsplit("#", 1)[-1]


def _error_code(status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
    """The code, looked for where botocore's parsers look for it, in their order of preference."""
    query_error = headers.get("x-amzn-query-error", "")
    if query_error.count(";") == 1:
        # SQS keeps the codes of its old query protocol in this header for clients that match on them.
        return query_error.split(";", 1)[0]
    for candidate in (
        headers.get("x-amzn-errortype"),
        body.get("code"),
        body.get("Code"),
        body.get("__type"),
    ):
        if isinstance(candidate, str) and candidate:
            return _bare(candidate)
    return str(status)


def _kind(status: int, code: str) -> FailureKind:
    if code in _THROTTLE_CODES or (status == 429 and code not in _NO_CAPACITY_CODES):
        return FailureKind.THROTTLED
    if status in _TRANSIENT_STATUSES or code in _TRANSIENT_CODES:
        return FailureKind.TRANSIENT
    return FailureKind.FINAL


def _class_for(code: str, message: str, kind: FailureKind) -> type[AwsError]:
    if kind is FailureKind.THROTTLED:
        return ThrottledError
    if code in _NO_CAPACITY_CODES or (code == "ValidationError" and _NO_CAPACITY_PHRASE in message):
        return NoCapacityError
    if code in _INVALID_CODES:
        return InvalidRequestError
    if code in _NOT_FOUND_CODES:
        return ResourceNotFoundError
    return _BY_CODE.get(code, AwsError)


_BY_CODE: dict[str, type[AwsError]] = {
    "ConditionalCheckFailedException": ConditionalCheckFailedError,
    "TransactionCanceledException": TransactionCancelledError,
    "ModelError": ModelError,
    "ModelErrorException": ModelError,
    "ModelStreamErrorException": ModelError,
}


def _reason(raw: Mapping[str, Any]) -> CancellationReason:
    item = raw.get("Item")
    return CancellationReason(
        code=raw.get("Code") or "None",
        message=raw.get("Message") or "",
        item=from_attributes(item) if item else None,
    )


def object_from_response(operation: str, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises:
        AwsError: code `UnreadableAnswer` when the body is something else, as from a proxy in between. AWS
            may have acted all the same.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    raise AwsError(
        "UnreadableAnswer",
        body[:_MAX_FOREIGN_MESSAGE].decode("utf-8", "replace"),
        status,
        headers.get("x-amzn-requestid", ""),
        operation,
        kind=FailureKind.TRANSIENT,
    )


def error_from_response(operation: str, status: int, headers: Mapping[str, str], body: bytes) -> AwsError:
    """The exception for an error answer.

    Args:
        operation: name of the operation.
        status: HTTP status, 300 or more.
        headers: names in lower case.
        body: as received; need not be JSON.
    """
    fields = _body_as_object(body)
    code = _error_code(status, headers, fields)
    message = str(fields.get("message") or fields.get("Message") or "")
    kind = _kind(status, code)
    error = _class_for(code, message, kind)(
        code,
        message,
        status,
        headers.get("x-amzn-requestid") or headers.get("x-amz-request-id") or "",
        operation,
        kind=kind,
        retry_after_ms=headers.get("x-amz-retry-after"),
    )
    if isinstance(error, ConditionalCheckFailedError):
        item = fields.get("Item")
        error.item = from_attributes(item) if item else None
    elif isinstance(error, TransactionCancelledError):
        error.reasons = tuple(_reason(raw) for raw in fields.get("CancellationReasons") or ())
    elif isinstance(error, ModelError):
        # Bedrock's names begin with a small letter.
        original = fields.get("OriginalStatusCode", fields.get("originalStatusCode"))
        error.original_status_code = int(original) if original is not None else None
        error.original_message = fields.get("OriginalMessage") or fields.get("originalMessage") or ""
        error.log_stream_arn = fields.get("LogStreamArn") or ""
    return error
