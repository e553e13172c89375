"""A model with two sizes, and answers in the form that its containers give."""

import json
from copy import replace
from decimal import Decimal
from typing import Any

from tests.fakes.examples import make_catalogue
from tollgate.domain.catalogue import Catalogue, Deployment, ModelKind, Tier, Timing
from tollgate.domain.choice.policy import ChoicePolicy
from tollgate.domain.trimming.policy import TrimmingPolicy

EASY = "What is the capital of France?"
HARD = (
    "A train leaves at 9:40 with 180 passengers. At each of 7 stops, one third of the passengers leave and twice as "
    "many as remain minus 12 board, but only if fewer than 300 are on the train; otherwise half leave. Tickets cost "
    "$3.50 for the first 4 stops and $2.25 afterwards, children pay 40% less. If every fifth passenger is a child, "
    "prove how much money is taken altogether, and explain step by step why the order of the stops matters."
)


def sized_catalogue(
    choice: ChoicePolicy | None = ChoicePolicy(),  # noqa: B008 -- frozen
    trimming: TrimmingPolicy | None = None,
    **changes: Any,
) -> Catalogue:
    """Model `chat` with deployments `little` (small) and `big` (large, eight times the price); and `echo`."""
    catalogue = make_catalogue()
    base = catalogue.models["echo"].deployments[0]
    little = _sized(base, "little", Tier.SMALL, Decimal("0.4"))
    big = _sized(base, "big", Tier.LARGE, Decimal("3.2"))
    model = replace(
        catalogue.models["echo"],
        name="chat",
        deployments=(little, big),
        choice=choice,
        trimming=trimming,
        kind=ModelKind.CHAT,
        **changes,
    )
    return replace(catalogue, models={**catalogue.models, "chat": model})


def _sized(base: Deployment, name: str, tier: Tier, usd_per_hour: Decimal) -> Deployment:
    return replace(
        base,
        name=name,
        model="chat",
        tier=tier,
        dialect="messages",
        timing=Timing(base_seconds=0.5, expected_output_tokens=50, seconds_per_output_token=0.01),
        roads={
            road_type: replace(road, target=f"tollgate-{name}-{road_type}", usd_per_hour=usd_per_hour)
            for road_type, road in base.roads.items()
        },
    )


def chat_answer(text: str, *, logprobs: Any = None, output_tokens: int = 5) -> bytes:
    """What a container of the messages dialect answers."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": logprobs}
    usage = {"prompt_tokens": 7, "completion_tokens": output_tokens}
    return json.dumps({"choices": [choice], "usage": usage}).encode()
