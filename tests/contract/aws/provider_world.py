"""A provider that speaks OpenAI's language, and the Parameter Store with its key."""

import json
from typing import Any

from tests.contract.aws.token_backend_cases import token_road
from tests.fakes.clock import ManualClock
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.providers.token_backends import ProviderBackends
from tollgate.domain.catalogue import Road
from tollgate.domain.providers.backend import Provider

KEY, RENEWED = "sk-first", "sk-second"
PARAMETER = "/tollgate/providers/example"
CHAT = {"messages": [{"role": "user", "content": "hello"}]}
COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "there"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 8},
    },
}


class ProviderWorld:
    """A provider and a Parameter Store, both played by the recorder."""

    def __init__(self, recorder: Any, answer: Any, transport: Any) -> None:
        self.keys = [KEY]
        self.script: list[Any] = []
        self.clock = ManualClock()
        self.telemetry = RecordingTelemetry()
        self.reads = 0
        self._recorder, self._answer = recorder, answer
        recorder.otherwise = self._respond
        self.backends = ProviderBackends(
            transport,
            streaming=lambda: StreamingTransport(transport.config),
            monotonic=self.clock.monotonic,
            telemetry=self.telemetry,
        )
        self.road = token_road("gpt-x", Provider.OPENAI_HTTP, url=f"{recorder.url}/v1", api_key_parameter=PARAMETER)

    def _respond(self, request: Any) -> Any:
        if "x-amz-target" in request.headers:
            self.reads += 1
            value = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
            return self._answer(body=json.dumps({"Parameter": {"Value": value}}).encode())
        return self.script.pop(0) if self.script else self._answer(body=json.dumps(COMPLETION).encode())

    def calls(self) -> list[Any]:
        """What the provider was asked."""
        return [request for request in self._recorder.requests if "x-amz-target" not in request.headers]

    def invoke(self, body: Any = CHAT, road: Road | None = None, timeout: float = 5.0) -> bytes:
        road = road or self.road
        return (
            self.backends.realtime(road)
            .invoke(road, json.dumps(body).encode(), "application/json", timeout_seconds=timeout, trace="00-caller")
            .body
        )

    def stream(self, body: Any = CHAT) -> Any:
        asked = self.backends.forms(self.road).ask(json.dumps(body).encode())
        return self.backends.streaming(self.road).open(
            self.road, asked, "application/json", timeout_seconds=5, trace="00-caller"
        )
