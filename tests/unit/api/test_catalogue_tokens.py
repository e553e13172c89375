"""Deployments that are paid by the token, in the catalogue's file and as they are stored."""

import json
from decimal import Decimal

import pytest

from tests.fakes.token_house import BEDROCK, INSTANCES, TOKENS, token_catalogue
from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.domain.catalogue import InferenceType, ModelKind
from tollgate.domain.errors import CatalogueError
from tollgate.domain.places.standing import places_of
from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.providers.prices import BucketRates


def test_a_deployment_has_a_road_for_now_and_one_for_later() -> None:
    """Rates are those of the price book on the day of applying; low priority becomes a job of the second road."""
    model = token_catalogue(BEDROCK).models["chat"]
    [deployment] = model.deployments
    assert (model.kind, deployment.dialect, list(deployment.roads)) == (
        ModelKind.CHAT,
        "converse",
        [InferenceType.REALTIME, InferenceType.ASYNC],
    )
    backend = deployment.tokens
    assert backend is not None
    assert (backend.provider, backend.max_output_tokens) == (Provider.BEDROCK, 2048)
    assert backend.rates == BucketRates(Decimal("0.22"), Decimal("0.22"))
    assert deployment.roads[InferenceType.ASYNC].target == "us.meta.llama3-1-8b-instruct-v1:0"


def test_own_rates_stand_in_for_the_price_book() -> None:
    """For models that it does not know, and for prices that were agreed."""
    own = "\n".join(
        (
            TOKENS.replace("gpt-4o-mini", "in-house").replace("/v1", "/v1/"),
            'usd_per_million_input_tokens = "0.3"',
            'usd_per_million_output_tokens = "0.9"',
            'usd_per_million_cached_input_tokens = "0.1"',
            'api_key_parameter = "/tollgate/providers/example"',
        )
    )
    [deployment] = token_catalogue(own).models["chat"].deployments
    assert deployment.tokens == TokenBackend(
        Provider.OPENAI_HTTP,
        BucketRates(Decimal("0.3"), Decimal("0.9"), Decimal("0.1")),
        500,
        "https://api.example.com/v1",
        "/tollgate/providers/example",
    )


def test_the_stored_form_gives_the_same_catalogue() -> None:
    """Beside deployments on instances, whose stored form does not know of tokens."""
    catalogue = token_catalogue(TOKENS + INSTANCES + BEDROCK)
    document = json.loads(json.dumps(catalogue_document(catalogue)))
    assert catalogue_from_document(document) == catalogue
    stored = {d["name"]: d for d in document["models"]["chat"]["deployments"]}
    assert "tokens" not in stored["gpu"]["roads"]["async"]


def test_nothing_of_it_stands() -> None:
    """Whatever puts places to sleep, shuts them down or measures them finds only those of instances."""
    catalogue = token_catalogue(TOKENS + INSTANCES)
    assert {place.name for place in places_of(catalogue)} == {"chat-realtime", "chat-async"}


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ('model = "gpt-4o-mini"', 'model = "nobody-knows"', "No rates are known for 'nobody-knows'"),
        ("max_output_tokens = 500", "", "max_output_tokens"),
        ("max_output_tokens = 500", "max_output_tokens = 0", "max_output_tokens"),
        ("max_output_tokens = 500", 'max_output_tokens = 5\nusd_per_million_input_tokens = "1"', "not complete"),
        ("https://api.example.com/v1", "http://api.example.com/v1", "must begin with https"),
        ("https://api.example.com/v1", "http://127.0.0.1.example.com/v1", "must begin with https"),
        ("https://api.example.com/v1", "file:///etc/passwd", "must begin with https"),
        ("https://api.example.com/v1", "", "must begin with https"),
        ("https://api.example.com/v1", "https://api.example.com:70000/", "is not valid"),
        ("https://api.example.com/v1", "https://me:secret@api.example.com/v1", "no credentials"),
        ("https://api.example.com/v1", "https://secret@api.example.com/v1", "no credentials"),
        ("https://api.example.com/v1", "https://api.example.com/v1?key=secret", "no credentials"),
        ("https://api.example.com/v1", "https://api.example.com/a b", "without spaces"),
        ('provider = "openai_http"', 'provider = "bedrock"', "cannot have url"),
        ('provider = "openai_http"', 'provider = "other"', "provider"),
        ('tier = "small"', 'tier = "small"\ninstance_type = "ml.g5.xlarge"', "cannot have instance_type"),
        ('tier = "small"', 'tier = "small"\ndialect = "messages"\nrealtime = {endpoint = "e"}', "dialect, realtime"),
        ('tier = "small"', 'tier = "small"\nsleep = { idle_minutes = 30 }', "cannot have sleep"),
        (", expected_output_tokens = 100", "", "expected_output_tokens"),
        (
            "[models.chat.deployments.paid]",
            '[models.chat]\nkind = "embedding"\n[models.chat.deployments.paid]',
            "chats only",
        ),
        ("max_output_tokens = 500", 'max_output_tokens = 5\napi_key_parameter = "key"', "api_key_parameter"),
    ],
)
def test_mistakes_are_named_when_the_file_is_applied(was: str, becomes: str, said: str) -> None:
    """And never stored, so that no request meets them."""
    assert was in TOKENS
    with pytest.raises(CatalogueError, match=said) as caught:
        token_catalogue(TOKENS.replace(was, becomes))
    assert "secret" not in str(caught.value)


def test_an_api_on_this_machine_needs_no_certificate() -> None:
    """For local stacks."""
    local = TOKENS.replace("https://api.example.com/v1", "http://127.0.0.1:8000/v1")
    backend = token_catalogue(local).models["chat"].deployments[0].tokens
    assert backend is not None
    assert backend.url == "http://127.0.0.1:8000/v1"


def test_a_deployment_is_one_or_the_other() -> None:
    """Without the section, dialect and instance are required as ever."""
    with pytest.raises(CatalogueError, match="or the section 'tokens'"):
        token_catalogue(INSTANCES.replace('dialect = "messages"\n', ""))
