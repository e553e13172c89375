"""Counters and runs in memory."""

from collections.abc import Mapping, Sequence
from copy import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.domain.budgets.ledger import Change, Counter, LedgerWrite, Told, WorkflowCall, apply
from tollgate.domain.budgets.notices import OpenNotice
from tollgate.domain.errors import LedgerRefusedError, OutcomeUnknownError, StorageError


class InMemoryLedger:
    """The `Ledger` of tests.

    Attributes:
        counters: by name.
        writes: how many calls wrote something or were refused.
        lose_answers: so many of the next writes are done although an error says that nobody knows.
        fail: so many of the next writes are not done.
    """

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self.calls: dict[tuple[str, str, str], WorkflowCall] = {}
        self.notices: dict[str, OpenNotice] = {}
        self.writes = 0
        self.reads = 0
        self.lose_answers = 0
        self.fail = 0

    def write(self, writes: Sequence[LedgerWrite]) -> Mapping[str, Told]:
        self.writes += 1
        if self.fail:
            self.fail -= 1
            raise StorageError("throttled")
        refused: dict[int, Counter] = {}
        done: dict[str, Counter] = {}
        for number, change in enumerate(writes):
            if isinstance(change, Change):
                assert change.counter not in done, "a transaction may touch an item once"
                after = apply(self.counters.get(change.counter), change)
                if after is None:
                    refused[number] = self.counters.get(change.counter, Counter())
                else:
                    done[change.counter] = after
        if refused:
            raise LedgerRefusedError(refused)
        self.counters |= done
        for call in writes:
            if isinstance(call, WorkflowCall):
                self.calls[call.tenant, call.workflow, call.inference_id] = call
        if self.lose_answers:
            self.lose_answers -= 1
            raise OutcomeUnknownError("no answer")
        (first, *others) = writes
        if others or not isinstance(first, Change):
            return {}
        after = done[first.counter]
        return {first.counter: Told(after.committed, after.calls if first.calls else None)}

    def read(self, counters: Sequence[str], *, consistent: bool = False) -> Mapping[str, Counter]:
        assert consistent in {True, False}
        assert len(counters) <= 100, "DynamoDB reads no more at once"
        self.reads += 1
        return {name: self.counters[name] for name in counters if name in self.counters}

    def tell_once(self, counter: str, at_percent: Decimal) -> bool:
        before = self.counters.get(counter, Counter())
        self.counters[counter] = before._replace(told=before.told | {at_percent})
        return at_percent not in before.told

    def open_notice(self, notice: OpenNotice) -> bool:
        if notice.notice_id in self.notices:
            return False
        self.notices[notice.notice_id] = notice
        return True

    def open_notices(self, *, limit: int) -> Sequence[OpenNotice]:
        return [notice for _, notice in sorted(self.notices.items())][:limit]

    def postpone_notice(self, notice: OpenNotice, due: datetime) -> bool:
        stored = self.notices.get(notice.notice_id)
        if stored is None or stored.due != notice.due:
            return False
        self.notices[notice.notice_id] = replace(notice, due=due)
        return True

    def close_notice(self, notice_id: str) -> None:
        self.notices.pop(notice_id, None)

    def call(self, tenant: str, workflow: str, inference_id: str) -> WorkflowCall | None:
        return self.calls.get((tenant, workflow, inference_id))

    def calls_of(self, tenant: str, workflow: str, *, limit: int) -> Sequence[WorkflowCall]:
        found = [call for key, call in sorted(self.calls.items()) if key[:2] == (tenant, workflow)]
        return found[:limit]


class RecordingNotices:
    """The `BudgetNotices` of tests.

    Attributes:
        fail: so many of the next notices are not published.
        lose_answers: so many of the next ones are published although an error says that nobody knows.
    """

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.tries = 0
        self.fail = 0
        self.lose_answers = 0

    def send(self, notice: Mapping[str, Any]) -> None:
        self.tries += 1
        if self.fail:
            self.fail -= 1
            raise StorageError("no topic")
        self.sent.append(dict(notice))
        if self.lose_answers:
            self.lose_answers -= 1
            raise StorageError("no answer")
