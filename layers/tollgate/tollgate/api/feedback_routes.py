"""POST /v1/feedback: what a caller says of an answer. Imported when the first feedback comes."""

from typing import TYPE_CHECKING

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as rules

from tollgate.api.faults import checked_object
from tollgate.api.http import Answer, Call, json_answer, json_body

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
        given = checked_object(json_body(call), _FEEDBACK)
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
