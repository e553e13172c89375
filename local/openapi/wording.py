"""What the document says of groups of routes, and of the fields that are Tollgate's own.

OpenAI's fields are described by OpenAI; ours by the guides, of which this is the short form.
"""

from collections.abc import Mapping
from typing import Any

TAGS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Inferences": ("Tollgate's own requests and jobs.", ("inferences", "route", "feedback")),
    "OpenAI": ("Requests of OpenAI's clients.", ("chat", "completions", "embeddings", "responses")),
    "Models": ("What can be asked for, and this document.", ("models", "openapi.json")),
    "Files and batches": ("OpenAI's files of requests.", ("files", "uploads", "batches")),
    "Cache": ("Answers that are kept.", ("cache",)),
    "Spending": (
        "Budgets, brakes, usage, advice.",
        ("budgets", "control", "usage", "recommendations", "workflows"),
    ),
}
"""Groups of routes: what each is about, and the first words of its paths after the version."""

FIELDS: Mapping[str, Mapping[str, str]] = {
    "InferenceRequest": {
        "model": "A name from GET /v1/models.",
        "input": "Any JSON that the model's container takes; a chat model also takes a plain text.",
        "priority": "Names the road: high is real-time, medium asynchronous, low batch. "
        "Without it, and without a deadline, the model's default holds.",
        "deadline_seconds": "Without a priority: take the cheapest road expected to be in time. "
        "With one: refuse the request (422) if that road is not.",
        "parameters": "Handed to the model's container, such as max_tokens.",
        "webhook_url": "Called when a job ends, signed as Standard Webhooks describes.",
        "metadata": "Given back with the job.",
        "cache": "What may be done with kept answers.",
        "quality": "Share of the largest size's quality to keep, where the model has several sizes.",
        "trim": "What may be left out of the input.",
        "cascade": "Whether a small size is asked first, and what its answer must pass.",
        "conversation_id": "Requests of one conversation stay with one size and variant.",
    },
    "CacheWishes": {
        "ttl": "Seconds for which the answer is kept fresh, at most a day.",
        "namespace": "A part of the cache of one's own, or one that the operator declared as shared.",
        "mode": "default; always, also at a high temperature; refresh, run and keep; bypass, neither read nor keep; "
        "only, never run.",
    },
    "Trim": {
        "input_tokens": "Budget for messages, tools and documents together.",
        "keep_last": "So many of the last messages always stay.",
        "documents_tokens": "Budget for documents.",
        "documents_top_k": "Number of documents to keep.",
        "diversity": "Among documents: 0 is relevance alone, 1 says nothing twice.",
        "cut_sentences": "Whether documents may be cut to their best sentences.",
        "query": "What the input is about, if not the last message of the user.",
    },
    "Cascade": {
        "checks": "What the small size's answer must pass, or a larger one is asked.",
        "min_characters": "Shortest answer that passes.",
        "min_mean_logprob": "Least mean log-probability that passes, where the container tells it.",
        "must_contain": "Texts that the answer must have.",
        "must_not_contain": "Texts that the answer may not have.",
    },
    "FeedbackRequest": {
        "inference_id": "The id that came with the answer.",
        "model": "The model that was asked.",
        "score": "How good the answer was: 0 is useless, 1 as good as can be.",
    },
    "CacheKeepRequest": {
        "value": "Any JSON.",
        "ttl": "Seconds for which it is kept: an hour if not given, at most a week.",
    },
    "Inference": {
        "status": "queued or submitted while it is open; then completed, failed, expired or cancelled.",
        "inference_type": "The road that was taken.",
        "deployment": "What answered, as model/deployment.",
        "output": "The answer; a large one is at output_url instead.",
        "output_url": "Where a large answer can be fetched for an hour.",
    },
    "Cost": {
        "estimated_cost_usd": "Expected before the call.",
        "effective_cost_usd": "What the call cost: its share of the instance, or its tokens, and the gateway's parts.",
        "avoided_cost_usd": "What the same request would have cost on the always-on endpoint, less what it cost.",
    },
    "Route": {
        "reason": "Why this road and deployment.",
        "fallback": "The road that is taken where this one finds no capacity.",
        "roads": "Every road as it was weighed.",
    },
    "RoadEstimate": {
        "expected_seconds": "From now until the answer.",
        "loaded_cost_usd": "The estimate with the endpoint's idle time; roads are compared by it.",
        "ruled_out": "Why the road cannot answer now; null where it can.",
    },
}
"""Descriptions by schema and field."""


def tag_of(path: str) -> str:
    """The group of the route with this path.

    Raises:
        LookupError: it belongs to none yet.
    """
    word = path.removeprefix("/v1/").partition("/")[0]
    for name, (_, words) in TAGS.items():
        if word in words:
            return name
    raise LookupError(f"{path} has no tag")


def tag_list() -> list[dict[str, str]]:
    """The groups as the document lists them."""
    return [{"name": name, "description": about} for name, (about, _) in TAGS.items()]


def with_words(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas, with what is said of their fields.

    Raises:
        KeyError: a field that is described here is not there.
    """
    for name, fields in FIELDS.items():
        properties = schemas[name]["properties"]
        for field, said in fields.items():
            properties[field]["description"] = said
    return schemas
