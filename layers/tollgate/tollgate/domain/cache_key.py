"""The exact cache key: equal for requests that must get the same answer, different for all others.

What is hashed is an injective encoding, so two keys agree only when every part agrees (or SHA-256 collides):

    format, purpose, scope, operation, model version, policy    each written as ``<length>:<text>``
    skeleton                                                    JSON, keys sorted, message texts taken out
    NUL                                                         never occurs inside JSON
    the message texts                                           one after the other, as they are

The skeleton says how long each text was that left it, so the tail can be cut again in only one way. Taking
texts out is what makes the key cheap: to escape a 10 KB prompt as JSON costs three times as much as to hash
it.

Equality is deliberate and narrow, because a wrong hit costs more than a miss:

* the order of keys never matters, the order of list items always does;
* ``1``, ``1.0`` and ``true`` are three different values, as a model server may treat them differently;
* text is compared code point by code point. Unicode normalisation is not applied: a model tokenises composed
  and decomposed letters differently, so it also answers differently;
* a field that is ``null`` differs from a field that is absent.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from json import JSONEncoder
from typing import Self

VOLATILE_FIELDS = frozenset(
    {
        "cache",  # how to cache says nothing about what the answer is
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

_FORMAT = "tollgate-cache-1"

# check_circular is off because bodies come from a JSON parser, which cannot make a cycle.
_SKELETON = JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


class ScopeKind(StrEnum):
    """Who may share an entry."""

    PRIVATE = "private"
    SHARED = "shared"


class _Purpose(StrEnum):
    """What a digest is for; part of what is hashed, so an exact key never equals a near context."""

    EXACT = "exact"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class CacheScope:
    """The readers of an entry: one tenant, or everybody who uses a namespace that was declared shared.

    Use `private` or `shared`. Whether a namespace is shared is the operator's declaration; a client that
    merely names a namespace gets `private` with that name.
    """

    kind: ScopeKind
    tenant: str
    namespace: str

    def __post_init__(self) -> None:
        """Reject a scope that would be wider than it says."""
        if self.kind is ScopeKind.PRIVATE and not self.tenant:
            raise ValueError("a private cache scope needs a tenant")
        if self.kind is ScopeKind.SHARED and (self.tenant or not self.namespace):
            raise ValueError("a shared cache scope needs a namespace and has no tenant")

    @classmethod
    def private(cls, tenant: str, namespace: str = "") -> Self:
        """Entries that only `tenant` reads, optionally kept apart under a name of its own.

        Raises:
            ValueError: `tenant` is empty.
        """
        return cls(ScopeKind.PRIVATE, tenant, namespace)

    @classmethod
    def shared(cls, namespace: str) -> Self:
        """Entries that every tenant allowed into the shared `namespace` reads.

        Raises:
            ValueError: `namespace` is empty.
        """
        return cls(ScopeKind.SHARED, "", namespace)


@dataclass(frozen=True, slots=True)
class CacheIdentity:
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


@dataclass(frozen=True, slots=True)
class NearContext:
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
    """The body without its prompt, and the prompt."""
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
    scope = identity.scope
    header = "".join(
        [
            f"{len(part)}:{part}"
            for part in (
                _FORMAT,
                purpose,
                scope.kind,
                scope.tenant,
                scope.namespace,
                identity.operation,
                identity.model_version,
                identity.policy_fingerprint,
            )
        ]
    )
    texts: list[str] = []
    kept: dict[str, object] = {
        name: _lift(value, texts) if name in _TEXT_FIELDS else value
        for name, value in body.items()
        if name not in VOLATILE_FIELDS
    }
    # `surrogatepass` because JSON may escape half a surrogate pair; it keeps different texts different.
    encoded = "".join([header, _SKELETON(kept), "\0", *texts]).encode("utf-8", "surrogatepass")
    return hashlib.sha256(encoded).hexdigest()


_TEXT_FIELDS = frozenset({"messages", "prompt", "input"})
"""Where long texts are. Each of these is written in a wrapper of its own, see `_lift`."""


def _lift(value: object, texts: list[str]) -> object:
    """Take the long texts out of one field, appending them to `texts`.

    A list of one item holds a value as it was; a list of two holds what is left and the number of code points
    taken out. So what was lifted cannot be confused with anything a client could send.
    """
    if isinstance(value, str):
        texts.append(value)
        return [None, len(value)]
    if not isinstance(value, list):
        return [value]
    lifted: list[object] = []
    for item in value:
        if isinstance(item, dict) and isinstance(text := item.get("content"), str):
            if len(item) == 2 and isinstance(role := item.get("role"), str):
                lifted += (role, len(text))
            else:
                lifted += ({**item, "content": None}, len(text))
            texts.append(text)
        elif isinstance(item, str):
            texts.append(item)
            lifted += (None, len(item))
        else:
            lifted += (item, None)
    return [lifted]
