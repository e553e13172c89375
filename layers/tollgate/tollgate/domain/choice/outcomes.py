"""Outcomes of requests, added up by deployment and topic: sums only, so that any number of writers can add to them.

Sums of squares beside those of seconds and dollars give their variances, and with them the confidence intervals.
"""

from __future__ import annotations

import hashlib
import re
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_MARK_LENGTH: Final = 7

TOPICS: Final = ("code", "numbers", "long", "question", "task", "other")
"""Kinds of prompts for which records are kept; few, so that each gathers enough of them."""

ESCALATED: Final = "escalated"
"""Replaces the topic for prompts whose first answer, from a smaller size, failed a check. These answers are not weighed
against that size's outcomes, because they cover its failures only.
"""

_CODE_SIGNS: Final = ("```", "def ", "import ", "):\n", "=>", ";\n", "SELECT ", "</", "function ")
_LONG: Final = 1_500
_NUMBERS: Final = 3
_NUMBER: Final = re.compile(r"\d+")


def topic_of(text: str) -> str:
    """Which of `TOPICS` a prompt is about, by its surface features.

    Args:
        text: what decides the choice, see `tollgate.domain.choice.complexity.routing_text`.
    """
    head = text[:_LONG]
    if sum(sign in head for sign in _CODE_SIGNS) > 1 or "```" in head:
        return "code"
    if len(_NUMBER.findall(head)) >= _NUMBERS:
        return "numbers"
    if len(text) > _LONG:
        return "long"
    if text.rstrip().endswith("?"):
        return "question"
    return "task" if text.strip() else "other"


class Tally(NamedTuple):
    """Sums over requests of one deployment and topic.

    Args:
        requests: that were run, successfully or not.
        errors: that the backend failed.
        seconds: from acceptance to answer, of those answered.
        seconds_squared: for the variance of that.
        usd: effective cost of those whose cost is known.
        usd_squared: for the variance of that.
        priced: how many those are.
        output_tokens: of those whose tokens were counted.
        counted: how many those are.
        quality: outcomes 0..1: feedback, and the checks of a cascade.
        judged: how many those are.
        escalated: whose answer was not good enough.
    """

    requests: float = 0.0
    errors: float = 0.0
    seconds: float = 0.0
    seconds_squared: float = 0.0
    usd: float = 0.0
    usd_squared: float = 0.0
    priced: float = 0.0
    output_tokens: float = 0.0
    counted: float = 0.0
    quality: float = 0.0
    judged: float = 0.0
    escalated: float = 0.0

    def plus(self, other: Tally) -> Tally:
        """The sum of both."""
        return Tally._make(map(add, self, other))

    @property
    def mean_quality(self) -> float | None:
        """Mean outcome, None without any."""
        return self.quality / self.judged if self.judged else None

    @property
    def mean_output_tokens(self) -> float | None:
        """Mean length of an answer, None where nothing was counted."""
        return self.output_tokens / self.counted if self.counted else None


TALLY_FIELDS: Final = Tally._fields

NOTHING: Final = Tally()


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of all."""
    found = NOTHING
    for tally in tallies:
        found = tally if found is NOTHING else found.plus(tally)
    return found


def of_run(*, failed: bool, seconds: float, usd: float | None, output_tokens: int | None) -> Tally:
    """One request that was run.

    Args:
        failed: whether the backend failed; only the failure and its cost count then.
        seconds: that it took.
        usd: its effective cost, None if unknown.
        output_tokens: None if not counted.
    """
    price = usd or 0.0
    tokens = 0 if failed or output_tokens is None else output_tokens
    return Tally(
        requests=1.0,
        errors=float(failed),
        seconds=0.0 if failed else seconds,
        seconds_squared=0.0 if failed else seconds * seconds,
        usd=price,
        usd_squared=price * price,
        priced=float(usd is not None),
        output_tokens=float(tokens),
        counted=float(not failed and output_tokens is not None),
    )


def of_quality(score: float, *, escalated: bool = False) -> Tally:
    """One outcome, 0 (useless) to 1 (as wanted)."""
    return Tally(quality=score, judged=1.0, escalated=float(escalated))


def marked(inference_id: str, *, tenant: str, model: str, deployment: str, topic: str, seal: str) -> str:
    """The id of an inference with a mark that later tells which deployment answered, and on what topic.

    Nothing has to be stored for it, because the mark comes back with the id. Only who knows the seal can make one: if
    tenants could, they would judge answers that nobody was given, and so decide which size answers everybody.

    Args:
        inference_id: of the gateway.
        tenant: that is answered.
        model: that was asked for; deployments of other models may have the same names.
        deployment: name of the one that answers.
        topic: of the prompt.
        seal: the stack's, see `Catalogue`.
    """
    return f"{inference_id}_{_mark(inference_id, tenant, f'{model}/{deployment}', topic, seal)}"


def marked_by(
    inference_id: str, *, tenant: str, model: str, deployments: Iterable[str], seal: str
) -> tuple[str, str] | None:
    """Deployment and topic of a marked id, None if the mark is not valid for these.

    Args:
        inference_id: as it was given out.
        tenant: that it was given to.
        model: that it is said to be of.
        deployments: names of those that it may have been.
        seal: the stack's.
    """
    plain, _, mark = inference_id.rpartition("_")
    for deployment in deployments:
        for topic in (*TOPICS, ESCALATED):
            if _mark(plain, tenant, f"{model}/{deployment}", topic, seal) == mark:
                return deployment, topic
    return None


def _mark(inference_id: str, tenant: str, resource: str, topic: str, seal: str) -> str:
    said = f"{inference_id}|{tenant}|{resource}|{topic}".encode("utf-8", "surrogatepass")
    value = int.from_bytes(hashlib.blake2b(said, key=seal.encode(), digest_size=8).digest())
    digits = ""
    for _ in range(_MARK_LENGTH):
        value, digit = divmod(value, 36)
        digits += _BASE36[digit]
    return digits
