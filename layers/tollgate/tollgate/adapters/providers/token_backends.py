"""The adapters of providers that are paid by the token, each imported and made when the first road asks for it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.domain.providers.backend import Provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.adapters.aws.streaming import StreamingTransport
    from tollgate.adapters.aws.transport import AwsTransport
    from tollgate.adapters.providers.openai_http_calls import ProviderCalls
    from tollgate.adapters.ssm_parameters import SecretParameters
    from tollgate.domain.catalogue import Road
    from tollgate.ports.backends import RealtimeBackend
    from tollgate.ports.streams import StreamForms, StreamingBackend
    from tollgate.ports.system import Telemetry


class ProviderBackends:
    """See `TokenBackends`.

    Args:
        transport: calls AWS.
        streaming: the same for answers that are read as they come; asked for only by functions that stream.
        monotonic: seconds.
        telemetry: tells the operator what is no caller's business.
    """

    def __init__(
        self,
        transport: AwsTransport,
        *,
        streaming: Callable[[], StreamingTransport],
        monotonic: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._transport = transport
        self._streaming_transport = streaming
        self._monotonic = monotonic
        self._telemetry = telemetry

    def realtime(self, road: Road) -> RealtimeBackend:
        """See `TokenBackends`."""
        return self._bedrock if _on_bedrock(road) else self._openai_http

    def streaming(self, road: Road) -> StreamingBackend:
        """See `TokenBackends`."""
        return self._bedrock_stream if _on_bedrock(road) else self._openai_http_stream

    def forms(self, road: Road) -> StreamForms:
        """See `TokenBackends`."""
        return self._bedrock_forms if _on_bedrock(road) else self._openai_http_forms

    @cached_property
    def _bedrock(self) -> RealtimeBackend:
        from tollgate.adapters.providers.bedrock_realtime import BedrockRealtime  # noqa: PLC0415 -- see the module

        return BedrockRealtime(self._transport)

    @cached_property
    def _bedrock_stream(self) -> StreamingBackend:
        from tollgate.adapters.providers.bedrock_stream import BedrockStream  # noqa: PLC0415 -- see the module

        return BedrockStream(self._streaming_transport())

    @cached_property
    def _bedrock_forms(self) -> StreamForms:
        from tollgate.adapters.providers.bedrock_stream import ConverseStreams  # noqa: PLC0415 -- see the module

        return ConverseStreams()

    @cached_property
    def _openai_http(self) -> RealtimeBackend:
        from tollgate.adapters.providers.openai_http import OpenAIHttpRealtime  # noqa: PLC0415 -- see the module

        return OpenAIHttpRealtime(self._calls)

    @cached_property
    def _openai_http_stream(self) -> StreamingBackend:
        from tollgate.adapters.providers.openai_http import OpenAIHttpStream  # noqa: PLC0415 -- see the module

        return OpenAIHttpStream(self._calls)

    @cached_property
    def _openai_http_forms(self) -> StreamForms:
        from tollgate.adapters.dialects.streaming import ContainerStreams  # noqa: PLC0415 -- see the module

        return ContainerStreams(self._keys.known)

    @cached_property
    def _calls(self) -> ProviderCalls:
        from tollgate.adapters.providers.openai_http_calls import ProviderCalls  # noqa: PLC0415 -- see the module

        return ProviderCalls(self._keys, self._transport.config.ca_file)

    @cached_property
    def _keys(self) -> SecretParameters:
        from tollgate.adapters.ssm_parameters import SecretParameters  # noqa: PLC0415 -- see the module

        return SecretParameters(self._transport, self._monotonic, self._telemetry)


def _on_bedrock(road: Road) -> bool:
    return road.tokens is not None and road.tokens.provider is Provider.BEDROCK
