"""The exact cache key: equal for requests that must get the same answer, different for all others.

What is hashed is one tuple in Python's `marshal` format 2, which writes every value with its type and its length, so
two keys agree only when every part agrees (or SHA-256 collides):

    format, purpose, scope, operation, model version, policy
    the fields without long texts                               JSON, keys sorted
    the text fields: input, messages, prompt                    texts as they are, and
    what is left of those                                       JSON, keys sorted

Taking texts out is what makes the key cheap: to escape a 10 KB prompt as JSON costs three times as much as to hash
it. Should another Python write format 2 otherwise, every request misses once.

Equality is deliberate and narrow, because a wrong hit costs more than a miss:

* the order of keys never matters, the order of list items always does;
* ``1``, ``1.0`` and ``true`` are three different values, as a model server may treat them differently;
* text is compared code point by code point. Unicode normalisation is not applied: a model tokenises composed
  and decomposed letters differently, so it also answers differently;
* a field that is ``null`` differs from a field that is absent.
"""

import hashlib
import marshal
from collections.abc import Mapping
from enum import StrEnum
from json import JSONEncoder
from typing import Any, NamedTuple, Self

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

_FORMAT = "tollgate-cache-2"

# check_circular is off because bodies come from a JSON parser, which cannot make a cycle.
_JSON = JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


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
    scope = identity.scope
    fields = {name: value for name, value in body.items() if name not in _NOT_IN_SKELETON}
    left: list[object] = []
    texts = [(name, _lift(body[name], left)) for name in _TEXT_FIELDS if name in body]
    encoded = marshal.dumps(
        (
            _FORMAT,
            purpose.value,
            scope.kind.value,
            scope.tenant,
            scope.namespace,
            identity.operation,
            identity.model_version,
            identity.policy_fingerprint,
            _skeleton(fields),
            texts,
            _JSON(left) if left else "",
        ),
        _MARSHAL_FORMAT,
    )
    return hashlib.sha256(encoded).hexdigest()


_MARSHAL_FORMAT = 2
"""The last version that writes equal values the same way, whether or not they are one object in memory."""

_KNOWN: dict[bytes, str] = {}
_MOST_KNOWN = 64
_LONGEST_KNOWN = 16_384
"""Bytes. Together, these two limit what is remembered to some megabytes."""


def _skeleton(fields: dict[str, object]) -> str:
    """JSON with sorted keys. Parameters and tools seldom change from one request to the next, so it is remembered."""
    try:
        # The newest format is the quickest. It may write equal values in two ways, but never different ones alike.
        written = marshal.dumps(fields)
    except ValueError:  # a subclass of a plain type, or a value that JSON cannot hold
        return _JSON(fields)
    known = _KNOWN.get(written)
    if known is None:
        known = _JSON(fields)
        if len(written) <= _LONGEST_KNOWN:
            if len(_KNOWN) >= _MOST_KNOWN:
                _KNOWN.clear()
            _KNOWN[written] = known
    return known


_TEXT_FIELDS = ("input", "messages", "prompt")
"""Fields that can hold long texts."""

_NOT_IN_SKELETON = VOLATILE_FIELDS.union(_TEXT_FIELDS)
_SCALARS = frozenset({str, int, float, bool, type(None)})
_IN_LEFT = ...
"""Stands for a value that JSON writes; no request can hold it."""


def _lift(value: object, left: list[object]) -> object:
    """One text field as `marshal` will write it; values that only JSON can write are appended to `left`, in order.

    Texts, numbers and lists of them stay as they are. A usual conversation becomes a tuple, every other list a list.
    """
    if type(value) in _SCALARS:
        return value
    if type(value) is not list:
        left.append(value)
        return _IN_LEFT
    if _SCALARS.issuperset(map(type, value)):
        return value
    return _conversation(value) or [_lifted(item, left) for item in value]


def _conversation(messages: list[Any]) -> tuple[str, str, list[int]] | None:
    """If every message is a role and a text: the joined texts, the roles, and the length of each text."""
    try:
        if set(map(len, messages)) != {2}:
            return None
        roles = "\n".join([message["role"] for message in messages])
        texts = [message["content"] for message in messages]
        # A role that contains the separator would count as two.
        return ("".join(texts), roles, list(map(len, texts))) if roles.count("\n") == len(texts) - 1 else None
    except (KeyError, TypeError):  # not an object, another field, or not a text
        return None


def _lifted(item: object, left: list[object]) -> object:
    """One item of a list: an object of plain values as a tuple of sorted pairs, the content of any other in a list."""
    if type(item) in _SCALARS:
        return item
    if isinstance(item, dict):
        if _SCALARS.issuperset(map(type, item.values())):
            return tuple(sorted(item.items()))
        if "content" in item:
            left.append({name: value for name, value in item.items() if name != "content"})
            return [_lift(item["content"], left)]
    left.append(item)
    return _IN_LEFT
