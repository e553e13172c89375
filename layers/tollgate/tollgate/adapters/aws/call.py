"""What a call to AWS is, before it is signed and sent."""

from enum import StrEnum
from typing import NamedTuple

from tollgate.adapters.aws.retry import RetryPolicy


class AwsService(StrEnum):
    """The services of the hot path, by signing name."""

    DYNAMODB = "dynamodb"
    SQS = "sqs"
    SAGEMAKER_RUNTIME = "sagemaker"
    BEDROCK_RUNTIME = "bedrock"
    SSM = "ssm"
    S3 = "s3"
    LAMBDA = "lambda"


class AwsCall(NamedTuple):
    """One call, before endpoint and signature.

    Attributes:
        service: which service.
        operation: its name, for errors.
        path: percent-encoded, from `/`.
        headers: without host, content-length and what the signature adds.
        body: as sent.
        retry: what may be repeated.
        read_timeout_s: of each attempt, instead of the configured one.
        time_limit_s: of the whole call: connecting, every attempt and the waits between them. An attempt may then take
            what is left of it.
        method: of HTTP; GET and HEAD have no body.
        subdomain: part of the host before the service's, such as a bucket; not with a configured endpoint.
        signed: whether it is to be signed; what is not brings its own `authorization`.
    """

    service: AwsService
    operation: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    retry: RetryPolicy
    read_timeout_s: float | None = None
    time_limit_s: float | None = None
    method: str = "POST"
    subdomain: str = ""
    signed: bool = True
