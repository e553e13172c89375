"""Fields of objects, as pydantic's core takes them."""

from pydantic_core import core_schema as rules


def required(schema: rules.CoreSchema) -> rules.TypedDictField:
    """A field that must be there and not null."""
    return rules.typed_dict_field(schema, required=True)


def optional(schema: rules.CoreSchema) -> rules.TypedDictField:
    """A field that may be missing or null, which is the same."""
    return rules.typed_dict_field(rules.nullable_schema(schema), required=False)
