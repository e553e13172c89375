"""Failures on demand: what to break, where, how, and how often."""

import asyncio
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from local.sagemaker.wire import Json, ServiceError

KINDS = ("error", "latency", "capacity", "timeout_after_work", "abandon", "drop", "duplicate")


@dataclass(slots=True)
class Fault:
    """One rule. The first rule that matches and has turns left is used.

    Attributes:
        op: where it strikes: `invoke`, `invoke_stream`, `invoke_async` (acceptance), `async_work`,
            `transform_record`, `start` (instances coming up), `sns`, `eventbridge`, `converse`,
            `converse_stream`, `provider`, or the name of a control-plane action. Shell wildcards are allowed
            here and in `endpoint`.
        endpoint: the endpoint, component, transform job or, for the last three named, model it concerns.
        kind: `error` (status, code, message), `latency` (seconds, then as normal), `capacity` (instances do
            not come), `timeout_after_work` (the model ran, the caller hears of a time-out), `abandon` (the
            model ran, the connection is closed without an answer), `drop` and `duplicate` (of a message).
        count: how many times it strikes; None is for ever.
    """

    op: str
    kind: str
    endpoint: str = "*"
    status: int = 500
    code: str = "InternalFailure"
    message: str = "Injected failure."
    seconds: float = 0.0
    count: int | None = 1
    used: int = 0

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Read a rule from JSON.

        Raises:
            ServiceError: 400, the rule has unknown members or an unknown kind.
        """
        try:
            fault = cls(**document)
        except TypeError as error:
            raise ServiceError(400, "ValidationException", f"Not a fault: {error}") from error
        if fault.kind not in KINDS:
            raise ServiceError(400, "ValidationException", f"kind must be one of {', '.join(KINDS)}")
        return fault

    def matches(self, op: str, endpoint: str) -> bool:
        """Tell whether this rule has a turn left for the operation on the endpoint."""
        has_turn = self.count is None or self.used < self.count
        return has_turn and fnmatchcase(op, self.op) and fnmatchcase(endpoint, self.endpoint)


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []

    def replace(self, rules: list[Fault]) -> None:
        """Put new rules in place of the old."""
        self._rules = rules

    def add(self, rules: list[Fault]) -> None:
        """Add rules behind those in force."""
        self._rules.extend(rules)

    def listing(self) -> list[Json]:
        """Return the rules as JSON, with how often each was used."""
        return [asdict(rule) for rule in self._rules]

    def take(self, op: str, endpoint: str, *kinds: str) -> Fault | None:
        """Return the first rule that strikes here, counting it as used; None when nothing strikes."""
        for rule in self._rules:
            if (not kinds or rule.kind in kinds) and rule.matches(op, endpoint):
                rule.used += 1
                return rule
        return None

    async def strike(self, op: str, endpoint: str) -> None:
        """Wait out a latency rule and raise an error rule, if any applies.

        Raises:
            ServiceError: the error of the rule.
        """
        slow = self.take(op, endpoint, "latency")
        if slow:
            await asyncio.sleep(slow.seconds)
        broken = self.take(op, endpoint, "error")
        if broken:
            members = {"OriginalStatusCode": 500, "OriginalMessage": broken.message}
            extra = members if broken.code == "ModelError" else {}
            raise ServiceError(broken.status, broken.code, broken.message, extra)
