"""The SageMaker runtime: synchronous and asynchronous invocations."""

import time
from functools import lru_cache
from typing import NamedTuple

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.errors import object_from_response
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.transport import AwsTransport
from tollgate.domain.catalogue import Road

# A container has 60 s; SageMaker's own error for a late one comes a little after that.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
_DEFAULT_TIMEOUT_S = 70.0
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


class InvokeResult(NamedTuple):
    """A model's answer.

    Attributes:
        body: as the container sent it.
        content_type: of the body.
        invoked_production_variant: which variant answered.
        custom_attributes: what the container added.
        latency_s: seconds from call to whole answer, retries included.
    """

    body: bytes
    content_type: str
    invoked_production_variant: str
    custom_attributes: str
    latency_s: float


class AsyncInvokeResult(NamedTuple):
    """An accepted asynchronous invocation: where its result or its failure will be, as s3:// URIs."""

    inference_id: str
    output_location: str
    failure_location: str


@lru_cache(maxsize=256)
def path_segment(text: str) -> str:
    """Percent-encode one segment of a path (RFC 3986); urllib.parse would cost 2 to 4 ms of cold start."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def _present(pairs: tuple[tuple[str, str | int | None], ...]) -> tuple[tuple[str, str], ...]:
    """The headers that have a value.

    Raises:
        ValueError: a value holds something other than printable ASCII, a line break for instance.
    """
    headers = tuple((name, str(value)) for name, value in pairs if value is not None)
    for name, value in headers:
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"{name} must be printable ASCII")
    return headers


class SageMakerRuntimeClient:
    """Invokes endpoints.

    An inference costs money and need not give the same answer twice, so by default only throttles and calls
    that certainly did not reach SageMaker are repeated.
    """

    def __init__(self, transport: AwsTransport) -> None:
        self._transport = transport

    def invoke_endpoint(
        self,
        endpoint_name: str,
        body: bytes,
        *,
        content_type: str = "application/json",
        target_model: str | None = None,
        target_variant: str | None = None,
        inference_component: str | None = None,
        custom_attributes: str | None = None,
        timeout_s: float = _DEFAULT_TIMEOUT_S,
    ) -> InvokeResult:
        """Invoke and wait.

        Args:
            endpoint_name: the endpoint.
            body: at most 6,291,456 bytes.
            content_type: of the body.
            target_model: artefact of a multi-model endpoint.
            target_variant: production variant, for a choice made here.
            inference_component: component of a shared endpoint.
            custom_attributes: up to 1,024 visible ASCII characters for the container.
            timeout_s: seconds for the whole answer, further attempts and the waits before them included.

        Raises:
            ValueError: a header value is not printable ASCII.
            ModelError: the container answered with an error.
            NoCapacityError: nothing is running that could answer.
            ThrottledError: refused because of rate, after the allowed attempts.
            InvalidRequestError: unknown endpoint, variant or component, or a body too large.
            AwsTimeoutError: no answer in time; the model may still be computing.
            AwsError: anything else; see `aws.errors`.
        """
        started = time.monotonic()
        response = self._transport.send(
            AwsCall(
                service=AwsService.SAGEMAKER_RUNTIME,
                operation="InvokeEndpoint",
                path=f"/endpoints/{path_segment(endpoint_name)}/invocations",
                headers=_present(
                    (
                        ("content-type", content_type),
                        ("x-amzn-sagemaker-custom-attributes", custom_attributes),
                        ("x-amzn-sagemaker-target-model", target_model),
                        ("x-amzn-sagemaker-target-variant", target_variant),
                        ("x-amzn-sagemaker-inference-component", inference_component),
                    )
                ),
                body=body,
                retry=RetryPolicy.UNPROCESSED,
                time_limit_s=timeout_s,
            )
        )
        headers = response.headers
        return InvokeResult(
            body=response.body,
            content_type=headers.get("content-type", ""),
            invoked_production_variant=headers.get("x-amzn-invoked-production-variant", ""),
            custom_attributes=headers.get("x-amzn-sagemaker-custom-attributes", ""),
            latency_s=time.monotonic() - started,
        )

    def chat(self, road: Road, body: bytes, *, content_type: str, timeout_s: float) -> InvokeResult:
        """One chat on an endpoint's `/openai` route. Raises as `invoke_endpoint`."""
        # Few endpoints are called this way.
        from tollgate.adapters.sagemaker.openai_route import chat_call  # noqa: PLC0415 -- see above

        started = time.monotonic()
        call = chat_call(
            self._transport.signer, road, body, content_type, retry=RetryPolicy.UNPROCESSED, timeout_seconds=timeout_s
        )
        response = self._transport.send(call)
        return InvokeResult(
            body=response.body,
            content_type=response.headers.get("content-type", ""),
            invoked_production_variant=response.headers.get("x-amzn-invoked-production-variant", ""),
            custom_attributes="",
            latency_s=time.monotonic() - started,
        )

    def invoke_endpoint_async(
        self,
        endpoint_name: str,
        *,
        body: bytes | None = None,
        input_location: str | None = None,
        content_type: str = "application/json",
        inference_id: str | None = None,
        custom_attributes: str | None = None,
        request_ttl_s: int | None = None,
        invocation_timeout_s: int | None = None,
    ) -> AsyncInvokeResult:
        """Queue an invocation on an asynchronous endpoint.

        Args:
            endpoint_name: the endpoint.
            body: the input itself, at most 128,000 bytes; or
            input_location: the input as an s3:// URI, up to 1 GB.
            content_type: of the input.
            inference_id: up to 64 characters, returned in the notification.
            custom_attributes: for the container.
            request_ttl_s: 60 to 21,600; how long it may wait in the queue.
            invocation_timeout_s: 1 to 3,600; how long the model may take.

        Raises:
            ValueError: neither or both of `body` and `input_location`, or a header value is not printable
                ASCII.
            AwsError: as `invoke_endpoint`.
        """
        if (body is None) == (input_location is None):
            raise ValueError("give either body or input_location")
        response = self._transport.send(
            AwsCall(
                service=AwsService.SAGEMAKER_RUNTIME,
                operation="InvokeEndpointAsync",
                path=f"/endpoints/{path_segment(endpoint_name)}/async-invocations",
                headers=_present(
                    (
                        ("x-amzn-sagemaker-content-type", content_type),
                        ("x-amzn-sagemaker-custom-attributes", custom_attributes),
                        ("x-amzn-sagemaker-inference-id", inference_id),
                        ("x-amzn-sagemaker-inputlocation", input_location),
                        ("x-amzn-sagemaker-requestttlseconds", request_ttl_s),
                        ("x-amzn-sagemaker-invocationtimeoutseconds", invocation_timeout_s),
                    )
                ),
                body=body or b"",
                retry=RetryPolicy.UNPROCESSED,
            )
        )
        answer = (
            object_from_response("InvokeEndpointAsync", response.status, response.headers, response.body)
            if response.body
            else {}
        )
        return AsyncInvokeResult(
            inference_id=str(answer.get("InferenceId") or ""),
            output_location=response.headers.get("x-amzn-sagemaker-outputlocation", ""),
            failure_location=response.headers.get("x-amzn-sagemaker-failurelocation", ""),
        )
