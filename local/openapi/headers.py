"""Headers of answers: what each means, and with which statuses it comes."""

from collections.abc import Mapping
from typing import Any

_TEXT: Mapping[str, Any] = {"type": "string"}
_DOLLARS: Mapping[str, Any] = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}
_COUNT: Mapping[str, Any] = {"type": "string", "pattern": r"^\d+$"}
_FLAG: Mapping[str, Any] = {"type": "string", "enum": ["true", "false"]}

_LOCATION = ("Where the job is looked up, or the file's content lies.", _TEXT)
_EVERYWHERE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "x-tollgate-request-id": ("Names the call in logs.", _TEXT),
    "x-request-id": ("The same, under the name that OpenAI's clients show.", _TEXT),
    "Retry-After": ("Seconds after which to ask again: of a job, or of what was refused for now.", _COUNT),
    "openai-processing-ms": ("How long the answer took to make, as OpenAI's clients read it.", _COUNT),
    "x-should-retry": ("Whether the same call can help; OpenAI's clients obey.", _FLAG),
    "Cache-Control": ("No cache may keep the answer.", _TEXT),
}
_OF_RUNS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "x-tollgate-inference-type": ("The road.", {"type": "string", "enum": ["realtime", "async", "batch"]}),
    "x-tollgate-deployment": ("Model and deployment.", _TEXT),
    "x-tollgate-route-reason": ("Why this road.", _TEXT),
    "x-tollgate-cost-usd": ("What was charged; of a job that goes on, its estimate.", _DOLLARS),
    "x-tollgate-avoided-cost-usd": ("What the dearest road would have cost more.", _DOLLARS),
    "x-tollgate-cache": (
        "What the cache did.",
        {"type": "string", "enum": ["hit", "near", "stale", "miss", "bypass"]},
    ),
    "x-tollgate-cache-matched": ("Key of the answer that a near match gave.", _TEXT),
    "Age": ("Seconds since a cached answer was made.", _COUNT),
    "x-tollgate-budget-remaining-usd": ("What the tightest budget has left.", _DOLLARS),
    "x-tollgate-trimmed-tokens": ("Input tokens that were left out.", _COUNT),
    "x-tollgate-job-id": ("The job behind an answer that was waited for.", _TEXT),
    "x-tollgate-idempotent-replay": ("This is the first answer again.", _FLAG),
    "x-ratelimit-limit-requests": ("Requests that may come at once, or in a budget's period.", _COUNT),
    "x-ratelimit-remaining-requests": ("How many of them are left, where they are counted.", _COUNT),
    "x-ratelimit-reset-requests": ("When all of them are free again.", _TEXT),
    "traceparent": ("W3C trace context of the call.", _TEXT),
    "Location": _LOCATION,
    "Preference-Applied": ("The preference that was obeyed, RFC 7240.", _TEXT),
}


def headers(*, runs: bool, content: bool) -> dict[str, Any]:
    """The headers that an answer may have, as references.

    Args:
        runs: of a route that runs, routes or looks up inferences.
        content: of a file's content, which may lie elsewhere.
    """
    names = [*_EVERYWHERE, *(_OF_RUNS if runs else ()), *(("Location",) if content else ())]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def header_components() -> dict[str, Any]:
    """All of them, described once."""
    return {
        name: {"description": said, "schema": dict(schema)}
        for name, (said, schema) in sorted({**_EVERYWHERE, **_OF_RUNS}.items())
    }
