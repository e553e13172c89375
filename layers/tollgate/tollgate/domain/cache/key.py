"""The exact cache key: equal for requests that must get the same answer, different for all others.

What is hashed is one JSON list, its objects with sorted keys, so two keys agree only when every part agrees (or
SHA-256 collides): format, purpose, scope, operation, model version, policy, and the body without volatile fields.

Equality is deliberate and narrow, because a wrong hit costs more than a miss:

* the order of keys never matters, the order of list items always does;
* ``1``, ``1.0`` and ``true`` are three different values, as a model server may treat them differently;
* text is compared code point by code point. Unicode normalisation is not applied: a model tokenises composed
  and decomposed letters differently, so it also answers differently;
* a field that is ``null`` differs from a field that is absent.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from json import JSONEncoder
from typing import NamedTuple, Self

VOLATILE_FIELDS = frozenset(
    {
        "cache",  # cache options have no effect on the answer
        "deadline_seconds",
        "idempotency_key",
        "metadata",
        "priority",
        "prompt_cache_key",
        "safety_identifier",  # OpenAI's successor of `user`
        "service_tier",
        "stream",
        "stream_options",
        "user",
        "webhook_url",
    }
)
"""Top-level request fields that change how an answer travels, or who asked, but not what is answered."""

_FORMAT = "tollgate-cache-3"
_FORMAT_OF_THE_REST = "tollgate-cache-3-ascii"

# check_circular is off because bodies come from a JSON parser, which cannot make a cycle.
_ASCII_JSON = JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


class ScopeKind(StrEnum):
    """Who may share an entry."""

    PRIVATE = "private"
    SHARED = "shared"


class _Purpose(StrEnum):
    """The purpose of a digest, included in the hash, so an exact key never equals a near context."""

    EXACT = "exact"
    NEAR = "near"


class CacheScope(NamedTuple):
    """Who may read an entry: one tenant, or all users of a namespace that was declared shared.

    Created only by `private` and `shared`, which refuse a scope wider than intended. Whether a namespace is shared is
    the operator's declaration; a client that merely names a namespace gets `private` with that name.
    """

    kind: ScopeKind
    tenant: str
    namespace: str

    @classmethod
    def private(cls, tenant: str, namespace: str = "") -> Self:
        """Entries that only `tenant` reads, optionally kept apart under a name of its own.

        Raises:
            ValueError: `tenant` is empty.
        """
        if not tenant:
            raise ValueError("a private cache scope needs a tenant")
        return cls(ScopeKind.PRIVATE, tenant, namespace)

    @classmethod
    def shared(cls, namespace: str) -> Self:
        """Entries that every tenant allowed into the shared `namespace` reads.

        Raises:
            ValueError: `namespace` is empty.
        """
        if not namespace:
            raise ValueError("a shared cache scope needs a namespace")
        return cls(ScopeKind.SHARED, "", namespace)


class CacheIdentity(NamedTuple):
    """Everything outside the body that decides whether an answer may be reused.

    Args:
        scope: who may read the entry.
        operation: the route's meaning, such as ``chat.completions``; equal bodies on two routes differ.
        model_version: deployment and version that would answer, as the catalogue names it.
        policy_fingerprint: digest of the guardrail, trimming and routing policy in force.
    """

    scope: CacheScope
    operation: str
    model_version: str
    policy_fingerprint: str


class NearContext(NamedTuple):
    """The part of a request that must match exactly before its last prompt may match nearly.

    Args:
        context_key: digest of everything but the prompt: scope, model version, parameters, tools, earlier
            turns.
        prompt: text of the last user turn.
    """

    context_key: str
    prompt: str


def cache_key(identity: CacheIdentity, body: Mapping[str, object]) -> str:
    """Digest under which the answer to `body` is stored: 64 lower-case hexadecimal characters.

    Args:
        identity: scope, operation, model version and policy.
        body: the request as parsed from JSON, after defaults were applied.

    Raises:
        TypeError: `body` holds something that JSON cannot, such as a set or a `Decimal`.
    """
    return _digest(_Purpose.EXACT, identity, body)


def near_context(identity: CacheIdentity, body: Mapping[str, object]) -> NearContext | None:
    """Split a request into what must match exactly and the prompt that may match nearly.

    The prompt is the text of the last message where a user wrote it, or the field `prompt` or `input` where
    that is one string. Anything else (several parts, an image, a tool result, a list of inputs) has no near
    match.

    Raises:
        TypeError: `body` holds something that JSON cannot.
    """
    split = _take_prompt(body)
    if split is None:
        return None
    rest, prompt = split
    return NearContext(_digest(_Purpose.NEAR, identity, rest), prompt)


def _take_prompt(body: Mapping[str, object]) -> tuple[Mapping[str, object], str] | None:
    """The prompt and the body without it."""
    match body:
        case {"messages": [*earlier, {"role": "user", "content": str(prompt), **others}]}:
            last = {"role": "user", "content": None, **others}
            return {**body, "messages": [*earlier, last]}, prompt
        case {"messages": _}:
            return None
        case {"prompt": str(prompt)}:
            return {**body, "prompt": None}, prompt
        case {"input": str(prompt)}:
            return {**body, "input": None}, prompt
    return None


def _digest(purpose: _Purpose, identity: CacheIdentity, body: Mapping[str, object]) -> str:
    """SHA-256 of the injective encoding that the module describes."""
    (kind, tenant, namespace), *others = identity
    fields = {name: value for name, value in body.items() if name not in VOLATILE_FIELDS}
    return hashlib.sha256(_encoded([purpose.value, kind.value, tenant, namespace, *others, fields])).hexdigest()


def _encoded(parts: list[object]) -> bytes:
    """The parts as JSON. The two formats cannot be mistaken for each other, and a value has one of them only."""
    # Only models with a cache need it, and it brings `dataclasses` along: some milliseconds of a cold start.
    import orjson  # noqa: PLC0415

    try:
        return orjson.dumps([_FORMAT, *parts], option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, half a surrogate pair, or nothing that JSON can hold
        return _ASCII_JSON([_FORMAT_OF_THE_REST, *parts]).encode("ascii")
