"""Chats, completions and responses, streamed while the model answers. See docs/openai.md, "Streams"."""

from datetime import timedelta
from functools import cached_property
from typing import Any

from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.dialects.streaming import ContainerStreams
from tollgate.adapters.lambda_runtime import Handle, RuntimeLoop
from tollgate.adapters.sagemaker.stream import SageMakerStream
from tollgate.api.gateway_routes import GatewayApi, RoutesOnDemand
from tollgate.api.http import read_call
from tollgate.api.openai.routes import OpenAIApi
from tollgate.api.outlet import Outlet, send
from tollgate.domain.errors import NotFoundError
from tollgate.services.requests.run_streaming import StreamingRun
from tollgate.settings import ServingSettings, aws_environment
from tollgate.wiring.gateway import GatewayParts

_KEPT_BACK_SECONDS = 2.0
"""Of the function's time, to settle after the last event and before Lambda ends the environment."""

_LONGEST_SILENCE_SECONDS = 240.0
"""API Gateway gives up on a regional API that says nothing for five minutes.
https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html"""


class StreamingSettings(ServingSettings):
    """Settings of this function."""

    streaming_seconds: int = 300


class StreamingParts(GatewayParts):
    """Answers that are seen as they come, and requests that last longer than API Gateway waits for others."""

    def __init__(self, settings: StreamingSettings) -> None:
        super().__init__(settings, time_limit_seconds=settings.streaming_seconds - _KEPT_BACK_SECONDS)
        # Whatever is held for a request outlives the request.
        self.lease = timedelta(seconds=settings.streaming_seconds + 30)

    @cached_property
    def live(self) -> StreamingRun:
        """Reads the model's answer while it is made."""
        backend = SageMakerStream(StreamingTransport(self.transport_config))
        return StreamingRun(
            backend=backend, forms=ContainerStreams(), clock=self.clock, providers=lambda: self.providers
        )


def build(settings: StreamingSettings) -> GatewayApi:
    """Wire the service; nothing is connected before the first call."""
    parts = StreamingParts(settings)
    parts.transport.prepare()
    openai = OpenAIApi(
        inference=parts.inference,
        idempotency=parts.idempotency,
        waiter=parts.waiter,
        wait_seconds=min(parts.time_limit_seconds, _LONGEST_SILENCE_SECONDS),
        limits=parts.limits,
    )
    return parts.gateway_api(openai=lambda: openai, feedback=_no_such_route, check_webhook=_no_such_route)


def _no_such_route(*_: object) -> RoutesOnDemand:
    """In place of what only the gateway function's routes need."""
    raise NotFoundError("The gateway function answers this route.")


def handle(event: dict[str, Any], service: GatewayApi, outlet: Outlet) -> None:
    """One API call, answered through the outlet."""
    send(service.respond(read_call(event)._replace(outlet=outlet)), outlet)


def _handler() -> Handle:
    service = build(StreamingSettings.load())
    return lambda event, stream: handle(event, service, stream)


if __name__ == "__main__":
    RuntimeLoop(aws_environment()["AWS_LAMBDA_RUNTIME_API"]).run(_handler)
