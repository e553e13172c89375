"""POST /v1/feedback: what a caller says of an answer. Imported when the first feedback comes."""

from typing import TYPE_CHECKING, Any

from pydantic_core import SchemaValidator, ValidationError
from pydantic_core import core_schema as rules

from tollgate.api.faults import refuse_crowds, words_of
from tollgate.api.http import Answer, Call, json_answer, json_body
from tollgate.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from tollgate.services.requests.feedback import FeedbackService
    from tollgate.services.requests.trail import Trail

_FIELDS = {
    "inference_id": rules.typed_dict_field(rules.str_schema(min_length=1, max_length=64)),
    "model": rules.typed_dict_field(rules.str_schema(min_length=1, max_length=256)),
    "score": rules.typed_dict_field(rules.float_schema(ge=0, le=1, allow_inf_nan=False)),
}
FEEDBACK_SCHEMA = rules.typed_dict_schema(_FIELDS, extra_behavior="forbid", config=rules.CoreConfig(strict=True))
"""The rules as such, for the OpenAPI document."""

_FEEDBACK = SchemaValidator(FEEDBACK_SCHEMA)


class FeedbackApi:
    """Reads feedback and says what became of it."""

    def __init__(self, feedback: "FeedbackService") -> None:
        self._feedback = feedback

    def answer(self, call: Call, _trail: "Trail") -> Answer:
        """The answer to an admitted call.

        Raises:
            TollgateError: what is wrong with the feedback.
        """
        given = read_feedback(json_body(call))
        judged = self._feedback.judge(call.owner, **given)
        return json_answer(
            200,
            {
                "object": "feedback",
                "inference_id": judged.inference_id,
                "model": judged.model,
                "deployment": f"{judged.model}/{judged.deployment}",
                "topic": judged.topic,
                "recorded": judged.recorded,
            },
        )


def read_feedback(document: Any) -> dict[str, Any]:
    """Check the body.

    Raises:
        InvalidRequestError: naming the first field at fault.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    refuse_crowds(document)
    try:
        checked: dict[str, Any] = _FEEDBACK.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        raise InvalidRequestError(f"Field '{param}': {words_of([first])}.", param=param) from None
    return checked
