"""Real-time endpoints."""

from tollgate.adapters.aws.translation import backend_errors
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.domain.catalogue import Road
from tollgate.ports.backends import ModelAnswer


class SageMakerRealtime:
    """Invokes a SageMaker real-time endpoint, at most once unless SageMaker certainly did not take the call."""

    def __init__(self, client: SageMakerRuntimeClient) -> None:
        self._client = client

    def invoke(self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str) -> ModelAnswer:
        """See `RealtimeBackend`."""
        with backend_errors(road.target):
            answer = (
                self._client.chat(road, body, content_type=content_type, timeout_s=timeout_seconds)
                if road.openai_route
                else self._client.invoke_endpoint(
                    road.target,
                    body,
                    content_type=content_type,
                    target_model=road.target_model,
                    target_variant=road.target_variant,
                    inference_component=road.inference_component,
                    custom_attributes=f"traceparent={trace}" if trace else None,
                    timeout_s=timeout_seconds,
                )
            )
        return ModelAnswer(
            body=answer.body,
            content_type=answer.content_type,
            seconds=answer.latency_s,
        )
