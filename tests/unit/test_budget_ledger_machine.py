"""The ledger under everything that may happen to it, in any order: no counter over its limit, no cent lost."""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.fakes.clock import ManualClock
from tests.fakes.examples import OWNER, PRICES
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.budgets.ledger import LedgerWrite, Reservation, releases
from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.errors import BudgetExceededError, LedgerRefusedError, OutcomeUnknownError, StorageError
from tollgate.domain.money import ZERO
from tollgate.services.budgets.settle_reservation import settle_with
from tollgate.services.requests.admission import Admission, Admitted

_LIMITS = {
    ScopeKind.GATEWAY: Decimal("0.30"),
    ScopeKind.KEY: Decimal("0.12"),
    ScopeKind.TEAM: Decimal("0.20"),
    # So large that requests are reserved whole.
    ScopeKind.MODEL: Decimal(1000),
}
_CENTS = st.integers(1, 20).map(lambda cents: Decimal(cents).scaleb(-2))
_EVERY_LEASE = timedelta(days=10)


def _catalogue(kinds: frozenset[ScopeKind]) -> Catalogue:
    budgets = tuple(
        Budget(kind, "" if kind is ScopeKind.GATEWAY else "*", BudgetPeriod.TOTAL, _LIMITS[kind])
        for kind in ScopeKind
        if kind in kinds
    )
    return Catalogue(version=1, region="us-east-1", models={}, gateway_prices=PRICES, budgets=budgets)


class LedgerMachine(RuleBasedStateMachine):
    """Requests that reserve, settle once, twice, late or never, while writes fail and answers get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.ledger = InMemoryLedger()
        self.admission = Admission(ledger=self.ledger, telemetry=RecordingTelemetry(), clock=self.clock)
        self.names = 0
        self.live: list[Reservation] = []
        self.jobs: dict[str, Reservation] = {}
        self.ended: set[str] = set()
        self.cost: dict[str, Decimal] = {}

    @rule(kinds=st.frozensets(st.sampled_from(sorted(_LIMITS)), min_size=1), amount=_CENTS, cut=st.booleans())
    def reserve(self, kinds: frozenset[ScopeKind], amount: Decimal, cut: bool) -> None:
        """A real-time request asks for its place in some budgets."""
        asks = (Ask(amount * 5, 9.0, full=True), Ask(amount, 1.0)) if cut else (Ask(amount, 1.0),)
        self.names += 1
        try:
            held = self.admission.reserve(self._admitted(kinds), asks, inference_id=f"inf_{self.names:012d}")
        except (BudgetExceededError, StorageError):
            return
        self.live.append(held)

    @rule(kinds=st.frozensets(st.sampled_from(sorted(_LIMITS)), min_size=1), amount=_CENTS)
    def accept(self, kinds: frozenset[ScopeKind], amount: Decimal) -> None:
        """A job is written down together with its hold."""
        self.names += 1
        name = f"inf_{self.names:012d}"
        kept: list[Reservation] = []

        def add(reservation: Reservation, writes: Sequence[LedgerWrite]) -> None:
            # After a lost answer the job's record is looked for, and found.
            with contextlib.suppress(OutcomeUnknownError):
                self.ledger.write(writes)
            kept.append(reservation)

        try:
            self.admission.reserve_job(
                self._admitted(kinds), (Ask(amount),), inference_id=name, inference_type=InferenceType.ASYNC, add=add
            )
        except (BudgetExceededError, StorageError):
            return
        self.jobs[name] = kept[-1]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), share=st.integers(0, 100))
    def settle(self, data: st.DataObject, share: int) -> None:
        """A real-time request ends; the call was cut in time, so it costs no more than was held."""
        held = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        actual = held.amount * share / 100
        self._charge(held, actual)
        self.admission.settle(held, actual, "completed")

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), actual=_CENTS)
    def finish(self, data: st.DataObject, actual: Decimal) -> None:
        """A job ends, perhaps dearer than was held; the event may come again at any time."""
        name = data.draw(st.sampled_from(sorted(self.jobs)))

        def change(writes: Sequence[LedgerWrite]) -> bool:
            if name in self.ended:
                return False
            try:
                self.ledger.write(writes)
            except OutcomeUnknownError:
                self._end(name, actual)
                raise
            self._end(name, actual)
            return True

        # A function that fails here is called again with the same event.
        with contextlib.suppress(StorageError):
            settle_with(self.jobs[name], actual, "completed", change)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A function dies with its request under way and never settles: only its lease gives the hold back."""
        self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))

    @rule(seconds=st.sampled_from([1, 60, 150, 600, 86_400, 8 * 86_400]))
    def wait(self, seconds: int) -> None:
        """Time goes by; real-time requests that are still under way are over before their lease."""
        if seconds > 60:
            for held in self.live:
                self._charge(held, held.amount)
                self.admission.settle(held, held.amount, "completed")
            self.live.clear()
        if seconds >= 86_400:
            # What was delayed is tried again with every request of its environment, and none of those lives for days.
            self.ledger.fail = self.ledger.lose_answers = 0
            self.admission.settle_delayed()
        self.clock.advance(seconds)

    @rule()
    def release(self) -> None:
        """Somebody gives back the holds that ran out."""
        for name, counter in list(self.ledger.counters.items()):
            for change in releases(name, counter, self.clock.now()):
                with contextlib.suppress(StorageError, LedgerRefusedError):
                    self.ledger.write([change])

    @rule(writes=st.integers(1, 3))
    def lose_answers(self, writes: int) -> None:
        """The next writes go through and nobody hears of it."""
        self.ledger.lose_answers = writes

    @rule(writes=st.integers(1, 3))
    def throttle(self, writes: int) -> None:
        """The next writes are refused by the table."""
        self.ledger.fail = writes

    @invariant()
    def the_sum_is_what_was_spent_and_what_is_held(self) -> None:
        """At every moment, in every counter."""
        for counter in self.ledger.counters.values():
            held = sum((amount for slot, amount in counter.slots.items() if slot[0] == "h"), ZERO)
            assert counter.committed == counter.spent + held
            assert counter.spent >= ZERO

    @invariant()
    def no_limit_is_passed(self) -> None:
        """Neither by what is committed nor, therefore, by what is spent."""
        for kind, limit in _LIMITS.items():
            for name, counter in self.ledger.counters.items():
                if name.startswith(kind.value):
                    assert counter.spent <= counter.committed <= limit

    def teardown(self) -> None:
        """When all that was delayed is written, every counter has every cent of the requests that it counts."""
        self.ledger.fail = self.ledger.lose_answers = 0
        self.admission.settle_delayed()
        for name, counter in self.ledger.counters.items():
            assert counter.spent + counter.overrun == self.cost.get(name, ZERO)
        self.clock.advance(_EVERY_LEASE.total_seconds())
        self.release()
        for counter in self.ledger.counters.values():
            assert counter.committed == counter.spent, "a hold outlived its lease"

    def _charge(self, reservation: Reservation, actual: Decimal) -> None:
        for hold in reservation.holds:
            self.cost[hold.counter] = self.cost.get(hold.counter, ZERO) + actual

    def _admitted(self, kinds: frozenset[ScopeKind]) -> Admitted:
        admitted = self.admission.admit(_catalogue(kinds), OWNER, "echo")
        assert admitted is not None
        return admitted

    def _end(self, name: str, actual: Decimal) -> None:
        self.ended.add(name)
        self._charge(self.jobs[name], actual)


LedgerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


TestLedgerMachine = LedgerMachine.TestCase
