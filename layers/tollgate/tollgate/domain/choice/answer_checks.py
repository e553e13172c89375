"""What can be seen to be wrong with an answer from outside, and whether asking a small model first pays off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tollgate.domain.choice.policy import Check
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.generated import choices_in
from tollgate.domain.json_schema import TooManyStepsError, fits
from tollgate.domain.json_values import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from tollgate.domain.choice.outcomes import Tally
    from tollgate.domain.choice.policy import AnswerRule, CascadePolicy
    from tollgate.domain.generated import Choice

_OPENING: Final = 160
"""Opening characters searched for refusals and doubts: further on the same words mean something else."""

_REFUSALS: Final = (
    *("i'm sorry, but i can", "i am sorry, but i can", "i'm sorry, i can", "i cannot help", "i can't help"),
    *("i cannot assist", "i can't assist", "i'm unable to", "i am unable to", "i'm not able to", "i am not able to"),
    *("i cannot provide", "i can't provide", "i cannot answer", "i can't answer", "as an ai language model, i"),
    *("i do not have access", "i don't have access", "i do not have enough information"),
    *("i don't have enough information", "i do not know", "i don't know", "i have no information"),
)
_DOUBTS: Final = (
    *("i'm not sure", "i am not sure", "i'm not certain", "i am not certain", "i'm not entirely sure"),
    *("i may be wrong", "i might be wrong", "this may not be accurate", "this might not be accurate"),
    *("it is unclear", "it's unclear", "hard to say", "i can only guess", "my best guess", "low confidence"),
    *("confidence: low", '"confidence": "low"'),
)
_CLAUSE_ENDS: Final = (*".!?,;:-*", "\u2014", " but", " and", "sorry", "however", "unfortunately")
_PRIOR: Final = 4.0
"""Weight of the expectation before any records, in answers."""


def failed_check(output: Any, policy: CascadePolicy, *, parameters: Mapping[str, Any]) -> Check | None:
    """The first check that an answer fails, None if it passes all.

    Args:
        output: as a container dialect returns it.
        policy: which checks apply.
        parameters: of the request; a JSON schema or mode there is checked.
    """
    rule = policy.rule
    try:
        choices = choices_in(output)
    except ModelFailedError:
        # Custom models answer in forms of their own, which only the caller's rule can judge.
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        return Check.RULE if Check.RULE in policy.checks and rule and not _follows(text, rule) else None
    for choice in choices:
        for check in Check:
            if check in policy.checks and not _passes(check, choice, policy, parameters, rule):
                return check
    return None


def _passes(
    check: Check, choice: Choice, policy: CascadePolicy, parameters: Mapping[str, Any], rule: AnswerRule | None
) -> bool:
    text = choice.text or ""
    match check:
        case Check.SCHEMA:
            return bool(choice.tool_calls) or _has_format(text, parameters.get("response_format"))
        case Check.REFUSAL:
            return not choice.refusal and not _opens_with(text, _REFUSALS)
        case Check.LOGPROB:
            mean = mean_logprob(choice.logprobs)
            return mean is None or mean >= policy.min_mean_logprob
        case Check.LENGTH:
            return bool(choice.tool_calls) or len(text.strip()) >= max(1, policy.min_characters)
        case Check.UNCERTAIN:
            return not _opens_with(text, _DOUBTS)
        case Check.RULE:
            return rule is None or _follows(text, rule)


def _opens_with(text: str, phrases: tuple[str, ...]) -> bool:
    """Whether one of the phrases begins a clause: reported speech is not a refusal."""
    opening = text[:_OPENING].lower().replace("\u2019", "'")
    for phrase in phrases:
        at = opening.find(phrase)
        if at >= 0 and (not (before := opening[:at].rstrip()) or before.endswith(_CLAUSE_ENDS)):
            return True
    return False


def _follows(text: str, rule: AnswerRule) -> bool:
    return all(part in text for part in rule.must_contain) and not any(part in text for part in rule.must_not_contain)


def _has_format(text: str, wanted: Any) -> bool:
    """Whether a text has the form that OpenAI's `response_format` asks for."""
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_object", "json_schema"):
        return True
    try:
        value = strict_json(text)
    except ValueError:
        return False
    if wanted["type"] == "json_object":
        return isinstance(value, dict)
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    try:
        return not isinstance(schema, dict) or fits(value, schema)
    except (TypeError, AttributeError, OverflowError, TooManyStepsError):
        # The caller's schema is invalid, or too long to check. The answer is already paid for, so it is accepted.
        return True


def mean_logprob(logprobs: Any) -> float | None:
    """Mean natural logarithm of the tokens' probabilities in OpenAI's `logprobs`; None where there are none."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    values = [entry["logprob"] for entry in content if isinstance(entry, dict) and _is_number(entry.get("logprob"))]
    return sum(values) / len(values) if values else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def chance_of_passing(record: Tally, complexity: float) -> float:
    """How likely the small model's answer is to pass: from its records, and before them the prompt's simplicity.

    Args:
        record: the small model's outcomes on the topic.
        complexity: of the prompt, 0..1.
    """
    return (record.quality + _PRIOR * (1.0 - complexity)) / (record.judged + _PRIOR)


def cascade_pays(small: Decimal | None, large: Decimal | None, chance: float) -> bool:
    """Whether asking the small model first is expected to cost less than asking the large one at once.

    First small: `small` + (1 - `chance`) x `large`. At once: `large`. So it pays off where `small` < `chance` x `large`
    (the rule of L. Chen et al., FrugalGPT, arXiv 2305.05176, with the checks in place of its learned scorer).

    Args:
        small: dollars of the request on the smaller size; None where unknown.
        large: dollars on the larger one.
        chance: that the small answer passes, 0..1.
    """
    return small is not None and large is not None and float(small) < chance * float(large)
