"""Hugging Face's Text Generation Inference on SageMaker: chats in OpenAI's form, everything else as `inputs`.

Its `/invocations` tells the two apart by the body's fields.
https://huggingface.co/docs/text-generation-inference/reference/api_reference
"""

from collections.abc import Mapping
from typing import Any

from tollgate.adapters.dialects.inputs import InputsDialect
from tollgate.adapters.dialects.messages import MessagesDialect
from tollgate.domain.json_values import strict_json
from tollgate.ports.dialects import ParsedAnswer, RenderedRequest

_CHAT = MessagesDialect()
_INPUTS = InputsDialect()


class TgiDialect:
    """An object with `messages` is a chat; any other input goes under `inputs`."""

    name = "tgi"

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """The body for either form.

        Raises:
            InvalidRequestError: `messages` is not a list of messages.
        """
        chat = isinstance(payload, dict) and "messages" in payload
        return (_CHAT if chat else _INPUTS).render(payload, parameters)

    def parse(self, body: bytes) -> ParsedAnswer:
        """A chat completion flat, as the messages dialect gives it; any other JSON as it is.

        Raises:
            ModelFailedError: the body is not JSON, or half a chat completion.
        """
        try:
            answer = strict_json(body)
        except ValueError:
            answer = None
        chat = isinstance(answer, dict) and answer.get("object") == "chat.completion"
        return (_CHAT if chat else _INPUTS).parse(body)
