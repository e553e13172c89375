"""The exact cache key: what it tells apart and what it does not."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tollgate.domain.cache.key import (
    VOLATILE_FIELDS,
    CacheIdentity,
    CacheScope,
    cache_key,
    near_context,
)

# Halves of surrogate pairs too, which JSON can spell; integers of any size, as above.
texts = st.text(st.characters(codec=None) | st.sampled_from("\ud83d\ude00"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant"]), "content": st.text() | json_values},
        optional={"name": st.text()},
    ),
    max_size=4,
)
bodies = st.dictionaries(st.text(), json_values, max_size=4) | st.fixed_dictionaries(
    {}, optional={"messages": messages, "input": json_values, "prompt": json_values, "tools": json_values}
)
names = st.text(min_size=1, max_size=8)
scopes = st.builds(CacheScope.private, names, st.text(max_size=8)) | st.builds(CacheScope.shared, names)
identities = st.builds(CacheIdentity, scopes, st.text(), st.text(), st.text())


def identity(tenant: str = "acme") -> CacheIdentity:
    return CacheIdentity(CacheScope.private(tenant), "chat.completions", "small@3", "policy-1")


def canonical(body: object) -> str:
    """An independent canonical form to compare with: Python's own JSON with sorted keys."""
    return json.dumps(body, sort_keys=True)


def meaningful(body: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if name not in VOLATILE_FIELDS}


@given(identities, identities, bodies)
def test_two_identities_share_a_key_only_when_equal(
    one: CacheIdentity, other: CacheIdentity, body: dict[str, object]
) -> None:
    """Tenant, namespace, operation, model version and policy are all part of the key."""
    assert (cache_key(one, body) == cache_key(other, body)) == (one == other)


@given(names, names, st.text(max_size=8), st.text(max_size=8), bodies)
def test_tenants_never_share_unless_both_use_the_shared_namespace(
    one: str, other: str, first: str, second: str, body: dict[str, object]
) -> None:
    """No pair of private scopes of two tenants meets, nor does a private scope meet a shared one."""
    assume(one != other)
    keys = [
        cache_key(CacheIdentity(scope, "chat.completions", "m", "p"), body)
        for scope in (
            CacheScope.private(one, first),
            CacheScope.private(other, second),
            CacheScope.shared(first or "common"),
        )
    ]
    assert len(set(keys)) == 3


@given(bodies, bodies)
def test_two_bodies_share_a_key_only_when_their_json_is_the_same(
    one: dict[str, object], other: dict[str, object]
) -> None:
    """The encoding is injective over bodies: it agrees with sorted JSON on what is equal."""
    same = canonical(meaningful(one)) == canonical(meaningful(other))
    assert (cache_key(identity(), one) == cache_key(identity(), other)) == same


@given(
    st.lists(st.text(alphabet="ab", max_size=3), max_size=3),
    st.lists(st.text(alphabet="ab", max_size=3), max_size=3),
)
def test_text_cannot_move_from_one_message_to_the_next(one: list[str], other: list[str]) -> None:
    """Texts are stored end to end, yet where one ends is part of the key."""

    def chat(texts: list[str]) -> dict[str, object]:
        return {"messages": [{"role": "user", "content": text} for text in texts]}

    assert (cache_key(identity(), chat(one)) == cache_key(identity(), chat(other))) == (one == other)


@given(bodies, st.sampled_from(sorted(VOLATILE_FIELDS)), json_values)
def test_volatile_fields_do_not_count(body: dict[str, object], field: str, value: object) -> None:
    """Who asked, and how the answer travels, does not change the key."""
    assert cache_key(identity(), {**body, field: value}) == cache_key(identity(), meaningful(body))


def test_small_bodies_never_share_a_key() -> None:
    """Every two of 40,000 different bodies, made of what the encoding takes apart, have different keys."""
    plain: list[object] = [None, "", "a", 0, True, 1.0]
    objects: list[object] = [{}, {"a": ""}, {"content": "a"}, {"content": []}, {"content": {}}, {"content": [{}]}]
    objects += [{"role": "a", "content": ""}, {"role": "", "content": "a"}, {"role": "a\nb", "content": ""}]
    objects += [{"a": {}}, []]
    objects += [{"role": "a", "content": [{"type": "text", "text": "a"}]}, {"role": "", "content": {"a": []}}]
    items = plain + objects
    values = items + [[item] for item in items] + [[one, other] for one in objects for other in objects]
    found = [{"messages": one, "input": other} for one in values for other in values]
    assert len({cache_key(identity(), body) for body in found}) == len({canonical(body) for body in found}) > 40_000


def test_volatile_names_count_below_the_top_level() -> None:
    """A tool parameter that happens to be called `user` is part of the request."""
    assert cache_key(identity(), {"tools": [{"user": 1}]}) != cache_key(identity(), {"tools": [{"user": 2}]})


@given(st.dictionaries(st.text(), json_values, min_size=2, max_size=5))
def test_order_of_keys_is_irrelevant(body: dict[str, object]) -> None:
    """The same object written in another order has the same key."""
    assert cache_key(identity(), dict(reversed(body.items()))) == cache_key(identity(), body)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"n": 1}, {"n": 1.0}),
        ({"n": 1}, {"n": True}),
        ({"n": 0}, {"n": False}),
        ({"n": 0.0}, {"n": -0.0}),
        ({"stop": None}, {}),
        ({"prompt": "caf\u00e9"}, {"prompt": "cafe\u0301"}),
        ({"prompt": "\ud83d\ude00"}, {"prompt": "\U0001f600"}),
        ({"prompt": "x"}, {"input": "x"}),
        ({"prompt": "x"}, {"prompt": ["x"]}),
        ({"input": ["ab", "c"]}, {"input": ["a", "bc"]}),
        ({"input": [None, 1]}, {"input": ["x"]}),
        ({"n": 2**64}, {"n": 2**64 + 1}),
        ({"n": 2**64}, {"n": float(2**64)}),
        ({"n": 2**64}, {"n": str(2**64)}),
        ({"prompt": "\ud83d"}, {"prompt": "\\ud83d"}),
        ({"prompt": "\ud83d"}, {"prompt": "\ude00"}),
        ({"messages": [{"role": "user", "content": "x"}]}, {"messages": [["user", 1]]}),
        ({"messages": [{"role": "user", "content": None}]}, {"messages": [{"role": "user", "content": ""}]}),
    ],
)
def test_near_equal_bodies_differ(one: dict[str, object], other: dict[str, object]) -> None:
    """Number types, null, Unicode forms and shapes are told apart on purpose."""
    assert cache_key(identity(), one) != cache_key(identity(), other)


def test_key_is_stable() -> None:
    """Stored keys survive a release: the digest of a fixed request is pinned."""
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
    assert (
        cache_key(identity(), body) == "9a87210d088ab7242b2a3e28b736db82acae33cf7d9dd02d895f0beac187568e"
    )  # pragma: allowlist secret


def test_empty_scopes_are_refused() -> None:
    """A missing tenant must not become a scope that everybody shares."""
    with pytest.raises(ValueError, match="needs a tenant"):
        CacheScope.private("")
    with pytest.raises(ValueError, match="needs a namespace"):
        CacheScope.shared("")


def test_what_json_cannot_hold_is_an_error() -> None:
    """A value without a JSON form is reported, not guessed at."""
    with pytest.raises(TypeError):
        cache_key(identity(), {"stop": {1, 2}})


@given(bodies, st.text(), st.text())
def test_near_context_leaves_out_only_the_last_prompt(body: dict[str, object], one: str, other: str) -> None:
    """Requests that differ in the last user text alone have one context; the text comes back as it was."""
    contexts = [
        near_context(
            identity(),
            {**body, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": t}]},
        )
        for t in (one, other)
    ]
    assert contexts[0] is not None
    assert contexts[1] is not None
    assert contexts[0].context_key == contexts[1].context_key
    assert [context.prompt for context in contexts if context] == [one, other]


@pytest.mark.parametrize("change", [{"temperature": 1}, {"model": "other"}, {"tools": []}])
def test_near_context_keeps_everything_else(change: dict[str, object]) -> None:
    """Another parameter, model or tool list is another context."""
    one = near_context(identity(), {"prompt": "x"})
    other = near_context(identity(), {"prompt": "x", **change})
    assert one is not None
    assert other is not None
    assert one.context_key != other.context_key


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "assistant", "content": "x"}], "prompt": "x"},
        {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"input": ["x", "y"]},
        {},
    ],
)
def test_requests_without_one_plain_prompt_have_no_near_match(body: dict[str, object]) -> None:
    """Images, tool results and lists are matched exactly or not at all."""
    assert near_context(identity(), body) is None


@given(bodies)
def test_near_context_never_equals_an_exact_key(body: dict[str, object]) -> None:
    """The two digests cannot be mistaken for each other, whatever the body."""
    context = near_context(identity(), {**body, "messages": [{"role": "user", "content": "x"}]})
    assert context is not None
    assert context.context_key != cache_key(identity(), {**body, "messages": [{"role": "user", "content": None}]})
