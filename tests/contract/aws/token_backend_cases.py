"""Calls for providers paid by the token, ours beside botocore's, for `test_wire_format`."""

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.fakes.clock import ManualClock
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.adapters.aws.transport import AwsTransport
from tollgate.adapters.dialects.converse import ConverseDialect
from tollgate.adapters.providers.bedrock_realtime import BedrockRealtime
from tollgate.adapters.ssm_parameters import SecretParameters
from tollgate.domain.catalogue import InferenceType, Road
from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.providers.prices import BucketRates

MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2c3d4e5f6"
PIXEL = b"\x89PNG\r\n\x1a\n pretends to be a picture"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4},
    "metrics": {"latencyMs": 7},
}

CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Wetter in Köln 😀?"}, {"type": "text", "text": " "}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"},
                }
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}},
                {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "noon"}]},
        {"role": "user", "content": "In one word."},
    ],
    "tools": [
        {"type": "function", "function": {"name": "weather", "description": "Of a city", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "clock", "strict": True}},
    ],
    "tool_choice": "required",
    "max_tokens": 500,
    "temperature": 0.5,
    "top_p": 1,
    "stop": "END",
    "response_format": {"type": "json_schema", "json_schema": {"name": "word", "schema": SCHEMA, "strict": True}},
}

CONVERSE: dict[str, Any] = {
    "system": [{"text": "Be brief."}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "Wetter in Köln 😀?"},
                {"image": {"format": "png", "source": {"bytes": PIXEL}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Köln"}}},
                {"toolUse": {"toolUseId": "c2", "name": "clock", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": "rain"}]}},
                {"toolResult": {"toolUseId": "c2", "content": [{"text": "noon"}]}},
                {"text": "In one word."},
            ],
        },
    ],
    "toolConfig": {
        "tools": [
            {"toolSpec": {"name": "weather", "description": "Of a city", "inputSchema": {"json": SCHEMA}}},
            {
                "toolSpec": {
                    "name": "clock",
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                    "strict": True,
                }
            },
        ],
        "toolChoice": {"any": {}},
    },
    "inferenceConfig": {"maxTokens": 500, "temperature": 0.5, "topP": 1, "stopSequences": ["END"]},
    "outputConfig": {
        "textFormat": {
            "type": "json_schema",
            "structure": {
                "jsonSchema": {"name": "word", "schema": json.dumps(SCHEMA, separators=(",", ":"))},
            },
        }
    },
}


def token_road(target: str, provider: Provider = Provider.BEDROCK, **settings: Any) -> Road:
    """A road to a provider that is paid by the token and may generate 500 of them."""
    rates = BucketRates(Decimal(1), Decimal(5))
    backend = TokenBackend(provider, rates, 500, **settings)
    return Road(InferenceType.REALTIME, target, "", None, tokens=backend)


def rendered() -> bytes:
    """The chat in Converse's words."""
    return ConverseDialect().render(CHAT, {}).body


def _converse(transport: AwsTransport, model: str, body: bytes) -> Any:
    return BedrockRealtime(transport).invoke(
        token_road(model), body, "application/json", timeout_seconds=5, trace="of the caller"
    )


def _secrets(transport: AwsTransport) -> SecretParameters:
    return SecretParameters(transport, ManualClock().monotonic, RecordingTelemetry())


CASES: dict[str, tuple[str, Callable[[AwsTransport], Any], Callable[[Any], Any]]] = {
    "converse": (
        "bedrock-runtime",
        lambda t: _converse(t, MODEL, rendered()),
        lambda b: b.converse(modelId=MODEL, **CONVERSE),
    ),
    "converse_profile": (
        "bedrock-runtime",
        lambda t: _converse(t, PROFILE, ConverseDialect().render("hello", {"max_tokens": 9}).body),
        lambda b: b.converse(
            modelId=PROFILE,
            messages=[{"role": "user", "content": [{"text": "hello"}]}],
            inferenceConfig={"maxTokens": 9},
        ),
    ),
    "get_parameter": (
        "ssm",
        lambda t: _secrets(t).get("/tollgate/keys/ä", timeout_seconds=5),
        lambda b: b.get_parameter(Name="/tollgate/keys/ä", WithDecryption=True),
    ),
}
ANSWERS = {
    "converse": json.dumps(ANSWER).encode(),
    "converse_profile": json.dumps(ANSWER).encode(),
    "get_parameter": b'{"Parameter":{"Name":"/tollgate/keys/k","Type":"SecureString","Value":"sk-1"}}',
}
SIGNING_NAMES = {"bedrock-runtime": "bedrock", "ssm": "ssm"}
