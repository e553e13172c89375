"""Asynchronous endpoints."""

from tollgate.adapters.aws.errors import AwsError, ThrottledError
from tollgate.adapters.aws.translation import backend_errors
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.domain.catalogue import Road
from tollgate.domain.errors import BackendTimeoutError
from tollgate.ports.backends import AsyncSubmission
from tollgate.ports.objects import WholeObjectStore

INLINE_BODY_BYTES = 128_000
"""Largest body that InvokeEndpointAsync takes in the call itself.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointAsync.html
"""


class SageMakerAsync:
    """Hands requests to SageMaker's asynchronous endpoints, at most once per call."""

    def __init__(self, client: SageMakerRuntimeClient, objects: WholeObjectStore) -> None:
        self._client = client
        self._objects = objects

    def submit(
        self,
        road: Road,
        body: bytes,
        content_type: str,
        *,
        inference_id: str,
        request_ttl_seconds: int,
        timeout_seconds: int,
        trace: str,
    ) -> AsyncSubmission:
        """See `AsyncBackend`. A larger body goes to ``async-input/<inference_id>.body``."""
        location = None
        if len(body) > INLINE_BODY_BYTES:
            key = f"async-input/{inference_id}.body"
            self._objects.put(key, body, content_type=content_type)
            location = self._objects.location_of(key)
        with backend_errors(road.target):
            try:
                answer = self._client.invoke_endpoint_async(
                    road.target,
                    body=body if location is None else None,
                    input_location=location,
                    content_type=content_type,
                    inference_id=inference_id,
                    custom_attributes=f"traceparent={trace}" if trace else None,
                    request_ttl_s=request_ttl_seconds,
                    invocation_timeout_s=timeout_seconds,
                )
            except AwsError as error:
                if error.outcome_unknown and not isinstance(error, ThrottledError):
                    raise BackendTimeoutError(f"Endpoint '{road.target}' did not confirm the request.") from error
                raise
        return AsyncSubmission(output_location=answer.output_location, failure_location=answer.failure_location or None)
