"""The stored guard on one model's near hits.

A comparison has a name, and one that comes twice counts once. The state is discarded when the operator changes the
policy that it was gathered under.
"""

from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from typing import Any

from tollgate.domain.near.policy import Likeness, NearPolicy, Strictness
from tollgate.domain.near.wrong_hit_bound import WrongHitBound

_RUNGS = {
    Likeness.WORDS: (0.97, 0.98, 0.985, 0.99, 0.995),
    Likeness.SENTENCES: (0.95, 0.96, 0.975, 0.985, 0.995),
}
"""Thresholds, each likeness on a scale of its own; the policies start at the first three. The first is the least
hundredth from which, of labelled matches that share most words, more than nine in ten were right on both halves of the
rows with one in a hundred to spare (`make bench-cache`). What it is for a model's own questions, comparisons show."""

_FIRST_RUNG = {Strictness.LOOSE: 0, Strictness.BALANCED: 1, Strictness.STRICT: 2}

REMEMBERED = 100
"""Names of comparisons kept to recognise repeats; a queue repeats within minutes."""


@dataclass(frozen=True, slots=True)
class NearGuard:
    """A `WrongHitBound` with a memory.

    Attributes:
        bound: the running estimate at the threshold in force.
        seen: names of the latest comparisons.
        agreed, disagreed: comparisons ever, at whatever threshold.
        version: rises with every comparison; 0 has never been stored.
    """

    bound: WrongHitBound
    seen: tuple[str, ...] = ()
    agreed: int = 0
    disagreed: int = 0
    version: int = 0

    def observe(self, name: str, *, agrees: bool) -> "NearGuard | None":
        """The state after one more comparison; None if it was counted already."""
        if name in self.seen:
            return None
        return replace(
            self,
            bound=self.bound.observe(agrees=agrees),
            seen=(*self.seen, name)[-REMEMBERED:],
            agreed=self.agreed + agrees,
            disagreed=self.disagreed + (not agrees),
            version=self.version + 1,
        )

    def document(self) -> dict[str, Any]:
        """The stored form; numbers are whole, or text."""
        return {
            "ladder": [str(threshold) for threshold in self.bound.ladder],
            "limit": str(self.bound.limit),
            "step": self.bound.step,
            "step_agreed": self.bound.agreed,
            "step_disagreed": self.bound.disagreed,
            "agreed": self.agreed,
            "disagreed": self.disagreed,
            "seen": list(self.seen),
            "version": self.version,
        }


def ladder_of(policy: NearPolicy) -> tuple[float, ...]:
    """Thresholds from the configured one up: the guard tightens along them, and never gets looser than the first."""
    return _RUNGS[policy.likeness][_FIRST_RUNG[policy.strictness] :]


def guard_of(policy: NearPolicy, stored: Mapping[str, Any] | None) -> NearGuard:
    """The stored guard; a new one if there is none, or it is malformed or from another policy."""
    ladder = ladder_of(policy)
    new = NearGuard(WrongHitBound(ladder, limit=policy.wrong_hits))
    if stored is None:
        return new
    version = 0
    try:
        version = int(stored.get("version", 0))
        if tuple(map(float, stored["ladder"])) != ladder or float(stored["limit"]) != policy.wrong_hits:
            return replace(new, version=version)
        bound = replace(
            new.bound,
            step=int(stored["step"]),
            agreed=int(stored["step_agreed"]),
            disagreed=int(stored["step_disagreed"]),
        )
        return NearGuard(bound, tuple(stored["seen"]), int(stored["agreed"]), int(stored["disagreed"]), version)
    except (KeyError, TypeError, ValueError):
        return replace(new, version=version)
