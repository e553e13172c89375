"""Chats on Amazon Bedrock."""

import time

from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.transport import AwsTransport
from tollgate.adapters.providers.bedrock_call import bedrock_errors, converse_call
from tollgate.domain.catalogue import Road
from tollgate.ports.backends import ModelAnswer


class BedrockRealtime:
    """Calls Converse, at most once unless Bedrock certainly did not take the call."""

    def __init__(self, transport: AwsTransport) -> None:
        self._transport = transport

    def invoke(
        self,
        road: Road,
        body: bytes,
        content_type: str,  # noqa: ARG002 -- Converse takes JSON only
        *,
        timeout_seconds: float,
        trace: str,  # noqa: ARG002 -- Bedrock passes none on
    ) -> ModelAnswer:
        """See `RealtimeBackend`."""
        call = converse_call(
            road,
            body,
            operation="Converse",
            path="converse",
            retry=RetryPolicy.UNPROCESSED,
            timeout_seconds=timeout_seconds,
        )
        began = time.monotonic()
        with bedrock_errors(road.target):
            answer = self._transport.send(call)
        return ModelAnswer(answer.body, "application/json", time.monotonic() - began)
