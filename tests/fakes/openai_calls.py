"""A gateway that OpenAI's clients call, and their calls."""

import json
from copy import replace
from typing import Any

from tests.fakes.gateway import FakeGateway
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.jobs.job import JobState, Payload, Usage

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}], "service_tier": "priority"}
COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "there hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
}
GENERATED = {"text": "there hello", "finish_reason": "stop"}


def openai_catalogue(gateway: FakeGateway, **changes: Any) -> Catalogue:
    """The example catalogue, with changes to its model; `dialect` and `supports` go to the deployment."""
    (model,) = gateway.catalogue.models.values()
    own = {name: changes.pop(name) for name in ("dialect", "supports") if name in changes}
    deployment = replace(model.deployments[0], **own)
    return replace(gateway.catalogue, models={"echo": replace(model, deployments=(deployment,), **changes)})


def openai_gateway(**changes: Any) -> FakeGateway:
    """A gateway whose model answers chats; `changes` as for `openai_catalogue`."""
    changes.setdefault("dialect", "tgi")
    gateway = FakeGateway()
    gateway = FakeGateway(catalogue=openai_catalogue(gateway, **changes))
    gateway.realtime.answer = json.dumps(COMPLETION).encode()
    return gateway


def chat(gateway: FakeGateway, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    """The answer to the example chat with changes."""
    return gateway.call("POST /v1/chat/completions", CHAT | changes, headers=headers or {})


def sent_by(gateway: FakeGateway) -> Any:
    """What the container was sent last."""
    return json.loads(gateway.realtime.calls[-1][1])


def finish_jobs(gateway: FakeGateway, **changes: Any) -> None:
    """End every open job the next time the gateway pauses."""

    def finish() -> None:
        for job in list(gateway.jobs.jobs.values()):
            ended: dict[str, Any] = {
                "state": JobState.COMPLETED,
                "output": Payload(GENERATED),
                "usage": Usage(2, 2),
            } | changes
            gateway.jobs.change(job._replace(**ended), expected=frozenset({JobState.QUEUED}))

    gateway.meanwhile = finish


def events_of(answer: Any) -> list[Any]:
    """The events of a stream, without the last line that says it is over."""
    lines = answer.body.removesuffix("data: [DONE]\n\n").split("\n\n")
    assert lines.pop() == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines]
