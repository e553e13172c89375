"""What a call to AWS is, before it is signed and sent, and what is told of it afterwards."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from tollgate.adapters.aws_retry import RetryPolicy


class AwsService(StrEnum):
    """The services of the hot path, by signing name."""

    DYNAMODB = "dynamodb"
    SQS = "sqs"
    SAGEMAKER_RUNTIME = "sagemaker"
    S3 = "s3"
    LAMBDA = "lambda"


class OperationKind(StrEnum):
    """What an operation is on the bill."""

    READ_EVENTUAL = "read_eventual"
    READ_CONSISTENT = "read_consistent"
    WRITE = "write"
    WRITE_TRANSACTION = "write_transaction"
    QUEUE_REQUEST = "queue_request"
    INFERENCE = "inference"
    BUCKET_PUT = "bucket_put"
    BUCKET_GET = "bucket_get"
    FUNCTION_EVENT = "function_event"
    FUNCTION_CALL = "function_call"


class OperationRecord(NamedTuple):
    """One finished operation, for whoever counts its cost.

    Attributes:
        service: the service called.
        operation: name of the operation, such as `UpdateItem`.
        kind: what it is on the bill.
        units: items read or written, or messages sent; 1 for most operations.
        request_bytes: body sent, once, without headers.
        response_bytes: body received, without headers; 0 without an answer.
        attempts: how often it was sent, at least 1.
        status: HTTP status of the last answer, 0 without one. A refused condition (400) is still charged.
    """

    service: AwsService
    operation: str
    kind: OperationKind
    units: int
    request_bytes: int
    response_bytes: int
    attempts: int
    status: int


type OperationHook = Callable[[OperationRecord], None]


class AwsCall(NamedTuple):
    """One call, before endpoint and signature.

    Attributes:
        service: which service.
        operation: its name, for errors and records.
        kind: what it is on the bill.
        path: percent-encoded, from `/`.
        headers: without host, content-length and what the signature adds.
        body: as sent.
        retry: what may be repeated.
        units: see `OperationRecord`.
        read_timeout_s: instead of the configured one.
        method: of HTTP; GET and HEAD have no body.
        subdomain: part of the host before the service's, such as a bucket; not with a configured endpoint.
    """

    service: AwsService
    operation: str
    kind: OperationKind
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    retry: RetryPolicy
    units: int = 1
    read_timeout_s: float | None = None
    method: str = "POST"
    subdomain: str = ""
