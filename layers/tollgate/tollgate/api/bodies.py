"""Native request bodies, checked strictly: an unknown field is a mistake that the caller wants to know about.

`tollgate.api.inference_rules` says what is right and what is wrong, in pydantic's words. Most bodies have a model, an
input and a few plain fields. To see that nothing is wrong with those takes no validator, and importing one takes a
tenth of a cold start. So a body that is right beyond doubt is read here, and any other by the rules; a property test
holds the two to the same result.
"""

from collections.abc import Mapping
from typing import Any

from tollgate.domain.catalogue import Priority
from tollgate.domain.errors import InvalidRequestError
from tollgate.services.requests.plan import InferenceRequest

LONGEST_DEADLINE_SECONDS = 604_800
MODEL_CHARACTERS = 256
URL_CHARACTERS = 2048
# OpenAI's limits for metadata.
METADATA_ENTRIES = 16
METADATA_NAME_CHARACTERS = 64
METADATA_CHARACTERS = 512

_PLAIN_FIELDS = frozenset({"model", "input", "priority", "deadline_seconds", "parameters", "webhook_url", "metadata"})
_PRIORITIES: Mapping[object, Priority | None] = {None: None, **{priority.value: priority for priority in Priority}}


def read_inference(document: Any, headers: Mapping[str, str] | None = None) -> InferenceRequest:
    """Check the body of ``POST /v1/inferences`` and ``POST /v1/route``; the headers may bring wishes for the cache.

    Raises:
        InvalidRequestError: naming the first field at fault and what is expected of it.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    if not (headers and headers.get("cache-control")):
        plain = read_plain(document)
        if plain is not None:
            return plain
    from tollgate.api.inference_rules import read_by_rules  # noqa: PLC0415 -- see the top

    return read_by_rules(document, headers or {})


def read_plain(document: Mapping[str, Any]) -> InferenceRequest | None:
    """The request of a parsed JSON object without wishes; None unless every field is right."""
    if not (document.keys() <= _PLAIN_FIELDS and "input" in document and document.get("model")):
        return None
    priority, seconds, url = document.get("priority"), document.get("deadline_seconds"), document.get("webhook_url")
    metadata, parameters = document.get("metadata", {}), document.get("parameters", {})
    right = (
        is_text(document["model"], MODEL_CHARACTERS)
        and (priority is None or (type(priority) is str and priority in _PRIORITIES))
        and (seconds is None or (type(seconds) in {int, float} and 0 < seconds <= LONGEST_DEADLINE_SECONDS))
        and (url is None or is_text(url, URL_CHARACTERS))
        and type(parameters) is dict
        and all(is_text(name, len(name)) for name in parameters)
        and type(metadata) is dict
        and len(metadata) <= METADATA_ENTRIES
        and all(
            is_text(name, METADATA_NAME_CHARACTERS) and is_text(text, METADATA_CHARACTERS)
            for name, text in metadata.items()
        )
    )
    if not right:
        return None
    return InferenceRequest(
        model=document["model"],
        input=document["input"],
        priority=_PRIORITIES[priority],
        deadline_seconds=None if seconds is None else float(seconds),
        parameters=parameters,
        webhook_url=url,
        metadata=metadata,
    )


def is_text(value: object, most: int) -> bool:
    """Whether a value is a text of at most so many characters."""
    if type(value) is not str or len(value) > most:
        return False
    try:
        # JSON can spell halves of surrogate pairs, which are no text.
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
