"""A request that gathered at a sleeping endpoint is answered at Bedrock, over HTTP, while the endpoint sleeps on."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from local.launch.layout import aws_environment
from tests.integration.capacity.nappers import Bedroom, Napper, until
from tests.integration.gateway.conftest import Client
from tests.local_stack import LocalStack
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import PlaceKind

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

_NIGHT_SECONDS = 150
_DEADLINE_SECONDS = 125
_TOKENS = (Decimal("0.25") * 3 + Decimal("1.25") * 3) / 1_000_000
"""Dollars of `one two three`, and of as many words out."""

_TOML = """
[models.nap-or-tokens]
default_priority = "medium"
[models.nap-or-tokens.deployments.main]
tier = "small"
dialect = "messages"
instance_type = "ml.m5.large"
timing = { base_seconds = 0.01, expected_output_tokens = 32 }
sleep = { idle_minutes = 0, gather = true, hand_on_to = "bedrock" }
async = { endpoint = "tollgate-nap-or-tokens", concurrency = 16, startup_seconds = 2 }
[models.nap-or-tokens.deployments.bedrock]
tier = "small"
timing = { base_seconds = 0.05, expected_output_tokens = 32 }
[models.nap-or-tokens.deployments.bedrock.tokens]
provider = "bedrock"
model = "tollgate-echo"
max_output_tokens = 200
usd_per_million_input_tokens = "0.25"
usd_per_million_output_tokens = "1.25"
"""


class Beside(Napper):
    """A place with a deployment on Bedrock beside it."""

    def toml(self) -> str:
        return _TOML


PLACE = Beside("nap-or-tokens", PlaceKind.ASYNC)


class Seen(NamedTuple):
    """What came of the request: its answer, its job at the end, and how the place stood before and after."""

    status: int
    first: Any
    job: Any
    before: Any
    after: Any


@pytest.fixture(scope="module")
def bedroom(local_stack: LocalStack) -> Iterator[Bedroom]:
    """The place, up and idle, and in the catalogue."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_environment(local_stack.layout).items():
            patch.setenv(name, value)
        made = Bedroom(local_stack, (PLACE,))
        made.furnish()
        try:
            yield made
        finally:
            made.clear()


@pytest.fixture(scope="module")
def seen(bedroom: Bedroom, local_stack: LocalStack) -> Seen:
    """From falling asleep to the answer."""
    client = Client(local_stack, local_stack.key)
    bedroom.idle_since_an_hour([PLACE])
    bedroom.apply_catalogue()
    with bedroom.looked_at_often():
        until(lambda: bedroom.all_are(Phase.ASLEEP, [PLACE]), _NIGHT_SECONDS, pause=2)
        before = json.loads(bedroom.standing(PLACE))
        reply = client.infer(PLACE.name, "one two three", deadline_seconds=_DEADLINE_SECONDS)
        job = client.ended(reply.body["id"], within=_NIGHT_SECONDS)
    return Seen(reply.status, reply.body, job, before, json.loads(bedroom.standing(PLACE)))


def test_it_is_accepted_for_the_endpoint_and_answered_at_bedrock(seen: Seen) -> None:
    """The same id, the answer of Bedrock's echo, and a reason that says which way it went."""
    assert seen.status == 202
    assert seen.first["deployment"] == "nap-or-tokens/main"
    assert seen.job["status"] == "completed", seen.job
    assert seen.job["output"] == {"text": "three two one", "finish_reason": "stop"}
    assert seen.job["deployment"] == "nap-or-tokens/bedrock"
    assert seen.job["route_reason"].endswith(";handed_on=bedrock")


def test_it_is_charged_by_the_token(seen: Seen) -> None:
    """On top of the tokens come the gateway's own parts, not an instance's time."""
    cost = Decimal(seen.job["cost"]["effective_cost_usd"])
    assert _TOKENS < cost < _TOKENS + Decimal("0.0001")
    assert seen.job["usage"]["total_tokens"] == 6


def test_the_endpoint_sleeps_on(seen: Seen, bedroom: Bedroom) -> None:
    """Nobody woke it: no instance, and no wake in its record."""
    assert seen.before["status"] == seen.after["status"] == "down"
    assert [variant["desired"] for variant in seen.after["variants"]] == [0]
    record = bedroom.records.get(PLACE.place)
    assert record is not None
    assert record.phase is Phase.ASLEEP
    assert Phase.WAKING not in {line.phase for line in record.history}
