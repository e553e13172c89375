"""Promoting a variant: one new version, and the way back."""

from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.sizes import sized_catalogue
from tollgate.domain.catalogue import Catalogue, Deployment, InferenceType, Tier
from tollgate.domain.choice.policy import ChoicePolicy, DeploymentRole, ExtraSpend
from tollgate.domain.choice.promotion import promoted
from tollgate.domain.errors import CatalogueError, UnknownModelError


def _catalogue(role: DeploymentRole, weight: int) -> Catalogue:
    shadow = ExtraSpend(0.1, Decimal(1)) if role is DeploymentRole.SHADOW else None
    catalogue = sized_catalogue(ChoicePolicy(shadow=shadow))
    model = catalogue.models["chat"]
    little, big = model.deployments
    other = replace(little, name="next", role=role, weight=weight)
    deployments = (replace(little, weight=9), other, big)
    return replace(catalogue, models={**catalogue.models, "chat": replace(model, deployments=deployments)})


def _served(catalogue: Catalogue) -> dict[str, Deployment]:
    return {d.name: d for d in catalogue.models["chat"].deployments}


@pytest.mark.parametrize(("role", "weight"), [(DeploymentRole.CHALLENGER, 1), (DeploymentRole.SHADOW, 0)])
def test_it_takes_the_traffic_of_its_tier(role: DeploymentRole, weight: int) -> None:
    """The other becomes a challenger without traffic; other tiers and models stay as they are."""
    before = _catalogue(role, weight)
    after = promoted(before, "chat", "next", version=8)
    served = _served(after)
    assert (served["next"].weight, served["next"].role) == (9 + weight, None)
    assert (served["little"].weight, served["little"].role) == (0, DeploymentRole.CHALLENGER)
    assert served["big"] == _served(before)["big"]
    assert (after.version, after.models["echo"]) == (8, before.models["echo"])
    assert after.models["chat"].choice == ChoicePolicy()


def test_promoting_the_other_again_is_the_way_back() -> None:
    """With the whole weight."""
    there = promoted(_catalogue(DeploymentRole.CHALLENGER, 1), "chat", "next", version=2)
    back = _served(promoted(there, "chat", "little", version=3))
    assert (back["little"].weight, back["little"].role, back["next"].weight) == (10, None, 0)


def test_one_of_several_that_serve_can_be_promoted() -> None:
    """Whether it had a role or not; and one that is tried out may be alone in its tier."""
    catalogue = _catalogue(DeploymentRole.CHALLENGER, 1)
    served = _served(promoted(catalogue, "chat", "little", version=2))
    assert (served["little"].weight, served["next"].weight) == (10, 0)
    model = catalogue.models["chat"]
    alone = replace(model, deployments=tuple(d for d in model.deployments if d.name != "little"))
    catalogue = replace(catalogue, models={"chat": alone})
    assert _served(promoted(catalogue, "chat", "next", version=2))["next"].role is None


def test_what_cannot_be_promoted() -> None:
    """Says why."""
    catalogue = _catalogue(DeploymentRole.CHALLENGER, 1)
    with pytest.raises(CatalogueError, match="no deployment 'nope'"):
        promoted(catalogue, "chat", "nope", version=2)
    with pytest.raises(CatalogueError, match="already"):
        promoted(catalogue, "chat", "big", version=2)
    with pytest.raises(UnknownModelError):
        promoted(catalogue, "nope", "next", version=2)
    model = catalogue.models["chat"]
    lame = tuple(
        replace(d, roads={InferenceType.ASYNC: d.roads[InferenceType.ASYNC]}) if d.name == "next" else d
        for d in model.deployments
    )
    without = replace(catalogue, models={"chat": replace(model, deployments=lame)})
    with pytest.raises(CatalogueError, match="batch, realtime"):
        promoted(without, "chat", "next", version=2)
    assert _served(catalogue)["next"].tier is Tier.SMALL
