"""Trims a request to what its model, its key and its caller allow. Imported only when a request may be trimmed."""

from __future__ import annotations

from copy import replace
from functools import partial
from typing import TYPE_CHECKING

from tollgate.domain.errors import TokenizerError
from tollgate.domain.tokens import upper_bound
from tollgate.domain.trimming.policy import trimming_for
from tollgate.domain.trimming.prompt_trimming import trim_input

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.catalogue import Catalogue, Model
    from tollgate.domain.trimming.policy import TrimmingPolicy
    from tollgate.domain.trimming.terms import TokenCounter
    from tollgate.ports.tokenizers import TokenizerSource
    from tollgate.services.requests.plan import InferenceRequest
    from tollgate.services.requests.trail import Trail

EXACT = "exact"
"""Tokens were counted by the model's own tokenizer."""

DOCUMENTS = "documents"
"""The capability of containers that take retrieved documents beside the messages."""


def trimmed(
    request: InferenceRequest,
    catalogue: Catalogue,
    model: Model,
    trail: Trail,
    tokenizers: Callable[[], TokenizerSource] | None = None,
) -> InferenceRequest:
    """The request as it will be sent; what was dropped is noted on the trail.

    If the model names a tokenizer that is not to be had, or that cannot count what is in the request, the estimate's
    upper bound is used instead, so the budget holds either way.

    Raises:
        InputBudgetError: what must be sent exceeds the budget.
        InvalidRequestError: its documents are not in a form that can be trimmed.
    """
    policy = trimming_for(
        request.wishes.trim if request.wishes else None,
        model.trimming,
        catalogue.input_budgets,
        key_id=trail.owner.key_id,
        model=request.model,
    )
    if policy is None:
        return request
    documents = request.parameters.get(DOCUMENTS)
    if documents is not None and isinstance(request.input, dict) and DOCUMENTS not in request.input:
        # An OpenAI caller who did not ask for trimming sends them as a parameter; a budget that holds counts them.
        others = {name: value for name, value in request.parameters.items() if name != DOCUMENTS}
        request = replace(request, input={**request.input, DOCUMENTS: documents}, parameters=others)
    trim = partial(
        trim_input,
        request.input,
        policy,
        parameters=request.parameters,
        takes_documents=all(DOCUMENTS in deployment.supports for deployment in model.deployments),
    )
    count, trail.tokens = _counter(policy, tokenizers)
    try:
        value, trail.trimmed = trim(count_tokens=count)
    except TokenizerError:
        count, trail.tokens = _counter(policy, None)
        value, trail.trimmed = trim(count_tokens=count)
    return replace(request, input=value)


def _counter(
    policy: TrimmingPolicy, tokenizers: Callable[[], TokenizerSource] | None
) -> tuple[TokenCounter | None, str]:
    """What counts tokens, None for the estimate; and its name in the route's reason."""
    if not policy.tokenizer_file:
        return None, ""
    exact = None if tokenizers is None else tokenizers().counter(policy.tokenizer_file)
    return (partial(upper_bound, family=policy.tokenizer), "upper_bound") if exact is None else (exact, EXACT)
