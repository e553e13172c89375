"""Which size and variant a conversation is served by, from its first turn to its last."""

from copy import replace
from typing import Any

import pytest

from tests.fakes.choosing_gateway import BIG, LITTLE, ask, choosing_gateway, reason_of, served_by
from tests.fakes.gateway import FakeGateway
from tests.fakes.sizes import EASY, HARD, sized_catalogue
from tollgate.domain.catalogue import Catalogue, Deployment
from tollgate.domain.choice.policy import DeploymentRole

LONG_AND_EASY = " ".join([EASY] * 8)


def _said(*texts: str, system: str = "") -> list[dict[str, str]]:
    """A conversation in which user and assistant take turns."""
    turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _told(gateway: FakeGateway, talk: list[dict[str, str]]) -> str:
    answer = gateway.infer({"model": "chat", "input": talk, "priority": "high"})
    assert answer.status == 200, answer.body
    return served_by(answer)


def _with(catalogue: Catalogue, *deployments: Deployment) -> Catalogue:
    model = replace(catalogue.models["chat"], deployments=deployments)
    return replace(catalogue, models={**catalogue.models, "chat": model})


def test_one_system_prompt_does_not_make_one_conversation() -> None:
    """All requests of an application begin with it; that one of them needed the large size says nothing of others."""
    gateway = choosing_gateway()
    clerk = "You are a clerk of the toll office."
    assert _told(gateway, _said(EASY, "Paris.", HARD, system=clerk)) == BIG
    assert _told(gateway, _said(EASY, "Paris.", HARD, "$1,204.50.", EASY, system=clerk)) == BIG
    assert _told(gateway, _said("Name a river.", "Elbe.", EASY, system=clerk)) == LITTLE


@pytest.mark.parametrize(
    ("turns", "served"),
    [
        ((HARD, "$5.", "Name a river.", "Elbe.", LONG_AND_EASY), BIG),
        (("Name a river.", "Elbe.", HARD, "$5.", LONG_AND_EASY), BIG),
        ((EASY, HARD, LONG_AND_EASY), LITTLE),
        ((EASY, "Paris.", "", "Pardon?", LONG_AND_EASY), LITTLE),
    ],
)
def test_the_users_earlier_turns_are_weighed_again(turns: tuple[str, ...], served: str) -> None:
    """The first and the one before the last, where nothing is remembered; what the model said asks for nothing."""
    assert _told(choosing_gateway(), _said(*turns)) == served


def _ask_variants(gateway: FakeGateway, conversation: int, turn: int, **wishes: Any) -> str:
    body = {"model": "chat", "input": f"{EASY} {turn}", "priority": "high", "conversation_id": f"c{conversation}"}
    return served_by(gateway.infer({**body, **wishes}, request_id=f"r{conversation}-{turn}"))


def test_a_conversation_stays_with_its_variant() -> None:
    """Champion and challenger share the conversations, not the turns of one."""
    catalogue = sized_catalogue()
    little, big = catalogue.models["chat"].deployments
    rival = replace(little, name="next", role=DeploymentRole.CHALLENGER)
    gateway = choosing_gateway()
    gateway.catalogues.catalogue = _with(catalogue, little, rival, big)
    served = [{_ask_variants(gateway, number, turn) for turn in range(5)} for number in range(12)]
    assert all(len(each) == 1 for each in served)
    assert set.union(*served) == {LITTLE, "chat/next"}


def test_a_new_catalogue_is_chosen_from_at_once() -> None:
    """What was made ready for the one before does not outlive it."""
    gateway = choosing_gateway()
    assert served_by(ask(gateway)) == LITTLE
    catalogue = gateway.catalogues.catalogue
    little, big = catalogue.models["chat"].deployments
    gateway.catalogues.catalogue = _with(catalogue, replace(little, weight=0), big)
    only = ask(gateway)
    assert served_by(only) == BIG
    assert "tier=" not in reason_of(only)  # where there is one size, none was chosen
