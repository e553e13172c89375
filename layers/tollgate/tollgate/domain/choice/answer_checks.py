"""What can be seen to be wrong with an answer from outside, and whether asking a small model first pays off."""

from __future__ import annotations

import json
import re
from functools import cache
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

_CANNOT: Final = (
    r"(?:can(?:'t|not| not)|won't|will not|must decline to|"
    r"(?:am|'m) (?:un|not )(?:able|willing|allowed|permitted) to)"
)
_DECLINED: Final = (
    "answer|assist|comply|complete|condone|create|determine|discuss|do (?:that|this|so)|engage|fulfil|generate|give|"
    "participate|produce|provide|respond|satisfy|verify|write|"
    r"help(?= (?:you|with|out)\b|[.,;:!]|$)"
)
_REFUSAL: Final = (
    rf"i ?{_CANNOT} (?:{_DECLINED})|i ?(?:am|'m) (?:un|not )able to\b|i (?:must|have to) decline|"
    rf"as an (?:ai|artificial)\b[^.]{{0,40}}, i ?(?:{_CANNOT}|do(?:n't| not))|as an ai language model, i|"
    r"(?:(?:i'm|i am) )?sorry,? (?:but )?i (?:can't|cannot|can not)|"
    r"(?:i )?(?:do not|don't) know|(?:i have )?no idea\b|i have no (?:information|knowledge|way of knowing)|"
    r"i (?:do not|don't) have (?:(?:any|enough|the|that|specific|sufficient|real-time|current) )*"
    r"(?:access|data|information|knowledge)|"
    r"i (?:could not|couldn't|cannot|can't) find (?:any |the |an )?(?:answer|information)|"
    r"(?:the|this|your) (?:\w+ ){0,2}(?:article|context|document|passage|source|text)s? (?:(?:above|given|provided) )?"
    r"do(?:es)?(?:n't| not) (?:contain|provide|include|have) (?:(?:any|enough|the|sufficient) )?(?:answer|information)"
)
"""Refusals, and answers that say that nothing is known, in lower case."""

_DOUBT: Final = (
    r"(?:i(?: am|'m) )?(?:unsure|not (?:(?:100 ?%|absolutely|completely|entirely|fully|quite|really|so|too|very) )?"
    r"(?:sure|certain))\b|"
    r"i (?:may|might|could) be (?:wrong|mistaken)|this (?:may|might) not be accurate|it(?: is|'s) unclear|"
    r"hard to say|i can only guess|(?:my best|(?:just|only) a|this is a|a wild) guess\b|low confidence|"
    r"confidence: low|\"confidence\": ?\"low\""
)
_CLAUSE: Final = re.compile(
    r"(?:^|[-.!?,;:*{\u2014]|(?:(?:sorry|afraid)(?: that)?|\b(?:but|and|however|unfortunately|although|though))\b)\s*"
)
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
            calls = [_is_offered(call, parameters.get("tools")) for call in choice.tool_calls]
            return all(calls) if calls else _has_format(text, parameters.get("response_format"))
        case Check.REFUSAL:
            return not choice.refusal and not _opens_with(text, _REFUSAL)
        case Check.LOGPROB:
            mean = mean_logprob(choice.logprobs)
            return mean is None or mean >= policy.min_mean_logprob
        case Check.LENGTH:
            return bool(choice.tool_calls) or len(text.strip()) >= max(1, policy.min_characters)
        case Check.UNCERTAIN:
            return not _opens_with(text, _DOUBT)
        case Check.RULE:
            return rule is None or _follows(text, rule)


def _opens_with(text: str, said: str) -> bool:
    """Whether it is said at the beginning of a clause: reported speech is not a refusal."""
    opening = text[:_OPENING].lower().replace("\u2019", "'")
    pattern = _compiled(said)
    return any(pattern.match(opening, clause.end()) for clause in _CLAUSE.finditer(opening))


@cache
def _compiled(said: str) -> re.Pattern[str]:
    """With the first answer that is checked: a choice without a cascade needs none."""
    return re.compile(said)


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
    return _fits(value, described.get("schema") if isinstance(described, dict) else None)


def _is_offered(call: Mapping[str, Any], tools: Any) -> bool:
    """Whether a tool's call names a tool of the request, with arguments as that wants them."""
    offered = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    functions = {str(entry.get("name")): entry.get("parameters") for entry in offered if isinstance(entry, dict)}
    called = call["function"]
    name = str(called.get("name"))
    arguments = called.get("arguments") or {}
    try:
        arguments = strict_json(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return False
    # Whoever offers no function that can be read here may have told the container of tools in another way.
    return not functions or (name in functions and _fits(arguments, functions[name]))


def _fits(value: Any, schema: Any) -> bool:
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
