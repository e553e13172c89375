"""Buckets and contexts of near matches: nobody meets another's entry unless both use the same shared namespace."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from tests.fakes.examples import make_catalogue
from tollgate.domain.cache.control import CacheControl
from tollgate.domain.cache.identity import request_body, request_identity
from tollgate.domain.cache.key import near_context
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.near.reading import read
from tollgate.domain.near.signature import bucket_keys

DEPLOYMENT = make_catalogue().models["echo"].deployments[0]
NAMES = some.text(min_size=1, max_size=6)
PROMPTS = some.sampled_from(["How do I renew my passport?", "renew passport", "is it", "7", "Genève, à Paris"])
INPUTS = PROMPTS | PROMPTS.map(lambda text: {"messages": [{"role": "user", "content": text}]})


def _buckets(tenant: str, namespace: str, shared: frozenset[str], value: Any, parameters: Any = None) -> set[str]:
    policy, control = CachePolicy(shared_namespaces=shared), CacheControl(namespace=namespace)
    identity = request_identity(tenant, control, policy, DEPLOYMENT)
    context = near_context(identity, request_body(value, parameters or {}))
    assert context is not None
    return {context.context_key, *bucket_keys(context.context_key, read(context.prompt))}


@given(
    one=NAMES,
    other=NAMES,
    first=some.text(max_size=4),
    second=some.text(max_size=4),
    shared=some.frozensets(NAMES, max_size=2),
    value=INPUTS,
)
def test_two_tenants_share_a_bucket_only_in_a_namespace_declared_as_shared(
    *, one: str, other: str, first: str, second: str, shared: frozenset[str], value: Any
) -> None:
    """By construction, whatever tenants and namespaces are called: the same condition as for exact keys."""
    mine, theirs = _buckets(one, first, shared, value), _buckets(other, second, shared, value)
    both_shared = first == second and first in shared and first != ""
    if both_shared or (one == other and first == second):
        assert mine == theirs
    else:
        assert mine.isdisjoint(theirs)


@given(INPUTS, some.dictionaries(some.sampled_from("ab"), some.integers(0, 2), min_size=1, max_size=2))
def test_parameters_keep_entries_apart(value: Any, parameters: dict[str, int]) -> None:
    """What else was asked must be equal, not like."""
    assert _buckets("t", "", frozenset(), value).isdisjoint(_buckets("t", "", frozenset(), value, parameters))


@given(PROMPTS)
def test_earlier_turns_keep_entries_apart(prompt: str) -> None:
    """Only the last words of a user may differ; a system prompt or an earlier turn may not."""
    ask = {"role": "user", "content": prompt}
    alone = _buckets("t", "", frozenset(), {"messages": [ask]})
    ordered = _buckets("t", "", frozenset(), {"messages": [{"role": "system", "content": "Be brief."}, ask]})
    assert alone.isdisjoint(ordered)
