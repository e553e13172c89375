"""One signed call to AWS: endpoint, credentials, connection, time-outs, retries.

The values of this and its neighbouring modules are named tuples: to define a frozen dataclass takes 0.4 ms, a
named tuple 0.1 ms, and every cold start pays for all of them.
"""

import time
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, NamedTuple, Self

from awscrt.auth import AwsCredentialsProvider
from awscrt.http import HttpRequest

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.credentials import CredentialsError, RequestSigner
from tollgate.adapters.aws.errors import (
    AwsConnectionError,
    AwsError,
    AwsTimeoutError,
    error_from_response,
    object_from_response,
)
from tollgate.adapters.aws.http import (
    ClientRuntime,
    ConnectFailedError,
    ConnectionPool,
    Endpoint,
    ExchangeFailedError,
    HttpResponse,
    new_request,
)
from tollgate.adapters.aws.retry import (
    FailureKind,
    RetryBudget,
    RetryPolicy,
    backoff_s,
    may_retry,
    system_random,
)

_USER_AGENT = "tollgate"
_TIME_FOR_A_RETRY = 0.5
"""Of a call's time limit, the share that has to be left for another attempt: one that is cut short may cost something,
which a call that was refused has not."""


_HOST_PREFIX = {
    AwsService.DYNAMODB: "dynamodb",
    AwsService.SQS: "sqs",
    AwsService.SAGEMAKER_RUNTIME: "runtime.sagemaker",
    AwsService.BEDROCK_RUNTIME: "bedrock-runtime",
    AwsService.SSM: "ssm",
    AwsService.S3: "s3",
    AwsService.LAMBDA: "lambda",
}


class TransportConfig(NamedTuple):
    """Where the services are and how long to wait for them.

    Attributes:
        region: such as `eu-central-1`.
        dynamodb_endpoint: a base URL; None for the region's public one, as for the next six.
        sqs_endpoint: as above.
        sagemaker_runtime_endpoint: as above.
        s3_endpoint: as above.
        lambda_endpoint: as above.
        bedrock_runtime_endpoint: as above.
        ssm_endpoint: as above.
        connect_timeout_s: for name, TCP and TLS together.
        read_timeout_s: from sending the request to the end of the answer, for each attempt.
        max_attempts: the first one included.
        max_idle_s: a connection that rested longer is not used again.
        max_idle_unsafe_s: the same for calls that must not run twice, where a connection the server has
            dropped meanwhile could not be replaced silently.
        ca_file: a bundle of root certificates in PEM instead of the system's.
    """

    region: str
    dynamodb_endpoint: str | None = None
    sqs_endpoint: str | None = None
    sagemaker_runtime_endpoint: str | None = None
    s3_endpoint: str | None = None
    lambda_endpoint: str | None = None
    bedrock_runtime_endpoint: str | None = None
    ssm_endpoint: str | None = None
    connect_timeout_s: float = 1.0
    read_timeout_s: float = 5.0
    max_attempts: int = 3
    max_idle_s: float = 50.0
    max_idle_unsafe_s: float = 10.0
    ca_file: str | None = None

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Read AWS's own variables: AWS_REGION or AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, AWS_CA_BUNDLE.

        AWS_ENDPOINT_URL_DYNAMODB, _SQS, _SAGEMAKER_RUNTIME, _S3, _LAMBDA, _BEDROCK_RUNTIME and _SSM win over
        AWS_ENDPOINT_URL.

        Raises:
            ValueError: no region.
        """
        region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
        if not region:
            raise ValueError("AWS_REGION or AWS_DEFAULT_REGION must name a region")
        everywhere = env.get("AWS_ENDPOINT_URL") or None
        return cls(
            region=region,
            dynamodb_endpoint=env.get("AWS_ENDPOINT_URL_DYNAMODB") or everywhere,
            sqs_endpoint=env.get("AWS_ENDPOINT_URL_SQS") or everywhere,
            sagemaker_runtime_endpoint=env.get("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME") or everywhere,
            s3_endpoint=env.get("AWS_ENDPOINT_URL_S3") or everywhere,
            lambda_endpoint=env.get("AWS_ENDPOINT_URL_LAMBDA") or everywhere,
            bedrock_runtime_endpoint=env.get("AWS_ENDPOINT_URL_BEDROCK_RUNTIME") or everywhere,
            ssm_endpoint=env.get("AWS_ENDPOINT_URL_SSM") or everywhere,
            ca_file=env.get("AWS_CA_BUNDLE") or None,
        )

    def endpoint_url(self, service: AwsService, subdomain: str = "") -> str:
        """The base URL of a service; a configured one has no subdomains."""
        configured = {
            AwsService.DYNAMODB: self.dynamodb_endpoint,
            AwsService.SQS: self.sqs_endpoint,
            AwsService.SAGEMAKER_RUNTIME: self.sagemaker_runtime_endpoint,
            AwsService.S3: self.s3_endpoint,
            AwsService.LAMBDA: self.lambda_endpoint,
            AwsService.BEDROCK_RUNTIME: self.bedrock_runtime_endpoint,
            AwsService.SSM: self.ssm_endpoint,
        }[service]
        if configured:
            return configured
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        below = f"{subdomain}." if subdomain else ""
        return f"https://{below}{_HOST_PREFIX[service]}.{self.region}.{suffix}"


def signed_request(call: AwsCall, endpoint: Endpoint, signer: RequestSigner) -> tuple[HttpRequest, BytesIO]:
    """The request of a call and the stream of its body.

    Raises:
        AwsError: there are no credentials.
    """
    request, stream = new_request(
        call.method,
        endpoint.base_path + call.path,
        [("host", endpoint.host_header), *call.headers, ("user-agent", _USER_AGENT)],
        call.body,
    )
    try:
        if call.signed:
            signer.sign(request, call.body, call.service)
    except CredentialsError as error:
        raise AwsError("CredentialsError", str(error), operation=call.operation) from error
    if request.body_stream is not None:
        # After the signature, as botocore does: a proxy may change how a body is framed.
        request.headers.add("content-length", str(len(call.body)))
    return request, stream


class AwsTransport:
    """Sends calls and returns good answers; everything else is raised. Thread safe.

    Construction makes no connection, thread or random number; the first call does.

    Args:
        config: endpoints, time-outs, attempts.
        credentials_provider: awscrt's provider; the default looks in the environment, then in AWS's chain.
        sleep: waits between attempts.
        jitter: random numbers in [0, 1).
    """

    def __init__(
        self,
        config: TransportConfig,
        *,
        credentials_provider: AwsCredentialsProvider | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = system_random,
    ) -> None:
        self.config = config
        self._runtime = ClientRuntime(config.ca_file)
        self._signer = RequestSigner(config.region, self._runtime, credentials_provider)
        self._pools = {str(service): self._new_pool(service) for service in AwsService}
        self._budgets = {service: RetryBudget() for service in AwsService}
        self._sleep = sleep
        self._jitter = jitter

    def prepare(self) -> None:
        """Read the root certificates now, for a function's start-up, where Lambda gives it more CPU.

        Opens no connection, starts no thread and draws no random number, so it may be part of a snapshot.
        Without it the first call does this. Nothing happens when no endpoint uses TLS.

        Raises:
            AwsConnectionError: the bundle of roots cannot be read.
        """
        if any(pool.endpoint.secure for pool in self._pools.values()):
            try:
                self._runtime.tls_context()
            except ConnectFailedError as error:
                raise AwsConnectionError("ConnectionFailed", str(error), kind=FailureKind.UNSENT) from error

    def send(self, call: AwsCall) -> HttpResponse:
        """Make the call, again where its policy allows it.

        Raises:
            AwsError: AWS answered with an error; see the tree in `aws.errors`.
            AwsConnectionError: no connection, or it broke.
            AwsTimeoutError: no answer in time.
        """
        attempt = 1
        retry_cost = 0
        limit = call.time_limit_s
        until = None if limit is None else time.monotonic() + limit
        while True:
            outcome = self._attempt(call, until)
            if isinstance(outcome, HttpResponse):
                self._budgets[call.service].release(retry_cost)
                return outcome
            retry_cost = self._cost_of_retry(call, attempt, outcome)
            if not retry_cost:
                raise outcome
            pause = backoff_s(attempt, outcome.kind, call.service, outcome.retry_after_ms, self._jitter())
            if until is not None and limit is not None and until - time.monotonic() - pause < limit * _TIME_FOR_A_RETRY:
                self._budgets[call.service].release(retry_cost)
                raise outcome
            self._sleep(pause)
            attempt += 1

    def send_for_object(self, call: AwsCall) -> dict[str, Any]:
        """Make a call whose answer is a JSON object, and read it.

        Raises:
            AwsError: as `send`, or the answer is not a JSON object.
        """
        response = self.send(call)
        return object_from_response(call.operation, response.status, response.headers, response.body)

    def presigned_url(
        self,
        service: AwsService,
        path: str,
        *,
        subdomain: str = "",
        expires_seconds: int,
        method: str = "GET",
        content_length: int | None = None,
    ) -> str:
        """A URL that makes one kind of request possible for whoever holds it.

        Args:
            service: which service.
            path: percent-encoded, from `/`.
            subdomain: see `AwsCall`.
            expires_seconds: until the URL is worth nothing, a week at most.
            method: of the request.
            content_length: bytes that its body must have; None leaves that open.

        Raises:
            AwsError: there are no credentials.
        """
        endpoint = self._pool(service, subdomain).endpoint
        length = [] if content_length is None else [("content-length", str(content_length))]
        request, _ = new_request(method, endpoint.base_path + path, [("host", endpoint.host_header), *length], b"")
        try:
            self._signer.presign(request, service, expires_seconds=expires_seconds)
        except CredentialsError as error:
            raise AwsError("CredentialsError", str(error), operation="Presign") from error
        return f"{'https' if endpoint.secure else 'http'}://{endpoint.host_header}{request.path}"

    @property
    def signer(self) -> RequestSigner:
        """Has the credentials, for calls that bring a token of their own."""
        return self._signer

    def pause(self, service: AwsService, attempt: int) -> None:
        """Wait as after the throttle-free failure of attempt `attempt`: for work a service left undone."""
        self._sleep(backoff_s(attempt, FailureKind.TRANSIENT, service, None, self._jitter()))

    def close(self) -> None:
        """Close the resting connections; the next call opens new ones."""
        for pool in self._pools.values():
            pool.discard_idle()

    def _cost_of_retry(self, call: AwsCall, attempt: int, error: AwsError) -> int:
        """Tokens taken from the budget for one more attempt, 0 when there shall be none."""
        if attempt >= self.config.max_attempts or not may_retry(call.retry, error.kind):
            return 0
        return self._budgets[call.service].acquire(error.kind)

    def _attempt(self, call: AwsCall, until: float | None) -> HttpResponse | AwsError:
        try:
            response = self._exchange_on_live_connection(call, until)
        except ExchangeFailedError as failure:
            return _interrupted(call, failure)
        except ConnectFailedError as failure:
            return _not_connected(call, failure)
        if response.status >= 300:
            return error_from_response(call.operation, response.status, response.headers, response.body)
        checksum = response.headers.get("x-amz-crc32")
        if checksum is not None and checksum != str(zlib.crc32(response.body)):
            return AwsConnectionError(
                "ChecksumMismatch",
                "the body differs from what DynamoDB sent",
                response.status,
                response.headers.get("x-amzn-requestid", ""),
                call.operation,
                kind=FailureKind.TRANSIENT,
            )
        return response

    def _exchange_on_live_connection(self, call: AwsCall, until: float | None) -> HttpResponse:
        """One exchange; a kept-alive connection found dead is replaced, once, at no cost to the budget."""
        try:
            return self._exchange(call, until)
        except ExchangeFailedError as failure:
            if not _was_stale(failure, call.retry):
                raise
        self._pool(call.service, call.subdomain).discard_idle()
        return self._exchange(call, until)

    def _exchange(self, call: AwsCall, until: float | None) -> HttpResponse:
        pool = self._pool(call.service, call.subdomain)
        request, stream = signed_request(call, pool.endpoint, self._signer)
        config = self.config
        return pool.exchange(
            request,
            stream,
            read_timeout_s=call.read_timeout_s or (config.read_timeout_s if until is None else None),
            max_idle_s=config.max_idle_s if call.retry is RetryPolicy.IDEMPOTENT else config.max_idle_unsafe_s,
            until=until,
        )

    def _pool(self, service: AwsService, subdomain: str) -> ConnectionPool:
        pool = self._pools.get(subdomain + service)
        # Of two threads that come here at once, both go on with the same pool.
        return pool or self._pools.setdefault(subdomain + service, self._new_pool(service, subdomain))

    def _new_pool(self, service: AwsService, subdomain: str = "") -> ConnectionPool:
        endpoint = Endpoint.parse(self.config.endpoint_url(service, subdomain))
        return ConnectionPool(endpoint, self._runtime, self.config.connect_timeout_s)


def _was_stale(failure: ExchangeFailedError, policy: RetryPolicy) -> bool:
    """Whether the server had closed a kept-alive connection before it could have acted on the request."""
    if not failure.reused or failure.answered or failure.timed_out:
        return False
    return failure.unsent or policy is RetryPolicy.IDEMPOTENT


def _interrupted(call: AwsCall, failure: ExchangeFailedError) -> AwsError:
    kind = FailureKind.UNSENT if failure.unsent else FailureKind.TRANSIENT
    if failure.timed_out:
        return AwsTimeoutError("ReadTimeout", str(failure), operation=call.operation, kind=kind)
    return AwsConnectionError("ConnectionClosed", str(failure), operation=call.operation, kind=kind)


def _not_connected(call: AwsCall, failure: ConnectFailedError) -> AwsError:
    return AwsConnectionError("ConnectionFailed", str(failure), operation=call.operation, kind=FailureKind.UNSENT)
