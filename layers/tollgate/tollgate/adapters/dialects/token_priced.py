"""The dialect of a deployment that is paid by the token: its provider's own, for chats whose cost is bounded."""

from collections.abc import Mapping
from typing import Any

from tollgate.domain.providers.backend import MostTokens, TokenBackend
from tollgate.domain.providers.charges import most_input_tokens
from tollgate.domain.providers.requests import bounded_chat
from tollgate.ports.dialects import Dialect, ParsedAnswer, RenderedRequest


class TokenPricedDialect:
    """Says of every body how many tokens it cannot exceed."""

    def __init__(self, backend: TokenBackend, provider: Dialect) -> None:
        self._backend = backend
        self._provider = provider
        self.name = provider.name

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """The provider's body, with the limit of output that it must keep to.

        Raises:
            InvalidRequestError: the input is no chat of texts.
            UnsupportedParameterError: a parameter might cost something that is not reserved.
        """
        chat = bounded_chat(payload, parameters, self._backend.max_output_tokens)
        rendered = self._provider.render({"messages": list(chat.messages)}, chat.parameters)
        most = MostTokens(most_input_tokens(rendered.body, schemas=chat.schemas), chat.most_output)
        return rendered._replace(most=most)

    def parse(self, body: bytes) -> ParsedAnswer:
        """See the provider's dialect."""
        return self._provider.parse(body)
