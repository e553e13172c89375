"""Rules of the wishes that every body that runs a model may have, given to pydantic's core directly.

`tollgate.api.wishes` and `tollgate.api.cache_wishes` read what has passed them.
"""

from collections.abc import Mapping

from pydantic_core import core_schema as rules

from tollgate.api.cache_wishes import LONGEST_SECONDS, MODES, NAMESPACE_PATTERN

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


def cache_wishes_schema() -> rules.CoreSchema:
    """Rules for the field `cache`."""
    return rules.typed_dict_schema(
        {
            "ttl": _optional(rules.int_schema(ge=1, le=LONGEST_SECONDS)),
            "namespace": _optional(rules.str_schema(pattern=NAMESPACE_PATTERN)),
            "mode": _optional(rules.literal_schema(list(MODES))),
        },
        extra_behavior="forbid",
        ref="CacheWishes",
        config=rules.CoreConfig(strict=True, title="CacheWishes"),
    )
