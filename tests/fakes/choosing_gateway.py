"""A gateway whose model comes in two sizes, and ways to ask it."""

from typing import Any

from tests.fakes.gateway import FakeGateway
from tests.fakes.sizes import EASY, chat_answer, sized_catalogue
from tollgate.api.http import Answer
from tollgate.domain.choice.policy import (
    ChoicePolicy,
)

LITTLE, BIG = "chat/little", "chat/big"


def choosing_gateway(choice: ChoicePolicy | None = ChoicePolicy(), **changes: Any) -> FakeGateway:  # noqa: B008 -- frozen
    gateway = FakeGateway(catalogue=sized_catalogue(choice, **changes))
    gateway.realtime.answer = chat_answer("Paris is the capital of France.")
    return gateway


def ask(gateway: FakeGateway, text: str = EASY, **wishes: Any) -> Answer:
    answer = gateway.infer({"model": "chat", "input": text, "priority": "high", **wishes})
    assert answer.status == 200, answer.body
    return answer


def served_by(answer: Answer) -> str:
    return answer.headers["x-tollgate-deployment"]


def reason_of(answer: Answer) -> str:
    return answer.headers["x-tollgate-route-reason"]
