"""Errors of SageMaker's `/openai` route, in the fields that its other operations have.

They come in OpenAI's shape with codes of their own. What the container said is quoted in the message, among names of
accounts and logs that are no caller's business. AWS documents none of this; the sentences were published by users of
the route, and one that is not known stays a plain error.
"""

import re
from collections.abc import Mapping
from typing import Any

_QUOTED = re.compile(
    r'Received (?:client|server) error \((?P<status>\d{3})\) from \S+(?: with message "(?P<said>.*)"\. See )?',
    re.DOTALL,
)
_CODES: Mapping[str, str] = {"model_error": "ModelError", "validation_error": "ValidationError"}


def fields_of(error: Mapping[str, Any]) -> dict[str, Any]:
    """The same error as ``{"code", "message"}``, a container's with its status and words.

    Args:
        error: the object under ``error``.
    """
    message, code = str(error.get("message") or ""), str(error.get("code") or "")
    fields: dict[str, Any] = {"code": _CODES.get(code, code), "message": message}
    quoted = _QUOTED.match(message)
    if quoted is not None:
        said = quoted["said"] or "nothing that could be read"
        fields |= {"OriginalStatusCode": int(quoted["status"]), "OriginalMessage": said, "message": said}
    return fields
