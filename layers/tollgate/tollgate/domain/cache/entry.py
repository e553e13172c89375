"""A stored answer, whether it may still be used, and who is producing a new one.

Times are whole milliseconds since 1970, as the table holds them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from tollgate.domain.cache.control import CacheControl
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import ModelKind
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.generated import choices_in, vectors_in
from tollgate.domain.jobs.job import Usage


def epoch_ms(moment: datetime) -> int:
    """The moment as entries have it: whole milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


class CacheOutcome(StrEnum):
    """The header ``x-tollgate-cache``."""

    HIT = "hit"
    NEAR = "near"
    STALE = "stale"
    MISS = "miss"
    BYPASS = "bypass"


class Refusal(NamedTuple):
    """A model's rejection of an input; `status` is its own, 400..499."""

    message: str
    status: int


class CachedAnswer(NamedTuple):
    """A complete answer of a model, or its rejection of the input.

    Attributes:
        output: in the gateway's own format, as a dialect parsed it; None for a rejection.
        usage: tokens of the run that made it.
        resource: ``model/deployment`` that made it.
        worth: dollars that one more run would cost on the baseline road, None if unknown.
        began_ms: when its run began. It is not given if its entries were forgotten after that.
        made_ms: when it was complete; its age counts from here.
        fresh_ms: until when it is fresh.
        kept_ms: until when it may be given stale, where the policy says so.
    """

    output: Any
    usage: Usage
    resource: str
    worth: Decimal | None
    began_ms: int
    made_ms: int
    fresh_ms: int
    kept_ms: int
    refusal: Refusal | None = None

    def age_seconds(self, now_ms: int) -> int:
        """Whole seconds since it was made, for the ``Age`` header."""
        return max(0, (now_ms - self.made_ms) // 1000)


class CacheSlot(NamedTuple):
    """What the table holds under a key.

    Attributes:
        answer: None where there is none, or where its checksum does not match.
        fence: rises with every lease of the key; only the holder of the highest may store.
        lease_until_ms: from then on, another request may take the lease; 0 without one.
        job_id: of the asynchronous job that holds the lease, if one does.
    """

    answer: CachedAnswer | None = None
    fence: int = 0
    lease_until_ms: int = 0
    job_id: str = ""

    def is_led(self, now_ms: int) -> bool:
        """Whether an answer is being produced now."""
        return self.lease_until_ms > now_ms


EMPTY_SLOT = CacheSlot()


def usable(answer: CachedAnswer, control: CacheControl, policy: CachePolicy, now_ms: int) -> CacheOutcome | None:
    """How an answer may be given to a request: as a hit, stale, or not at all (None)."""
    age_ms = now_ms - answer.made_ms
    if control.max_age_seconds is not None and age_ms > control.max_age_seconds * 1000:
        return None
    fresh_ms = answer.fresh_ms
    if control.ttl_seconds is not None:
        # Another request may have stored it for longer than this one wants.
        fresh_ms = min(fresh_ms, answer.made_ms + control.ttl_seconds * 1000)
    if now_ms < fresh_ms:
        return CacheOutcome.HIT
    if answer.refusal is None and now_ms < fresh_ms + _stale_ms(control, policy.stale_seconds):
        return CacheOutcome.STALE
    return None


def saves_from_error(answer: CachedAnswer, control: CacheControl, policy: CachePolicy, now_ms: int) -> bool:
    """Whether an answer may be given because the model failed."""
    most = control.max_age_seconds
    if not control.read or (most is not None and now_ms - answer.made_ms > most * 1000):
        return False
    return answer.refusal is None and now_ms < answer.fresh_ms + _stale_ms(control, policy.stale_if_error_seconds)


def _stale_ms(control: CacheControl, allowed_seconds: int) -> int:
    """For how long after its time an answer may be given, where the policy allows so many seconds."""
    wanted = control.max_stale_seconds
    return 1000 * (allowed_seconds if wanted is None else min(allowed_seconds, wanted))


MOST_FORGOTTEN = 100
"""Names in the list of a scope, which is one item of the table: any request of the scope may have to read it."""


class Forgotten(NamedTuple):
    """When a scope's entries were forgotten, by target: ``all``, ``model#<name>``, ``namespace#<name>``."""

    at_ms: Mapping[str, int] = {}

    def covers(self, answer: CachedAnswer, model: str, namespace: str) -> bool:
        """Whether the answer's run had begun by the time it was forgotten."""
        if not self.at_ms:
            return False
        names = ("all", f"model#{model}", f"namespace#{namespace}")
        return any(answer.began_ms <= self.at_ms.get(name, -1) for name in names)


NOTHING_FORGOTTEN = Forgotten()

_COMPLETE = frozenset({"stop", "length", "tool_calls", "function_call"})
_REFUSALS_OF_AN_INPUT = frozenset({400, 413, 414, 415, 422})
"""RFC 9110, section 15.5: about the request itself. All others pass: 401 with another key of the container's own, 404
once it has loaded its model, 429 with its load."""


def is_complete(output: Any, kind: ModelKind, inputs: Sequence[Any] | None = None) -> bool:
    """Whether an output is a complete answer, and so may be given again.

    Args:
        output: what the model made.
        kind: what the model is for; of `ANY` nothing is known.
        inputs: the texts of an embedding request; one vector is expected for each.
    """
    try:
        if kind is ModelKind.CHAT:
            return all(choice.finish_reason in _COMPLETE for choice in choices_in(output))
        if kind is ModelKind.EMBEDDING:
            return inputs is None or len(vectors_in(output)) == len(inputs)
    except ModelFailedError:
        return False
    return output is not None


def is_deterministic_refusal(error: ModelFailedError) -> bool:
    """Whether the container rejects the input itself, and would again, whatever the time or its own state."""
    return error.original_status in _REFUSALS_OF_AN_INPUT
