"""Rules of the wishes that every body that runs a model may have, given to pydantic's core directly.

`tollgate.api.wishes` and `tollgate.api.cache_wishes` read what has passed them.
"""

from collections.abc import Mapping

from pydantic_core import core_schema as rules

from tollgate.api.cache_wishes import LONGEST_SECONDS, MODES, NAMESPACE_PATTERN
from tollgate.api.fields import optional

_SHARE = rules.float_schema(ge=0, le=1, allow_inf_nan=False)
_TOKENS = rules.int_schema(ge=1, le=10_000_000)
_COUNT = rules.int_schema(ge=0, le=1_000)
_TEXTS = rules.list_schema(rules.str_schema(min_length=1, max_length=1_000), max_length=20)


def _strict_object(name: str, fields: dict[str, rules.TypedDictField]) -> rules.CoreSchema:
    return rules.typed_dict_schema(
        fields, extra_behavior="forbid", ref=name, config=rules.CoreConfig(strict=True, title=name)
    )


_TRIM = _strict_object(
    "Trim",
    {
        "input_tokens": optional(_TOKENS),
        "keep_last": optional(_COUNT),
        "documents_tokens": optional(_TOKENS),
        "documents_top_k": optional(_COUNT),
        "diversity": optional(_SHARE),
        "cut_sentences": optional(rules.bool_schema()),
        "query": optional(rules.str_schema(max_length=100_000)),
    },
)
_CASCADE = _strict_object(
    "Cascade",
    {
        "checks": optional(
            rules.list_schema(
                rules.literal_schema(["schema", "refusal", "logprob", "length", "uncertain", "rule"]),
                min_length=1,
                fail_fast=True,
            )
        ),
        "min_characters": optional(rules.int_schema(ge=0, le=100_000)),
        "min_mean_logprob": optional(rules.float_schema(ge=-20, le=0, allow_inf_nan=False)),
        "must_contain": optional(_TEXTS),
        "must_not_contain": optional(_TEXTS),
    },
)
WISH_FIELDS: Mapping[str, rules.TypedDictField] = {
    "quality": optional(_SHARE),
    "trim": optional(_TRIM),
    "cascade": optional(rules.union_schema([rules.bool_schema(), _CASCADE])),
    "conversation_id": optional(rules.str_schema(min_length=1, max_length=256)),
}


def cache_wishes_schema() -> rules.CoreSchema:
    """Rules for the field `cache`."""
    return rules.typed_dict_schema(
        {
            "ttl": optional(rules.int_schema(ge=1, le=LONGEST_SECONDS)),
            "namespace": optional(rules.str_schema(pattern=NAMESPACE_PATTERN)),
            "mode": optional(rules.literal_schema(list(MODES))),
        },
        extra_behavior="forbid",
        ref="CacheWishes",
        config=rules.CoreConfig(strict=True, title="CacheWishes"),
    )
