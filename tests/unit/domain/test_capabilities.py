"""Which deployments a request may go to, and what is said when there is none."""

from copy import replace

import pytest

from tests.fakes.examples import make_catalogue
from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.domain.catalogue import Model, ModelKind
from tollgate.domain.errors import InvalidRequestError, UnsupportedParameterError
from tollgate.domain.roads.capabilities import Needs, offering


def _model(*supports: str, kind: ModelKind = ModelKind.ANY) -> Model:
    """A model with one deployment for each text of capabilities."""
    (model,) = make_catalogue().models.values()
    deployments = tuple(
        replace(model.deployments[0], name=f"d{number}", supports=frozenset(words.split()))
        for number, words in enumerate(supports)
    )
    return replace(model, deployments=deployments, kind=kind)


def _needs(*parameters: str) -> Needs:
    return Needs(ModelKind.CHAT, {name: name for name in parameters})


def test_a_plain_request_may_go_anywhere() -> None:
    """The model is not even copied."""
    model = _model("", "seed")
    assert offering(model, _needs()) is model


def test_only_able_deployments_are_left() -> None:
    """All of the request's capabilities together."""
    left = offering(_model("seed", "seed tools", "tools"), _needs("seed", "tools"))
    assert [deployment.name for deployment in left.deployments] == ["d1"]


def test_the_first_unknown_parameter_is_named_with_what_there_is() -> None:
    """So that the caller can tell a typing error from a missing feature."""
    with pytest.raises(UnsupportedParameterError, match=r"'n'.*: seed, tools\.") as caught:
        offering(_model("seed", "tools"), _needs("seed", "n"))
    assert caught.value.param == "n"


def test_capabilities_of_different_deployments_do_not_add_up() -> None:
    """Each alone would do, both together have nowhere to go."""
    with pytest.raises(UnsupportedParameterError, match="'seed', 'tools' together"):
        offering(_model("seed", "tools"), _needs("seed", "tools"))


@pytest.mark.parametrize("kind", [ModelKind.EMBEDDING, ModelKind.CUSTOM])
def test_a_model_for_something_else_says_what_it_is(kind: ModelKind) -> None:
    """And which route to use."""
    with pytest.raises(InvalidRequestError, match="use /v1/") as caught:
        offering(_model("", kind=kind), _needs())
    assert caught.value.param == "model"


def test_the_stored_catalogue_keeps_kind_and_capabilities() -> None:
    """There and back."""
    catalogue = replace(make_catalogue(), models={"echo": _model("tools seed", kind=ModelKind.CHAT)})
    assert catalogue_from_document(catalogue_document(catalogue)) == catalogue


def test_a_catalogue_stored_before_there_were_kinds_is_still_read() -> None:
    """Its models take whatever they took then."""
    document = catalogue_document(make_catalogue())
    del document["models"]["echo"]["kind"]
    del document["models"]["echo"]["deployments"][0]["supports"]
    assert catalogue_from_document(document) == make_catalogue()
