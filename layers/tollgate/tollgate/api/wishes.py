"""The fields with which a caller says how a request is to be answered: `quality`, `trim`, `cascade`, `conversation_id`.

Their rules, and those of the field `cache`, are in `tollgate.api.wish_rules`. What they become is imported for the
requests that bring one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tollgate.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from tollgate.services.requests.wishes import Wishes

WISHES = ("quality", "trim", "cascade", "conversation_id")
OBJECTS = ("trim", "cascade", "cache")
"""Fields of a body that are objects with rules of their own."""


def read_wishes(body: Mapping[str, Any]) -> "Wishes | None":
    """The wishes in a checked body; None where there are none.

    Raises:
        InvalidRequestError: one contradicts another.
    """
    found = {name: body[name] for name in WISHES if body.get(name) is not None}
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
    from tollgate.domain.choice.policy import (  # noqa: PLC0415 -- as in `read_wishes`
        AnswerRule,
        CascadePolicy,
        Check,
        said_in_vain,
    )

    if wrong := said_in_vain(given.keys(), given.get("checks", Check)):
        raise InvalidRequestError(f"Field 'cascade': {wrong}.", param="cascade")
    must, must_not = tuple(given.pop("must_contain", ())), tuple(given.pop("must_not_contain", ()))
    if "checks" in given:
        given["checks"] = frozenset(map(Check, given["checks"]))
    return CascadePolicy(**given, rule=AnswerRule(must, must_not) if must or must_not else None)
