"""Chats on SageMaker's own `/openai/v1/chat/completions`, which hands them to the container as they are.

The route takes nothing but chats. The same body goes to `/invocations` on the other roads, where the containers that
serve this route (vLLM, SGLang) take it as well.
https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints-openai-compatible.html
"""

from collections.abc import Mapping
from typing import Any

from tollgate.adapters.dialects.messages import MessagesDialect
from tollgate.domain.errors import InvalidRequestError
from tollgate.ports.dialects import ParsedAnswer, RenderedRequest

_CHAT = MessagesDialect()


class SageMakerOpenAIDialect:
    """The messages dialect without its way around the chat template, and with the field `model`."""

    name = "sagemaker-openai"

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """The body for a string, a list of messages, or an object with `messages`.

        Raises:
            InvalidRequestError: the input is none of these.
        """
        if isinstance(payload, dict) and "messages" not in payload:
            raise InvalidRequestError("This model answers chats only; send 'messages'.", param="input")
        # The endpoint is in the URL. OpenAI's form wants a model, and containers take an empty one for their own.
        return _CHAT.render(payload, {"model": "", **parameters})

    def parse(self, body: bytes) -> ParsedAnswer:
        """See `MessagesDialect.parse`."""
        return _CHAT.parse(body)
