"""Bodies of the `inputs` dialect put together and their answers taken apart.

Hugging Face's containers answer a list of inputs with a list, and one input with a list of one, so every request gets
just what it would have got alone.
https://huggingface.co/docs/sagemaker/en/inference
"""

import json
from collections.abc import Sequence
from typing import Any

from tollgate.domain.jobs.micro_batches import Mergeable
from tollgate.domain.json_values import escaped_json, json_text, strict_json
from tollgate.ports.dialects import RenderedRequest


class InputsMerger:
    """The `RequestMerger` of the `inputs` dialect."""

    def mergeable(self, request: RenderedRequest) -> Mergeable | None:
        """See `RequestMerger`: a text, or a list of texts; the parameters must be the same."""
        try:
            body = strict_json(request.body)
        except ValueError:
            return None
        inputs = body.pop("inputs", None) if isinstance(body, dict) else None
        texts = [inputs] if isinstance(inputs, str) else inputs
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            return None
        return Mergeable(json.dumps(body, sort_keys=True), len(texts), len(request.body))

    def merge(self, requests: Sequence[RenderedRequest]) -> RenderedRequest:
        """See `RequestMerger`."""
        bodies = [strict_json(request.body) for request in requests]
        together: list[Any] = []
        for body in bodies:
            together += [body["inputs"]] if isinstance(body["inputs"], str) else body["inputs"]
        return RenderedRequest(escaped_json({**bodies[0], "inputs": together}), requests[0].content_type)

    def split(self, answer: bytes, counts: Sequence[int]) -> Sequence[bytes] | None:
        """See `RequestMerger`."""
        try:
            entries = strict_json(answer)
        except ValueError:
            return None
        if not isinstance(entries, list) or len(entries) != sum(counts):
            return None
        parts, begin = [], 0
        for count in counts:
            parts.append(json_text(entries[begin : begin + count]).encode())
            begin += count
        return parts
