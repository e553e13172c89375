"""A model owner's settings for choosing among its sizes: thresholds, the quality dial, exploring, cascading.

They apply only to models with deployments of more than one tier, or with a challenger or a shadow.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True)
class TierThresholds:
    """Where the tiers begin: small < `medium` <= medium < `large` <= large.

    Args:
        medium: the least complexity of the medium tier, 0..1.
        large: the least complexity of the large tier, 0..1, not under `medium`. Above 1 would switch a tier
            off; use 1 for both to keep everything but the very hardest small.

    Raises:
        ValueError: the two are out of order or out of range.
    """

    medium: float = 0.3
    large: float = 0.7

    def __post_init__(self) -> None:
        if not 0.0 <= self.medium <= self.large <= 1.0:
            raise ValueError(f"tier thresholds must satisfy 0 <= medium <= large <= 1, not {self}")


DEFAULT_THRESHOLDS: Final = TierThresholds()


class DeploymentRole(StrEnum):
    """What a deployment is tried out for.

    A challenger shares the traffic by weight, like any other; its role only says which deployments are compared. A
    shadow answers no request: it gets copies.
    """

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"


SHADOW_KEY: Final = "shadow"
"""Id of the key that copies belong to, in the tenant of the request that they copy."""


class Check(StrEnum):
    """Problems with a small model's answer that can be seen from outside."""

    SCHEMA = "schema"
    REFUSAL = "refusal"
    LOGPROB = "logprob"
    LENGTH = "length"
    UNCERTAIN = "uncertain"
    RULE = "rule"


_READ_BY: Final = {
    "min_characters": Check.LENGTH,
    "min_mean_logprob": Check.LOGPROB,
    "must_contain": Check.RULE,
    "must_not_contain": Check.RULE,
}


def said_in_vain(fields: Collection[str], checks: Collection[Check]) -> str:
    """What is wrong where a cascade's field is given, but not the check that reads it; empty for nothing.

    Args:
        fields: names of those that are given.
        checks: that an answer has to pass.
    """
    for name, check in _READ_BY.items():
        if name in fields and check not in checks:
            return f"'{name}' is read by the check '{check}', which 'checks' leaves out"
    return ""


@dataclass(frozen=True, slots=True)
class ExtraSpend:
    """How much traffic, and how much money, may be spent on experiments.

    Args:
        share: of the requests, 0..1.
        usd_per_day: over all execution environments, UTC days. An environment learns of the others' spending with a
            delay of a minute at most.
    """

    share: float
    usd_per_day: Decimal


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """What the caller expects of an answer, checked in a single pass over its text.

    Args:
        must_contain: every one of these texts has to occur.
        must_not_contain: none of these may.
    """

    must_contain: tuple[str, ...] = ()
    must_not_contain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CascadePolicy:
    """When the answer of a smaller model is not good enough.

    Args:
        checks: that an answer has to pass. `RULE` and `SCHEMA` apply where the request has one.
        min_characters: an answer below this is too short; 0 accepts every one that is not empty.
        min_mean_logprob: mean natural logarithm of the tokens' probabilities, where the container gives them. -1.5 is
            a geometric mean probability of 22 %.
        rule: of the request, None without one.
    """

    checks: frozenset[Check] = frozenset(Check)
    min_characters: int = 0
    min_mean_logprob: float = -1.5
    rule: AnswerRule | None = None


@dataclass(frozen=True, slots=True)
class ChoicePolicy:
    """How one of several sizes is chosen.

    Args:
        thresholds: used where there is no dial.
        quality: the dial, 0..1: the share of the largest size's quality to keep; None for the thresholds.
        sticky: whether a conversation that went to a larger size stays there.
        explore: how much may be tried out; None for nothing.
        cascade: when to ask a larger size after all; None for never.
        shadow: how much is copied to deployments with that role; None for nothing.
    """

    thresholds: TierThresholds = DEFAULT_THRESHOLDS
    quality: float | None = None
    sticky: bool = True
    explore: ExtraSpend | None = None
    cascade: CascadePolicy | None = None
    shadow: ExtraSpend | None = None


DEFAULT_CHOICE: Final = ChoicePolicy()
