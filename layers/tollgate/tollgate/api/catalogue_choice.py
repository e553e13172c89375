"""The parts of a catalogue file about choosing among sizes and about trimming, and what they become."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tollgate.domain.catalogue import Deployment, InferenceType
from tollgate.domain.choice.policy import (
    CascadePolicy,
    Check,
    ChoicePolicy,
    DeploymentRole,
    ExtraSpend,
    TierThresholds,
    said_in_vain,
)
from tollgate.domain.errors import CatalogueError
from tollgate.domain.token_rates import TokenizerFamily
from tollgate.domain.trimming.policy import ANY, InputBudget, TrimmingPolicy

Share = Annotated[float, Field(ge=0, le=1)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExtraSpendEntry(_Strict):
    """A share of the requests, and dollars a day."""

    share: Annotated[float, Field(gt=0, le=0.5)]
    usd_per_day: Annotated[Decimal, Field(gt=0, le=Decimal(100_000))]


class CascadeEntry(_Strict):
    """When the answer of a smaller model is not good enough."""

    checks: Annotated[frozenset[Check], Field(min_length=1)] = frozenset(Check)
    min_characters: Annotated[int, Field(ge=0, le=100_000)] = 0
    min_mean_logprob: Annotated[float, Field(ge=-20, le=0)] = -1.5

    @model_validator(mode="after")
    def _is_read(self) -> Self:
        if wrong := said_in_vain(self.model_fields_set, self.checks):
            raise ValueError(wrong)
        return self


class ChoiceEntry(_Strict):
    """How one of several sizes is chosen."""

    medium_from: Share = 0.3
    large_from: Share = 0.7
    quality: Share | None = None
    sticky: bool = True
    explore: ExtraSpendEntry | None = None
    cascade: CascadeEntry | None = None
    shadow: ExtraSpendEntry | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.medium_from > self.large_from:
            raise ValueError("medium_from may not be above large_from")
        return self


class TrimmingEntry(_Strict):
    """How requests are trimmed; the fields that a request may bring under `trim`, and the tokenizers."""

    input_tokens: Tokens | None = None
    keep_last: Annotated[int, Field(ge=0, le=1000)] = 2
    documents_tokens: Tokens | None = None
    documents_top_k: Annotated[int, Field(ge=0, le=1000)] | None = None
    diversity: Share = 0.3
    cut_sentences: bool = False
    tokenizer: TokenizerFamily = TokenizerFamily.CL100K
    tokenizer_file: Annotated[str, Field(pattern=r"^(tokenizers/[A-Za-z0-9._-]{1,128}\.json)?$")] = ""


class InputBudgetEntry(_Strict):
    """The most input tokens of a key's requests to a model."""

    key: Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]{1,128}|\*)$")] = ANY
    model: str = ANY
    input_tokens: Tokens


def read_choice(entry: ChoiceEntry | None, deployments: Sequence[Deployment], *, model: str) -> ChoicePolicy | None:
    """The policy of one model.

    Raises:
        CatalogueError: shadow traffic without a deployment that could take it.
    """
    shadows = [d for d in deployments if d.role is DeploymentRole.SHADOW]
    for shadow in shadows:
        if shadow.weight or InferenceType.ASYNC not in shadow.roads:
            raise CatalogueError(f"Deployment '{shadow.resource}' is a shadow, so it needs weight 0 and an async road.")
    if entry is None:
        return None
    if (entry.shadow is not None) != bool(shadows):
        raise CatalogueError(f"Model '{model}': choice.shadow and a deployment with the role 'shadow' belong together.")
    return ChoicePolicy(
        thresholds=TierThresholds(entry.medium_from, entry.large_from),
        quality=entry.quality,
        sticky=entry.sticky,
        explore=_extra(entry.explore),
        cascade=None if entry.cascade is None else CascadePolicy(**entry.cascade.model_dump()),
        shadow=_extra(entry.shadow),
    )


def _extra(entry: ExtraSpendEntry | None) -> ExtraSpend | None:
    return None if entry is None else ExtraSpend(entry.share, entry.usd_per_day)


def read_trimming(entry: TrimmingEntry | None) -> TrimmingPolicy | None:
    """The policy of one model."""
    return None if entry is None else TrimmingPolicy(**entry.model_dump())


def read_input_budgets(entries: Sequence[InputBudgetEntry], models: Collection[str]) -> tuple[InputBudget, ...]:
    """The checked budgets of tokens.

    Raises:
        CatalogueError: one is about a model that is not in the catalogue.
    """
    for entry in entries:
        if entry.model not in {ANY, *models}:
            raise CatalogueError(f"An input budget names the model '{entry.model}', which is not in the catalogue.")
    return tuple(InputBudget(**entry.model_dump()) for entry in entries)


def known_resemblance(deployments: Mapping[str, str]) -> None:
    """Check the names under `resembles`.

    Args:
        deployments: by resource, the model that it is said to resemble; empty for none.

    Raises:
        CatalogueError: a name is not one of those that the shipped data knows.
    """
    named = {resource: name for resource, name in deployments.items() if name}
    if not named:
        return
    from tollgate.domain.choice.model_choice import known_models  # noqa: PLC0415 -- reads half a megabyte of trees

    for resource, name in named.items():
        if name not in known_models():
            raise CatalogueError(
                f"Deployment '{resource}' resembles '{name}', which is not known. Known: {', '.join(known_models())}."
            )
