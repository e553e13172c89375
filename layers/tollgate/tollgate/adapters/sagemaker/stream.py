"""SageMaker's ``InvokeEndpointWithResponseStream``: an AWS event stream around the container's bytes.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointWithResponseStream.html
"""

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.errors import AwsError, error_from_response
from tollgate.adapters.aws.event_stream import event_messages
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.aws.translation import backend_errors
from tollgate.adapters.sagemaker.runtime_client import path_segment
from tollgate.domain.catalogue import Road
from tollgate.domain.errors import BackendTimeoutError, ModelFailedError
from tollgate.domain.foreign_words import quoted
from tollgate.domain.json_values import strict_json

_OPERATION = "InvokeEndpointWithResponseStream"
_TOO_LONG = "ModelInvocationTimeExceeded"


class SageMakerStream:
    """Invokes a real-time endpoint, once, and hands its answer on as it comes."""

    def __init__(self, transport: StreamingTransport) -> None:
        self._transport = transport

    def open(
        self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str
    ) -> Generator[bytes]:
        """See `StreamingBackend`."""
        if road.openai_route:
            yield from self._chat(road, body, content_type, timeout_seconds)
            return
        headers = {
            "content-type": content_type,
            "x-amzn-sagemaker-custom-attributes": f"traceparent={trace}" if trace else None,
            "x-amzn-sagemaker-target-variant": road.target_variant,
            "x-amzn-sagemaker-inference-component": road.inference_component,
        }
        call = AwsCall(
            service=AwsService.SAGEMAKER_RUNTIME,
            operation=_OPERATION,
            path=f"/endpoints/{path_segment(road.target)}/invocations-response-stream",
            headers=tuple((name, value) for name, value in headers.items() if value),
            body=body,
            retry=RetryPolicy.NEVER,
        )
        with backend_errors(road.target):
            yield from _payloads(self._transport.open(call, timeout_s=timeout_seconds))

    def _chat(self, road: Road, body: bytes, content_type: str, timeout_seconds: float) -> Generator[bytes]:
        """The `/openai` route sends the container's own events, without a frame."""
        from tollgate.adapters.sagemaker.openai_route import chat_call  # noqa: PLC0415 -- few endpoints need it

        with backend_errors(road.target):
            call = chat_call(
                self._transport.signer,
                road,
                body,
                content_type,
                retry=RetryPolicy.NEVER,
                timeout_seconds=timeout_seconds,
            )
            yield from self._transport.open(call, timeout_s=timeout_seconds)


def _payloads(answer: Generator[bytes]) -> Generator[bytes]:
    """The payloads of an event stream.

    Raises:
        ModelFailedError, BackendTimeoutError: the container, or the connection to it, broke.
        AwsError: the stream is none.
    """
    with closing(event_messages(answer, _OPERATION)) as messages:
        for headers, payload in messages:
            if headers.get(":message-type") != "event":
                raise _failure(headers, payload)
            if headers.get(":event-type") == "PayloadPart":
                yield payload


def _failure(headers: Mapping[str, Any], payload: bytes) -> ModelFailedError | BackendTimeoutError | AwsError:
    """An exception or error in the stream: `ModelStreamError`, `InternalStreamFailure`, or one of the operation's."""
    name = headers.get(":exception-type") or headers.get(":error-code") or "InternalStreamFailure"
    try:
        said = strict_json(payload)
    except ValueError:
        said = {}
    text = quoted(str(said.get("Message") or headers.get(":error-message") or "")) if isinstance(said, dict) else ""
    if name == "ModelStreamError":
        if said.get("ErrorCode") == _TOO_LONG:
            return BackendTimeoutError(f"The model did not end its answer in time: {text}")
        return ModelFailedError(f"The model container broke off its answer: {text}", original_status=502)
    if name == "InternalStreamFailure":
        return ModelFailedError(f"SageMaker broke off the answer: {text}", original_status=502)
    return error_from_response(_OPERATION, 500, {"x-amzn-errortype": name}, payload)
