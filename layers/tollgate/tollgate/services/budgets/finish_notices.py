"""Publishes the notices of crossed thresholds that whoever saw them crossed could not publish."""

from decimal import Decimal

from tollgate.domain.budgets.notices import RETRY
from tollgate.domain.errors import StorageError
from tollgate.ports.money import BudgetNotices, Ledger
from tollgate.ports.system import Clock, Telemetry

_AT_ONCE = 25


class NoticeFinisher:
    """What the schedule does about notices; one call publishes as many as it can, and stops at the first failure."""

    def __init__(self, *, ledger: Ledger, notices: BudgetNotices, telemetry: Telemetry, clock: Clock) -> None:
        self._ledger = ledger
        self._notices = notices
        self._telemetry = telemetry
        self._clock = clock

    def finish(self) -> int:
        """Publish what is due; how many were. Never raises: what is left is tried at the next call.

        A topic that is down is asked once in a call, however many notices wait.
        """
        published = 0
        try:
            now = self._clock.now()
            for notice in self._ledger.open_notices(limit=_AT_ONCE):
                if notice.due > now or not self._ledger.postpone_notice(notice, now + RETRY):
                    continue
                # Whoever opened it may have died before the mark, without which it would be opened again.
                self._ledger.tell_once(notice.document["counter"], Decimal(notice.document["at_percent"]))
                self._notices.send(notice.document)
                self._ledger.close_notice(notice.notice_id)
                self._telemetry.log("WARNING", "budget notice published late", id=notice.notice_id)
                published += 1
        except StorageError as error:
            self._telemetry.count("BudgetNoticeDelayed")
            self._telemetry.log("WARNING", "budget notices delayed", reason=error.message)
        return published
