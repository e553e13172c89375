"""Spend brakes: how far the gateway is slowed down, why, and until when.

A signal (a budget's alert, an alarm, a counter of the ledger, a person) says how far to brake. Each source that keeps a
brake on is a cause; the strongest cause that is neither over nor dismissed decides. Signals may come twice, late and in
any order: a signal that repeats its cause changes nothing, and one about a period that is over is ignored.
"""

from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from fnmatch import fnmatchcase

from tollgate.domain.catalogue import Catalogue, Deployment, Model

CAUSE_PERSON = "person"


class BrakeLevel(IntEnum):
    """How far spending is slowed down; each level includes those before it.

    `WARN` only notifies. `DOWNGRADE` sends requests to the smallest tier of their model, `DEFER` one road further down.
    `STOP` refuses new work and takes down what costs money while it stands.
    """

    NONE = 0
    WARN = 1
    DOWNGRADE = 2
    DEFER = 3
    STOP = 4

    @property
    def word(self) -> str:
        """The name used in catalogues, records and messages."""
        return self.name.lower()

    @staticmethod
    def of(word: str) -> "BrakeLevel":
        """The level with this word.

        Raises:
            ValueError: there is none.
        """
        for level in BrakeLevel:
            if level.word == word:
                return level
        raise ValueError(f"'{word[:50]}' is no brake level")


@dataclass(frozen=True, slots=True)
class BrakeStep:
    """The level that holds from `at_percent` of a budget on."""

    at_percent: Decimal
    level: BrakeLevel


@dataclass(frozen=True, slots=True)
class BrakePolicy:
    """What the owner has decided beforehand.

    Attributes:
        steps: in ascending order of percent.
        budgets: patterns for the names of AWS Budgets whose alerts count.
        forecasts: the highest level that a forecast may call for.
        alarms: levels by pattern for the names of CloudWatch alarms; the first that matches counts.
        critical: models or ``model/deployment`` that are never slowed down, refused or taken down.
        webhook_url: called on every change; empty for none.
    """

    steps: tuple[BrakeStep, ...]
    budgets: tuple[str, ...] = ("*",)
    forecasts: BrakeLevel = BrakeLevel.WARN
    alarms: tuple[tuple[str, BrakeLevel], ...] = ()
    critical: frozenset[str] = frozenset()
    webhook_url: str = ""

    def level_at(self, percent: Decimal) -> BrakeLevel:
        """The level at this percentage of a budget."""
        return max((s.level for s in self.steps if percent >= s.at_percent), default=BrakeLevel.NONE)

    def hears_budget(self, name: str) -> bool:
        """Whether alerts of this AWS Budget count."""
        return any(fnmatchcase(name, pattern) for pattern in self.budgets)

    def level_of_alarm(self, name: str) -> BrakeLevel | None:
        """The level that a CloudWatch alarm of this name calls for; None if it is not a brake."""
        return next((level for pattern, level in self.alarms if fnmatchcase(name, pattern)), None)

    def is_critical(self, deployment: Deployment) -> bool:
        """Whether a deployment is exempt."""
        return deployment.resource in self.critical or deployment.model in self.critical


@dataclass(frozen=True, slots=True)
class Signal:
    """One message about spending.

    Attributes:
        cause: its source: ``budget:NAME``, ``alarm:NAME``, ``ledger:COUNTER``, ``person``.
        until: end of the period that it is about; None for no end.
        is_state: the newest message of its cause counts, up or down. Otherwise a cause only ever brakes further within
            its period, as spend only grows.
    """

    cause: str
    level: BrakeLevel
    observed_at: datetime
    until: datetime | None
    reason: str
    is_state: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """The latest signal of a cause. `dismissed`: a person resumed; only a higher level or a new period counts again."""

    level: BrakeLevel
    observed_at: datetime
    until: datetime | None
    reason: str
    dismissed: bool = False

    def holds(self, now: datetime) -> bool:
        """Whether it keeps a brake on."""
        return not self.dismissed and not self.is_over(now)

    def is_over(self, now: datetime) -> bool:
        """Whether its period has ended."""
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True)
class Control:
    """The record of the brakes.

    Attributes:
        revision: of the record; 0 before it is first stored.
        level: in force at the gateway. Raised at once, lowered when the undoing of its steps begins.
        episode: names the time from the first braking to the resume; empty while no brake is on.
        announced: the level that people were last notified of.
        lease_until: until when a function is at work on the steps.
    """

    revision: int = 0
    level: BrakeLevel = BrakeLevel.NONE
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    episode: str = ""
    causes: Mapping[str, Cause] = field(default_factory=dict)
    announced: BrakeLevel = BrakeLevel.NONE
    lease_until: datetime | None = None

    def wanted(self, now: datetime) -> BrakeLevel:
        """The level that the causes call for."""
        return max((cause.level for cause in self.causes.values() if cause.holds(now)), default=BrakeLevel.NONE)

    def strongest(self, now: datetime) -> Cause | None:
        """The cause that calls for that level; of several, the one that lasts longest."""
        wanted = self.wanted(now)
        held = [cause for cause in self.causes.values() if cause.holds(now) and cause.level is wanted]
        return max(held, key=lambda cause: (cause.until is None, cause.until or now), default=None)


NO_CONTROL = Control()


def heard(control: Control, signal: Signal, now: datetime) -> Control:
    """The record after a signal; the same object when it changes nothing."""
    if signal.until is not None and now >= signal.until:
        return control
    known = control.causes.get(signal.cause)
    if known is not None and not _is_news(known, signal):
        return control
    if known is None and signal.level is BrakeLevel.NONE and not signal.is_state:
        return control  # The end of an alarm is kept, so that its beginning is ignored if it comes late.
    kept = known is not None and known.dismissed and known.until == signal.until and signal.level <= known.level
    cause = Cause(signal.level, signal.observed_at, signal.until, signal.reason, dismissed=kept)
    return replace(control, causes={**control.causes, signal.cause: cause})


def _is_news(known: Cause, signal: Signal) -> bool:
    if signal.is_state:
        return signal.observed_at > known.observed_at
    if signal.until == known.until:
        return signal.level > known.level
    return signal.observed_at > known.observed_at


def dismissed(control: Control, now: datetime) -> Control:
    """The record after a person has resumed work: no present cause counts any more."""
    causes = {name: replace(cause, dismissed=True) for name, cause in control.causes.items() if not cause.is_over(now)}
    return replace(control, causes=causes)


def raised(control: Control, now: datetime, episode: str) -> Control:
    """The record with the wanted level in force, if that is a higher one; the same object otherwise."""
    wanted, strongest = control.wanted(now), control.strongest(now)
    if wanted <= control.level or strongest is None:
        return control
    return replace(
        control,
        level=wanted,
        reason=strongest.reason,
        since=now,
        until=strongest.until,
        episode=control.episode or episode,
    )


def lowered(control: Control, now: datetime) -> Control:
    """The record with the wanted level in force, if that is a lower one; causes that are over are forgotten.

    The episode stays until all its steps are undone: an endpoint needs minutes to start, and the gateway need not wait
    for it, since requests are meanwhile accepted to run later.
    """
    wanted, strongest = control.wanted(now), control.strongest(now)
    if wanted >= control.level:
        return control
    causes = {name: cause for name, cause in control.causes.items() if not cause.is_over(now)}
    return replace(
        control,
        level=wanted,
        reason=strongest.reason if strongest is not None else "",
        since=now,
        until=strongest.until if strongest is not None else None,
        causes=causes,
    )


def closed(control: Control) -> Control:
    """The record after the last step of an episode was undone."""
    return replace(control, episode="") if control.level is BrakeLevel.NONE else control


def critical_part(model: Model, policy: BrakePolicy) -> Model | None:
    """The model with only its critical deployments that get traffic; None if there are none."""
    kept = tuple(d for d in model.deployments if d.weight > 0 and policy.is_critical(d))
    return replace(model, deployments=kept) if kept else None


def stops(level: BrakeLevel, catalogue: Catalogue, resource: str) -> bool:
    """Whether work for a deployment has to wait under this level."""
    if level is not BrakeLevel.STOP or catalogue.brakes is None:
        return False
    model, _, _ = resource.partition("/")
    return not catalogue.brakes.critical & {resource, model}
