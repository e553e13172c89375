"""Providers that speak OpenAI's language, in the ports that SageMaker's real-time endpoints have."""

import time
from collections.abc import Generator

from tollgate.adapters.providers.openai_http_calls import ProviderCalls
from tollgate.domain.catalogue import Road
from tollgate.ports.backends import ModelAnswer


class OpenAIHttpRealtime:
    """Calls an API and waits for the whole answer."""

    def __init__(self, calls: ProviderCalls) -> None:
        self._calls = calls

    def invoke(
        self,
        road: Road,
        body: bytes,
        content_type: str,  # noqa: ARG002 -- the API takes JSON only
        *,
        timeout_seconds: float,
        trace: str,  # noqa: ARG002 -- nothing of the caller's goes to a third party
    ) -> ModelAnswer:
        """See `RealtimeBackend`."""
        began = time.monotonic()
        answer = b"".join(self._calls.open(road, body, timeout_seconds=timeout_seconds))
        return ModelAnswer(answer, "application/json", time.monotonic() - began)


class OpenAIHttpStream:
    """Calls an API and hands its answer on as it comes."""

    def __init__(self, calls: ProviderCalls) -> None:
        self._calls = calls

    def open(
        self,
        road: Road,
        body: bytes,
        content_type: str,  # noqa: ARG002 -- see `OpenAIHttpRealtime`
        *,
        timeout_seconds: float,
        trace: str,  # noqa: ARG002 -- see `OpenAIHttpRealtime`
    ) -> Generator[bytes]:
        """See `StreamingBackend`."""
        return self._calls.open(road, body, timeout_seconds=timeout_seconds)
