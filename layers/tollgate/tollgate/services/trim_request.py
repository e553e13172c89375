"""Trims a request to what its model, its key and its caller allow. Imported for the requests that are to be trimmed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tollgate.domain.prompt_trimming import trim_input
from tollgate.domain.trimming_policy import trimming_for

if TYPE_CHECKING:
    from tollgate.domain.catalogue import Catalogue, Model
    from tollgate.services.inference import InferenceRequest
    from tollgate.services.trail import Trail

DOCUMENTS = "documents"
"""The capability of containers that take retrieved documents beside the messages."""


def trimmed(request: InferenceRequest, catalogue: Catalogue, model: Model, trail: Trail) -> InferenceRequest:
    """The request as it is to be sent; what was dropped is on the trail.

    Raises:
        InputBudgetError: what must be sent exceeds the budget.
        InvalidRequestError: its documents have another form.
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
    value, trail.trimmed = trim_input(
        request.input,
        policy,
        parameters=request.parameters,
        takes_documents=all(DOCUMENTS in deployment.supports for deployment in model.deployments),
    )
    return replace(request, input=value)
