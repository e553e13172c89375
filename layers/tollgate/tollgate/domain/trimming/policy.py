"""How much of a request's input is sent on: the owner's budgets and the caller's options."""

from collections.abc import Sequence
from copy import replace
from dataclasses import dataclass

from tollgate.domain.token_rates import TokenizerFamily

ANY = "*"
"""Every key, or every model."""


@dataclass(frozen=True, slots=True)
class TrimmingPolicy:
    """How a request is trimmed.

    Args:
        input_tokens: budget for the messages, or the prompt, together with the documents; None for no limit.
        keep_last: this many of the last messages always stay.
        documents_tokens: budget for the documents alone.
        documents_top_k: send at most this many documents.
        diversity: among documents, 0 (relevance alone) to 1.
        cut_sentences: allow documents to be cut to their best sentences.
        query: what the answer is about; the last user message if empty.
        tokenizer: name of the tokenizer to estimate for.
        tokenizer_file: key of the model's own `tokenizer.json` in the bucket, to count exactly; empty to estimate.
    """

    input_tokens: int | None = None
    keep_last: int = 2
    documents_tokens: int | None = None
    documents_top_k: int | None = None
    diversity: float = 0.3
    cut_sentences: bool = False
    query: str = ""
    tokenizer: TokenizerFamily = TokenizerFamily.CL100K
    tokenizer_file: str = ""


@dataclass(frozen=True, slots=True)
class InputBudget:
    """The most input tokens that requests of a key to a model may send.

    Args:
        key: a key's id, or `ANY`.
        model: a model's name, or `ANY`.
        input_tokens: estimated tokens, see `tollgate.domain.tokens`.
    """

    key: str
    model: str
    input_tokens: int


def trimming_for(
    asked: TrimmingPolicy | None,
    declared: TrimmingPolicy | None,
    budgets: Sequence[InputBudget],
    *,
    key_id: str,
    model: str,
) -> TrimmingPolicy | None:
    """The policy for one request, None if nothing is to be trimmed.

    The caller's options take precedence over the model's, but the tightest of all budgets holds.

    Args:
        asked: by the request.
        declared: by the model.
        budgets: of the catalogue.
        key_id: whose request it is.
        model: that it asks for.
    """
    limits = [b.input_tokens for b in budgets if b.key in {ANY, key_id} and b.model in {ANY, model}]
    limits += [policy.input_tokens for policy in (asked, declared) if policy and policy.input_tokens is not None]
    policy = asked or declared
    if policy is None and not limits:
        return None
    policy = policy or TrimmingPolicy()
    # The caller has no say in which tokenizer a model has.
    tokenizer = policy.tokenizer if declared is None else declared.tokenizer
    return replace(
        policy,
        input_tokens=min(limits, default=None),
        tokenizer=tokenizer,
        tokenizer_file="" if declared is None else declared.tokenizer_file,
    )
