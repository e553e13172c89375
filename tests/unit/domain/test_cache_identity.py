"""Keys of requests: nobody shares one unless tenant, namespace, model and question are the same."""

from copy import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.fakes.examples import make_catalogue
from tests.fakes.token_house import TOKENS, token_catalogue
from tollgate.domain.cache.control import CacheControl, CacheMode, control_of
from tollgate.domain.cache.identity import request_identity, request_key, scope_name
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.providers.backend import Provider

DEPLOYMENT = make_catalogue().models["echo"].deployments[0]
NAMES = some.text(min_size=1, max_size=6)
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers(-3, 3) | some.text(max_size=4),
    lambda inner: some.lists(inner, max_size=2) | some.dictionaries(some.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
INPUTS = VALUES | some.fixed_dictionaries({"inputs": VALUES}) | some.fixed_dictionaries({"messages": VALUES})


def _key(tenant: str, namespace: str, shared: frozenset[str], value: Any, parameters: Any) -> str:
    policy, control = CachePolicy(shared_namespaces=shared), CacheControl(namespace=namespace)
    return request_key(request_identity(tenant, control, policy, DEPLOYMENT), value, parameters)


@given(
    one=NAMES,
    other=NAMES,
    first=some.text(max_size=4),
    second=some.text(max_size=4),
    shared=some.frozensets(NAMES, max_size=2),
    value=INPUTS,
)
def test_two_tenants_share_a_key_only_in_a_namespace_declared_as_shared(
    *, one: str, other: str, first: str, second: str, shared: frozenset[str], value: Any
) -> None:
    """By construction: whatever tenants and namespaces are called, and whatever is asked."""
    same = _key(one, first, shared, value, {}) == _key(other, second, shared, value, {})
    both_shared = first == second and first in shared and first != ""
    assert same == (both_shared or (one == other and first == second))


@given(INPUTS, INPUTS, some.dictionaries(some.sampled_from("ab"), VALUES, max_size=2))
def test_different_questions_have_different_keys(one: Any, other: Any, parameters: dict[str, Any]) -> None:
    """Input and parameters cannot be mistaken for each other, nor one form of input for another."""
    same = _key("t", "", frozenset(), one, parameters) == _key("t", "", frozenset(), other, parameters)
    assert same == (_typed(one) == _typed(other))


def test_everything_that_is_sent_is_in_the_key() -> None:
    """What stands beside the messages or the inputs too, wherever it stands."""
    asked = [
        ({"messages": ["hi"]}, {}),
        ({"messages": ["hi"], "tools": ["a"]}, {}),
        ({"messages": ["hi"], "tools": ["b"]}, {}),
        ({"messages": ["hi"]}, {"tools": ["a"]}),
        ({"inputs": "hi"}, {}),
        ({"inputs": "hi", "tools": ["a"]}, {}),
        ({"inputs": "hi", "tools": ["b"]}, {}),
        ({"inputs": "hi"}, {"tools": ["a"]}),
        ("hi", {}),
    ]
    assert len({_key("t", "", frozenset(), value, parameters) for value, parameters in asked}) == len(asked)


def test_another_provider_is_another_answerer() -> None:
    """Under the same name, and at the same provider under another address."""
    road = token_catalogue(TOKENS).models["chat"].deployments[0].roads[InferenceType.REALTIME]
    assert road.tokens is not None
    deployments = [
        replace(DEPLOYMENT, roads={InferenceType.REALTIME: replace(road, tokens=tokens)})
        for tokens in (
            None,
            road.tokens,
            replace(road.tokens, url="https://b.example/v1"),
            replace(road.tokens, provider=Provider.BEDROCK),
        )
    ]
    keys = {
        request_key(request_identity("t", CacheControl(), CachePolicy(), deployment), "hi", {})
        for deployment in deployments
    }
    assert len(keys) == 4


def _typed(value: Any) -> Any:
    """The value with its types, as 1 and true are equal to Python and not to a model."""
    if isinstance(value, dict):
        return {name: _typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return (type(value).__name__, value)


def test_the_scope_of_forgetting_is_never_ambiguous() -> None:
    """A tenant that calls itself like a shared namespace is still a tenant."""
    policy = CachePolicy(shared_namespaces=frozenset({"faq"}))
    names = {
        scope_name(request_identity(tenant, CacheControl(namespace=namespace), policy, DEPLOYMENT).scope)
        for tenant, namespace in (("faq", ""), ("shared#faq", ""), ("t", "faq"), ("t", ""))
    }
    assert names == {"private#faq", "private#shared#faq", "shared#faq", "private#t"}


def test_another_endpoint_or_version_is_another_key() -> None:
    """What would answer is part of the key; what it costs is not."""
    control, policy = CacheControl(), CachePolicy()
    roads = {road: replace(entry, target="other") for road, entry in DEPLOYMENT.roads.items()}
    dearer = {road: replace(entry, usd_per_hour=None) for road, entry in DEPLOYMENT.roads.items()}
    plain = request_identity("t", control, policy, DEPLOYMENT)
    assert request_identity("t", control, policy, replace(DEPLOYMENT, roads=roads)) != plain
    assert request_identity("t", control, replace(policy, version="2"), DEPLOYMENT) != plain
    assert request_identity("t", control, policy, replace(DEPLOYMENT, roads=dearer)) == plain


@given(some.text(max_size=30), some.sampled_from([None, *CacheMode]))
def test_a_header_only_ever_forbids(header: str, mode: CacheMode | None) -> None:
    """No text of a client makes a request read or keep more than its body allows, and none is an error."""
    wishes = None if mode is None else {"mode": mode.value}
    plain, both = control_of(None, wishes), control_of(header, wishes)
    assert both.read <= plain.read
    assert both.store <= plain.store
    assert both.only_if_cached >= plain.only_if_cached


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("max-age=0000000000000000060", 60),
        ("max-age=99999999999999999999999", 2**31),
        ("max-age=60, max-age=5", 5),
        ("max-age=5, max-age=60", 5),
        ("max-age=-1", 0),
        ("max-age=\u0665", 0),
    ],
)
def test_an_age_of_any_length_is_understood(header: str, seconds: int) -> None:
    """A long time is no error, RFC 9111, 1.2.2; of two ages the lower one counts, and what is no number is none."""
    control = control_of(header, None)
    assert (control.max_age_seconds, control.read) == (seconds, seconds > 0)


@pytest.mark.parametrize(
    ("header", "stale"),
    [
        ("no-transform", None),
        ("max-age=60", 0),
        ("max-age=60, max-stale=5", 5),
        ("max-stale=5, max-age=60", 5),
        ("max-age=60, max-stale", 2**31),
        ("max-stale", 2**31),
        ("max-stale=5, max-stale", 5),
        ("max-stale=nonsense", 0),
    ],
)
def test_who_names_an_age_wants_nothing_stale(header: str, stale: int | None) -> None:
    """Unless they also say how stale it may be: RFC 9111, 5.2.1.1 and 5.2.1.2."""
    assert control_of(header, None).max_stale_seconds == stale
