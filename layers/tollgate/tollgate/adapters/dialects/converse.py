"""Amazon Bedrock's Converse API: one form of chat for all of its models.

What a caller says in OpenAI's words becomes a Converse request, and the answer a chat completion. What Converse cannot
say is refused with the name of the field, never left out: an answer to another question would be charged all the same.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from collections.abc import Mapping
from typing import Any

from tollgate.adapters.dialects.converse_answer import chat_completion
from tollgate.adapters.dialects.converse_messages import conversation, has_tool_blocks
from tollgate.adapters.dialects.converse_tools import tool_config
from tollgate.adapters.dialects.messages import MessagesDialect, require_one_input
from tollgate.domain.errors import InvalidRequestError, ModelFailedError, UnsupportedParameterError
from tollgate.domain.json_values import compact_json, escaped_json, strict_json
from tollgate.ports.dialects import ParsedAnswer, RenderedRequest

_CHAT = MessagesDialect()
_TOKEN_LIMITS = ("max_completion_tokens", "max_tokens", "max_new_tokens")
_WITHOUT_MEANING = frozenset({"model", "stream", "stream_options", "details", "return_full_text", "user"})
"""Said elsewhere, of no use to Bedrock, or asked of containers for the sake of what Converse always answers."""

_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
}
_UP_TO_ONE = {"temperature": "temperature", "top_p": "topP"}
_EXPECTED = "Send a string, a list of messages, or an object with 'messages'."


class ConverseDialect:
    """Chats, and plain texts as one message of a user."""

    name = "converse"

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """A string, a list of messages, or an object with `messages` or with a text under `inputs` or `prompt`.

        A deployment's own limit of output tokens is among the parameters; see `TokenPricedDialect`.

        Raises:
            InvalidRequestError: the input is none of these, or says what Converse cannot.
        """
        require_one_input(parameters)
        asked = {**_chat_body(payload), **parameters}
        asked = {
            name: value
            for name, value in asked.items()
            if value is not None and name not in _WITHOUT_MEANING and value not in _NOTHING.get(name, ())
        }
        system, turns = conversation(asked.pop("messages", None))
        document: dict[str, Any] = {"messages": turns}
        if system:
            document["system"] = system
        if config := _inference_config(asked):
            document["inferenceConfig"] = config
        tools = tool_config(asked.pop("tools", ()), asked.pop("tool_choice", "auto"), needed=has_tool_blocks(turns))
        if tools:
            document["toolConfig"] = tools
        if "response_format" in asked:
            document["outputConfig"] = _output_config(asked.pop("response_format"))
        for name in asked:
            raise UnsupportedParameterError(f"Bedrock's Converse API has no '{name}'.", param=name)
        return RenderedRequest(escaped_json(document), "application/json")

    def parse(self, body: bytes) -> ParsedAnswer:
        """As the messages dialect; a streamed answer comes as a chat completion already.

        Raises:
            ModelFailedError: the body is no answer of Converse.
        """
        try:
            answer = strict_json(body)
            if "choices" in answer:
                return _CHAT.parse(body)
            completion = chat_completion(answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFailedError("Bedrock did not answer as Converse does.", original_status=502) from error
        return _CHAT.parse(escaped_json(completion))


def _chat_body(payload: Any) -> dict[str, Any]:
    match payload:
        case list():
            return {"messages": payload}
        case dict() if "messages" in payload:
            return dict(payload)
        case dict():
            body = dict(payload)
            text = body.pop("inputs", None) or body.pop("prompt", None)
        case _:
            body, text = {}, payload
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequestError(f"This model takes chat messages. {_EXPECTED}", param="input")
    return {**body, "messages": [{"role": "user", "content": text}]}


def _inference_config(asked: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    limits = [(name, asked.pop(name)) for name in _TOKEN_LIMITS if name in asked]
    for name, limit in limits:
        if type(limit) is not int or limit < 1:
            raise InvalidRequestError(f"Invalid '{name}': a whole number from 1.", param=name)
        config["maxTokens"] = min(limit, config.get("maxTokens", limit))
    for name, theirs in _UP_TO_ONE.items():
        if name in asked:
            value = asked.pop(name)
            if type(value) not in {int, float} or not 0 <= value <= 1:
                raise InvalidRequestError(f"Invalid '{name}': Bedrock takes numbers from 0 to 1.", param=name)
            config[theirs] = value
    stop = asked.pop("stop", ())
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, (list, tuple)) or not all(isinstance(text, str) and text for text in stops):
        raise InvalidRequestError("Invalid 'stop': a text or a list of texts, none of them empty.", param="stop")
    if stops:
        config["stopSequences"] = list(stops)
    return config


def _output_config(wanted: Any) -> dict[str, Any]:
    """OpenAI's structured outputs; Converse takes the schema as a text."""
    given = wanted.get("json_schema") if isinstance(wanted, dict) and wanted.get("type") == "json_schema" else None
    if not isinstance(given, dict) or not isinstance(given.get("schema"), dict):
        raise InvalidRequestError(
            "Bedrock's Converse API takes 'response_format' only of type 'json_schema', with a schema.",
            param="response_format",
        )
    schema = {"schema": compact_json(given["schema"])}
    schema |= {name: given[name] for name in ("name", "description") if given.get(name)}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
