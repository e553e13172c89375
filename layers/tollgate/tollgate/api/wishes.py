"""The fields with which a caller says how a request is to be answered: `quality`, `trim`, `cascade`, `conversation_id`.

Their rules are given to pydantic's core directly, as in `tollgate.api.bodies`, and are part of every body that runs a
model. What they become is imported for the requests that bring one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema as rules

if TYPE_CHECKING:
    from tollgate.services.requests.wishes import Wishes

_SHARE = rules.float_schema(ge=0, le=1, allow_inf_nan=False)
_TOKENS = rules.int_schema(ge=1, le=10_000_000)
_COUNT = rules.int_schema(ge=0, le=1_000)
_TEXTS = rules.list_schema(rules.str_schema(min_length=1, max_length=1_000), max_length=20)


def _optional(schema: rules.CoreSchema) -> rules.TypedDictField:
    return rules.typed_dict_field(rules.nullable_schema(schema), required=False)


def _strict_object(name: str, fields: dict[str, rules.TypedDictField]) -> rules.CoreSchema:
    return rules.typed_dict_schema(
        fields, extra_behavior="forbid", ref=name, config=rules.CoreConfig(strict=True, title=name)
    )


_TRIM = _strict_object(
    "Trim",
    {
        "input_tokens": _optional(_TOKENS),
        "keep_last": _optional(_COUNT),
        "documents_tokens": _optional(_TOKENS),
        "documents_top_k": _optional(_COUNT),
        "diversity": _optional(_SHARE),
        "cut_sentences": _optional(rules.bool_schema()),
        "query": _optional(rules.str_schema(max_length=100_000)),
    },
)
_CASCADE = _strict_object(
    "Cascade",
    {
        "checks": _optional(
            rules.list_schema(
                rules.literal_schema(["schema", "refusal", "logprob", "length", "uncertain", "rule"]),
                min_length=1,
                fail_fast=True,
            )
        ),
        "min_characters": _optional(rules.int_schema(ge=0, le=100_000)),
        "min_mean_logprob": _optional(rules.float_schema(ge=-20, le=0, allow_inf_nan=False)),
        "must_contain": _optional(_TEXTS),
        "must_not_contain": _optional(_TEXTS),
    },
)
WISH_FIELDS: Mapping[str, rules.TypedDictField] = {
    "quality": _optional(_SHARE),
    "trim": _optional(_TRIM),
    "cascade": _optional(rules.union_schema([rules.bool_schema(), _CASCADE])),
    "conversation_id": _optional(rules.str_schema(min_length=1, max_length=256)),
}


OBJECTS = ("trim", "cascade", "cache")
"""Fields of a body that are objects with rules of their own."""


def read_wishes(body: Mapping[str, Any]) -> "Wishes | None":
    """The wishes in a checked body; None where there are none."""
    found = {name: body[name] for name in WISH_FIELDS if body.get(name) is not None}
    if not found:
        return None
    # Most requests have no wishes.
    from tollgate.services.requests.wishes import Wishes  # noqa: PLC0415 -- see above

    if "trim" in found:
        from tollgate.domain.trimming.policy import TrimmingPolicy  # noqa: PLC0415 -- see above

        found["trim"] = TrimmingPolicy(**_given(found["trim"]))
    if isinstance(found.get("cascade"), dict):
        found["cascade"] = _cascade(_given(found["cascade"]))
    return Wishes(**found)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _cascade(given: dict[str, Any]) -> Any:
    from tollgate.domain.choice.policy import AnswerRule, CascadePolicy, Check  # noqa: PLC0415 -- as in `read_wishes`

    must, must_not = tuple(given.pop("must_contain", ())), tuple(given.pop("must_not_contain", ()))
    if "checks" in given:
        given["checks"] = frozenset(map(Check, given["checks"]))
    return CascadePolicy(**given, rule=AnswerRule(must, must_not) if must or must_not else None)
