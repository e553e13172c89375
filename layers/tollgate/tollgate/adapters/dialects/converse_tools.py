"""OpenAI's tools as Converse's tool configuration.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html
"""

from typing import Any

from tollgate.adapters.dialects.converse_messages import tool_name
from tollgate.domain.errors import InvalidRequestError, UnsupportedParameterError

_NO_ARGUMENTS = {"type": "object", "properties": {}}


def tool_config(tools: Any, choice: Any, *, needed: bool) -> dict[str, Any] | None:
    """What the model may call; None where it may call nothing.

    Args:
        tools: OpenAI's list of functions.
        choice: OpenAI's `tool_choice`.
        needed: whether the conversation speaks of calls, which Bedrock takes only with their tools.

    Raises:
        InvalidRequestError: naming what Converse cannot say.
    """
    if not isinstance(tools, (list, tuple)):
        raise InvalidRequestError("'tools' must be a list.", param="tools")
    specs = [_spec(tool, f"tools[{number}]") for number, tool in enumerate(tools)]
    if needed and not specs:
        raise InvalidRequestError("Bedrock wants the 'tools' that the messages speak of.", param="tools")
    if choice == "none":
        if needed:
            raise UnsupportedParameterError(
                "Bedrock cannot be kept from calling tools once the messages speak of calls.", param="tool_choice"
            )
        return None
    if not specs:
        return None
    config: dict[str, Any] = {"tools": specs}
    # Not every model takes a choice, and the default is this one.
    if choice != "auto":
        config["toolChoice"] = _choice(choice)
    return config


def _spec(tool: Any, place: str) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict):
        raise InvalidRequestError(f"'{place}' must be a function: Bedrock has no other tools.", param=place)
    parameters = function.get("parameters") or _NO_ARGUMENTS
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"'{place}.function.parameters' must be a JSON schema.", param=place)
    spec: dict[str, Any] = {
        "name": tool_name(function.get("name"), f"{place}.function.name"),
        "inputSchema": {"json": parameters},
    }
    if function.get("description"):
        spec["description"] = str(function["description"])
    if function.get("strict") is True:
        spec["strict"] = True
    return {"toolSpec": spec}


def _choice(choice: Any) -> dict[str, Any]:
    if choice == "required":
        return {"any": {}}
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    if not isinstance(function, dict):
        raise InvalidRequestError(
            "'tool_choice' must be 'auto', 'none', 'required' or one function.", param="tool_choice"
        )
    return {"tool": {"name": tool_name(function.get("name"), "tool_choice.function.name")}}
