"""Holding money for a request: how much is held, what gives way, what is noted, and what a refusal says."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.domain.budgets.budget import (
    Budget,
    BudgetPeriod,
    ScopeKind,
    Spender,
    applied_budgets,
    period_end,
)
from tollgate.domain.budgets.ledger import Counter, LedgerWrite, Reservation, Told, own_slot
from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.errors import (
    BudgetExceededError,
    LedgerRefusedError,
    OutcomeUnknownError,
    OverLimitError,
    StorageError,
)
from tollgate.services.budgets.make_reservation import ReservationMaker
from tollgate.services.budgets.watch import BudgetWatch

_SPENDER = Spender("acme", "key_1", "search", "echo", "run")
_CENT = Decimal("0.01")


def _budget(
    limit: str | None = "1",
    kind: ScopeKind = ScopeKind.GATEWAY,
    period: BudgetPeriod = BudgetPeriod.DAY,
    *,
    shadow: bool = False,
    max_calls: int | None = None,
) -> Budget:
    subject = "" if kind is ScopeKind.GATEWAY else "*"
    usd = None if limit is None else Decimal(limit)
    return Budget(kind, subject, period, usd, shadow=shadow, max_calls=max_calls)


class _Desk:
    """The maker over a ledger in memory; a request is held for a minute."""

    def __init__(self, *budgets: Budget) -> None:
        self.ledger = InMemoryLedger()
        self.telemetry = RecordingTelemetry()
        self.clock = ManualClock()
        self.watch = BudgetWatch(ledger=self.ledger, telemetry=self.telemetry, clock=self.clock, notices=None)
        self.doubtful: list[Reservation] = []
        self.applied = applied_budgets(budgets, _SPENDER, self.clock.now())
        self.maker = ReservationMaker(
            ledger=self.ledger,
            telemetry=self.telemetry,
            clock=self.clock,
            watch=self.watch,
            in_doubt=self.doubtful.append,
        )

    @property
    def counter(self) -> Counter:
        """The first budget's."""
        return self.ledger.counters.get(self.applied[0].counter, Counter())

    def put(self, **values: object) -> None:
        """Have the first budget's counter stand like this."""
        self.ledger.counters[self.applied[0].counter] = Counter()._replace(**values)  # type: ignore[arg-type]

    def hold(
        self,
        *asks: Ask | str,
        request: str = "inf_0000000001",
        write: Callable[[Sequence[LedgerWrite]], Mapping[str, Told]] | None = None,
    ) -> Reservation:
        """A reservation of the first ask that fits."""
        slot = own_slot(request, self.clock.now() + timedelta(minutes=1))
        wanted = [ask if isinstance(ask, Ask) else Ask(Decimal(ask), 1.0) for ask in asks]
        done = write or self.ledger.write
        return self.maker.make(self.applied, wanted, Reservation(slot, Decimal(0), ()), lambda _, writes: done(writes))


@pytest.mark.parametrize(("limit", "full"), [("1000", True), ("999", False)])
def test_a_request_is_held_whole_where_it_is_a_thousandth_of_every_limit(limit: str, full: bool) -> None:
    """Of those that are enforced; the others, and limits of a single request, do not count."""
    desk = _Desk(
        _budget(limit),
        _budget("1", ScopeKind.TEAM, shadow=True),
        _budget("1", ScopeKind.KEY, BudgetPeriod.REQUEST),
        _budget(None, ScopeKind.MODEL, max_calls=9),
    )
    made = desk.hold(Ask(Decimal(1), 30.0, full=True), "0.1")
    assert (made.amount, made.seconds) == ((Decimal(1), 30.0) if full else (Decimal("0.1"), 1.0))


@pytest.mark.parametrize(("committed", "amount"), [("899", "1"), ("899.01", "0.1"), ("999.9", "0.1")])
def test_whole_requests_leave_a_tenth_of_the_limit_to_others(committed: str, amount: str) -> None:
    """Beyond it estimates are held, up to the limit."""
    desk = _Desk(_budget("1000"))
    desk.put(committed=Decimal(committed), spent=Decimal(committed))
    made = desk.hold(Ask(Decimal(1), 30.0, full=True), "0.1")
    assert made.amount == Decimal(amount)


def test_every_ask_but_the_last_may_be_refused() -> None:
    """The largest that fits is held, and the counter says so."""
    desk = _Desk(_budget("1"))
    made = desk.hold("3", "2", "1", "0.5")
    assert made.amount == 1
    assert desk.counter == Counter(committed=Decimal(1), calls=1, slots={made.slot: Decimal(1)})
    assert desk.telemetry.counts == {}


def test_a_limit_of_one_request_takes_out_what_is_more() -> None:
    """Up to the cent; in shadow mode it only says so."""
    tight = _budget("0.5", ScopeKind.KEY, BudgetPeriod.REQUEST)
    assert _Desk(_budget("9"), tight).hold("0.51", "0.5", "0.1").amount == Decimal("0.5")
    assert _Desk(tight, _budget("9")).hold("0.5").amount == Decimal("0.5")
    with pytest.raises(OverLimitError, match=r"A request may cost \$0\.5; this one may cost \$0\.51\. It never fits"):
        _Desk(_budget("9"), tight).hold("0.6", "0.51")
    watching = _Desk(tight._replace(shadow=True), _budget("9"))
    assert watching.hold("0.6").amount == Decimal("0.6")
    assert watching.telemetry.counts == {"BudgetShadowRefused": 1}
    assert watching.hold("0.6", "0.5", request="inf_0000000002").amount == Decimal("0.6")
    assert watching.telemetry.counts == {"BudgetShadowRefused": 1}


def test_the_limit_of_one_request_is_looked_for_among_all_budgets() -> None:
    """Whichever comes first."""
    desk = _Desk(
        _budget("9"), _budget(None, ScopeKind.TEAM, max_calls=5), _budget("1", ScopeKind.KEY, BudgetPeriod.REQUEST)
    )
    with pytest.raises(OverLimitError):
        desk.hold("2")


def test_shadow_mode_refuses_nothing_and_notes_what_did_not_fit() -> None:
    """By the least that would have been asked for; as a metric, a line and in the counter."""
    desk = _Desk(_budget("1", shadow=True))
    assert desk.hold("0.9", "0.6").amount == Decimal("0.9")
    assert desk.telemetry.counts == {}
    assert desk.hold("0.5", "0.1", request="inf_0000000002").amount == Decimal("0.5")
    assert desk.telemetry.counts == {}, "a tenth would have fitted"
    assert desk.hold("0.5", "0.1", request="inf_0000000003").amount == Decimal("0.5")
    assert desk.telemetry.counts == {"BudgetShadowRefused": 1}
    assert desk.telemetry.lines == [
        ("INFO", "budget would have refused", {"budget": "gateway", "period": "day"}),
    ]
    assert (desk.counter.committed, desk.counter.calls, desk.counter.shadow_refusals) == (Decimal("1.9"), 3, 1)


def test_an_enforced_budget_refuses_though_another_only_watches() -> None:
    """Nothing is held anywhere, and nothing is noted as a refusal of the other."""
    desk = _Desk(_budget("0.5", shadow=True), _budget("1", ScopeKind.TEAM))
    with pytest.raises(BudgetExceededError, match="team"):
        desk.hold("1.5")
    assert desk.ledger.counters == {}
    assert desk.telemetry.counts == {"BudgetRefused": 1}


def test_holds_that_ran_out_are_given_back_first() -> None:
    """Then the dearest ask may fit after all."""
    desk = _Desk(_budget("1"))
    old = own_slot("inf_old0000000", desk.clock.now() - timedelta(minutes=9))
    desk.put(committed=Decimal("0.9"), spent=Decimal("0.1"), slots={old: Decimal("0.8")})
    assert desk.hold("0.9", "0.1").amount == Decimal("0.9")
    assert desk.counter.released == Decimal("0.8")
    assert desk.telemetry.counts == {"BudgetHoldReleased": 1}


def test_an_answer_that_was_lost_is_told_and_raised() -> None:
    """Somebody has to give back what may have been held."""
    desk = _Desk(_budget("1"))
    desk.ledger.lose_answers = 1
    with pytest.raises(OutcomeUnknownError):
        desk.hold("0.5")
    assert [(each.amount, each.slot in desk.counter.slots) for each in desk.doubtful] == [(Decimal("0.5"), True)]


def test_a_repeated_write_that_finds_its_own_hold_went_through() -> None:
    """Its first answer was lost on the way; nothing is held twice."""
    desk = _Desk(_budget("1"))
    made = desk.hold("0.5")
    assert desk.hold("0.5") == made
    assert (desk.counter.committed, desk.counter.calls) == (Decimal("0.5"), 1)


def test_counters_that_never_stand_still_are_given_up() -> None:
    """To be tried again soon."""
    desk = _Desk(_budget("1"))
    moment = desk.clock.now() - timedelta(minutes=9)

    def never(_writes: Sequence[LedgerWrite]) -> Mapping[str, Told]:
        raise LedgerRefusedError({0: Counter(slots={own_slot("inf_other00000", moment): _CENT})})

    asks = [str(Decimal(9) - number * _CENT) for number in range(20)]
    with pytest.raises(StorageError, match="busy"):
        desk.hold(*asks, write=never)


@pytest.mark.parametrize(
    ("counter", "ask", "said"),
    [
        (Counter(calls=3), "0.1", "It allows 3 calls."),
        (Counter(), "1.01", "Its limit is $1, and this one may cost $1.01: it never fits."),
        (
            Counter(committed=Decimal("0.95"), spent=Decimal("0.25")),
            "0.1",
            (
                "Its limit is $1; $0.25 are spent and $0.7 held for requests under way. This one may cost $0.1. "
                "It starts anew at 2026-03-02T00:00Z."
            ),
        ),
    ],
)
def test_a_refusal_says_why(counter: Counter, ask: str, said: str) -> None:
    """And counts itself."""
    desk = _Desk(_budget("1", max_calls=3))
    desk.put(**counter._asdict())
    with pytest.raises((BudgetExceededError, OverLimitError)) as refused:
        desk.hold(ask)
    assert refused.value.message == f"The daily budget 'gateway' refuses this request. {said}"
    assert desk.telemetry.counts.pop("BudgetRefused") == 1


@pytest.mark.parametrize(
    ("counter", "period", "wait"),
    [
        # Half is held and comes back within seconds; a limit of calls does not.
        ({"committed": Decimal("0.7"), "spent": Decimal("0.5")}, BudgetPeriod.DAY, 2),
        ({"committed": Decimal("0.8"), "spent": Decimal("0.51")}, BudgetPeriod.DAY, 12 * 3600),
        ({"calls": 3}, BudgetPeriod.DAY, 12 * 3600),
        ({"calls": 3}, BudgetPeriod.TOTAL, 86_400),
    ],
)
def test_a_refusal_says_when_to_come_again(counter: dict[str, object], period: BudgetPeriod, wait: int) -> None:
    """Soon if it only waits for requests under way, otherwise in the next period, if there is one."""
    desk = _Desk(_budget("1", period=period, max_calls=3))
    desk.put(**counter)
    with pytest.raises(BudgetExceededError) as refused:
        desk.hold("0.5")
    assert refused.value.retry_after == wait


@pytest.mark.parametrize(
    ("counter", "ask", "announced"),
    [
        ({"calls": 3}, "0.1", True),
        ({"committed": Decimal("0.95"), "spent": Decimal("0.95")}, "0.1", True),
        ({"committed": Decimal("0.95"), "spent": Decimal("0.94"), "overrun": _CENT}, "0.1", True),
        ({"committed": Decimal("0.95"), "spent": Decimal("0.949")}, "0.1", False),
        ({"committed": Decimal(1), "spent": Decimal("0.95")}, "0.05", False),
        ({"committed": Decimal("0.5"), "spent": Decimal("0.5")}, "0.9", False),
    ],
)
def test_the_limit_is_reached_when_nearly_all_is_spent(counter: dict[str, object], ask: str, announced: bool) -> None:
    """And not when one request asks for a lot, or when others will give back what they hold."""
    desk = _Desk(_budget("1", max_calls=3))
    desk.put(**counter)
    with pytest.raises(BudgetExceededError):
        desk.hold(ask)
    assert bool(desk.counter.told) is announced


def test_counters_are_kept_for_forty_days_after_their_period() -> None:
    """A run has no period, so its last call counts; what counts for ever is kept for ever."""
    kinds = (
        _budget("1"),
        _budget("1", ScopeKind.WORKFLOW, BudgetPeriod.TOTAL),
        _budget("1", ScopeKind.KEY, BudgetPeriod.TOTAL),
    )
    desk = _Desk(*kinds)
    now, kept = desk.clock.now(), timedelta(days=40)
    end = period_end(BudgetPeriod.DAY, now)
    assert end is not None
    holds = desk.hold("0.1").holds
    assert [hold.ttl for hold in holds] == [int((end + kept).timestamp()), int((now + kept).timestamp()), None]


def test_what_a_write_told_is_known_afterwards() -> None:
    """Of one counter by its answer; of several, and of those that have just refused, by reckoning."""
    one = _Desk(_budget("1", max_calls=5))
    one.hold("0.25")
    assert (one.watch.committed(one.applied[0].counter), one.watch.calls(one.applied[0].counter)) == (
        Decimal("0.25"),
        1,
    )
    two = _Desk(_budget("1", max_calls=5), _budget("1", ScopeKind.KEY))
    name = two.applied[0].counter
    two.hold("0.25")
    assert two.watch.committed(name) is None
    two.watch.see({name: Told(Decimal("0.25"), 1)})
    two.hold("0.25", request="inf_0000000002")
    assert (two.watch.committed(name), two.watch.calls(name)) == (Decimal("0.5"), 2)
    two.put(committed=Decimal(1), spent=Decimal(1), calls=4)
    with pytest.raises(BudgetExceededError):
        two.hold("0.25", request="inf_0000000003")
    assert (two.watch.committed(name), two.watch.calls(name)) == (Decimal(1), 4)


def test_a_budget_without_a_counter_holds_nothing() -> None:
    """Its request is reserved in the others alone."""
    desk = _Desk(_budget("1"), _budget("1", ScopeKind.KEY, BudgetPeriod.REQUEST))
    made = desk.hold("0.25")
    assert [hold.counter for hold in made.holds] == [desk.applied[0].counter]
