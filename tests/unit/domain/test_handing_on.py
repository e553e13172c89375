"""What waits is worth a start, or is handed on to the tokens."""

import math
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tollgate.domain.places.handing_on import FirstDue, Patient, Stays, hand_on_due, needed_anyway
from tollgate.domain.places.wake_by_deadline import DueWork, SleepingEndpoint, decide_start

ENDPOINT = SleepingEndpoint(startup_seconds=300.0, concurrency=4, maximum=2, margin_seconds=40.0)
START_USD = 0.12
LOOK = 60.0


class Listed:
    """Requests as (came, latest start, seconds, dollars saved, whether they may go), in order of latest start."""

    def __init__(self, rows: Iterable[tuple[float, float, float, float, bool]]) -> None:
        self.rows = sorted(rows, key=lambda row: row[1])
        self.gone: list[tuple[float, float, float, float, bool]] = []

    def first_due(self) -> FirstDue | None:
        return FirstDue(*self.rows[0][:2]) if self.rows else None

    def work_until(self, soon: float) -> Iterable[DueWork]:
        ahead = sum(row[2] for row in self.rows) / ENDPOINT.concurrency
        return [DueWork(latest, work) for _, latest, work, _, _ in self.rows if latest <= soon + ahead]

    def one_is_enough_until(self, endpoint: SleepingEndpoint) -> float:
        work = [DueWork(latest, work) for _, latest, work, _, _ in self.rows]
        return decide_start(-math.inf, work, (), endpoint).look_again_at

    def saved_until(self, latest: float) -> float:
        return sum(row[3] for row in self.rows if row[1] <= latest)

    def patient_after(self, latest: float) -> Patient | None:
        rows = [row for row in self.rows if row[1] > latest]
        return Patient(*rows[0][:2], sum(row[3] for row in rows)) if rows else None

    def may_hand_on(self) -> bool:
        return self.rows[0][4]

    def hand_on(self) -> None:
        self.gone.append(self.rows.pop(0))


def left(now: float, *rows: tuple[float, float, float, float, bool]) -> int:
    """How many still wait after a look."""
    waiting = Listed(rows)
    hand_on_due(now, now + LOOK, waiting, ENDPOINT, START_USD)
    return len(waiting.rows)


def test_one_that_is_due_is_handed_on_and_one_that_is_not_waits() -> None:
    """A start takes 300 s, 40 more are kept free, and the next look is in a minute."""
    assert left(0.0, (0.0, 401.0, 1.0, 0.001, True)) == 1
    assert left(0.0, (0.0, 399.0, 1.0, 0.001, True)) == 0


def test_those_that_save_a_start_together_stay() -> None:
    """Twelve cents are its price."""
    assert left(0.0, *[(0.0, 390.0, 1.0, 0.02, True)] * 5) == 0
    assert left(0.0, *[(0.0, 390.0, 1.0, 0.021, True)] * 6) == 6


def test_only_those_count_that_are_due_before_the_present_wait_has_passed_again() -> None:
    """Who has waited for 100 s hopes for company for 100 s more."""
    first, others = (-100.0, 390.0, 1.0, 0.001, True), [(0.0, 480.0, 1.0, 0.2, True), (0.0, 500.0, 1.0, 0.2, True)]
    assert left(0.0, first, others[0]) == 2
    assert left(0.0, first, others[1]) == 1


def test_a_start_that_the_patient_pay_for_comes_early_for_little() -> None:
    """They have used most of their patience, so that the first needs to save only the rest of the start."""
    patient = (-7_000.0, 2_000.0, 1.0, 0.13, True)
    assert left(0.0, (-100.0, 390.0, 1.0, 0.03, True), patient) == 2
    assert left(0.0, (-100.0, 390.0, 1.0, 0.01, True), patient) == 1
    assert needed_anyway(0.0, None, ENDPOINT, START_USD) == 0.0
    assert needed_anyway(0.0, Patient(-10.0, 500.0, 0.0001), ENDPOINT, START_USD) == 0.0
    for patient_for in (300.0, 330.0, 335.0):  # They should begin before they came, at once, or have to by now.
        assert needed_anyway(0.0, Patient(-10.0, patient_for, 1.0), ENDPOINT, START_USD) == 1.0


def test_work_that_must_begin_long_before_it_is_due_is_weighed_too() -> None:
    """Eight times 100 s on four places: begun when the last of them are due, most of them would be late."""
    assert left(0.0, *[(0.0, 500.0, 100.0, 0.001, True)] * 8) == 3
    assert left(0.0, *[(0.0, 500.0, 100.0, 0.02, True)] * 8) == 8
    assert left(0.0, *[(0.0, 900.0, 100.0, 0.001, True)] * 8) == 8


def test_what_a_start_costs_now_is_weighed_not_what_it_would_cost_at_the_next_look() -> None:
    """One instance is still enough, and will be started at a closer look; a minute later it would take two."""
    rows = [(0.0, 500.0, 120.0, 0.03, True)] * 5
    work = [DueWork(latest, seconds) for _, latest, seconds, _, _ in rows]
    assert decide_start(0.0, work, (), ENDPOINT).start == 0
    assert decide_start(LOOK, work, (), ENDPOINT).start == 2
    assert left(0.0, *rows) == 5


def test_as_many_starts_are_paid_for_as_the_work_needs() -> None:
    """Five that save 15.5 cents need two instances, for 24; without the first, one for 12 is enough."""
    rows = [(0.0, 400.0, 100.0, 0.031, True)] * 5
    work = [DueWork(latest, seconds) for _, latest, seconds, _, _ in rows]
    assert [decide_start(0.0, work[gone:], (), ENDPOINT).start for gone in (0, 1)] == [2, 1]
    assert left(0.0, *rows) == 4


@pytest.mark.parametrize("clock", [0.0, 1_000_000.0])
def test_why_it_ended(clock: float) -> None:
    """Nothing more is due, a start pays, or an instance has to come; by whatever clock the times are given."""
    cases: list[tuple[Stays, int, list[tuple[float, float, float, float, bool]]]] = [
        (Stays.NOT_DUE, 1, [(0.0, 390.0, 1.0, 0.001, True), (0.0, 500.0, 1.0, 0.2, True)]),
        (Stays.NOT_DUE, 0, [(0.0, 390.0, 1.0, 0.001, True)]),
        (Stays.START_PAYS, 2, [(-100.0, 390.0, 1.0, 0.001, True), (0.0, 480.0, 1.0, 0.2, True)]),
        (Stays.ONLY_INSTANCE, 1, [(0.0, 390.0, 1.0, 0.001, False)]),
    ]
    for why, stay, rows in cases:
        waiting = Listed((came + clock, latest + clock, work, saved, may) for came, latest, work, saved, may in rows)
        assert hand_on_due(clock, clock + LOOK, waiting, ENDPOINT, START_USD) is why
        assert len(waiting.rows) == stay


class Walked(Listed):
    """Counts how often all of the work was asked for."""

    walks = 0

    def work_until(self, soon: float) -> Iterable[DueWork]:
        self.walks += 1
        return super().work_until(soon)


def test_a_crowd_that_goes_is_not_gone_through_again_for_each() -> None:
    """How many instances they need matters only where one would pay for itself."""
    cheap = Walked([(0.0, 390.0, 1.0, 0.0001, True)] * 300)
    hand_on_due(0.0, LOOK, cheap, ENDPOINT, START_USD)
    assert (len(cheap.gone), cheap.walks) == (300, 0)
    late = Walked([(0.0, 390.0, 100.0, 0.01, True)] * 300)
    hand_on_due(0.0, LOOK, late, ENDPOINT, START_USD)
    assert (len(late.gone), late.walks) == (0, 1)


def test_who_may_not_go_keeps_all_behind_it() -> None:
    """An instance has to come for it."""
    assert left(0.0, (0.0, 380.0, 1.0, 0.001, False), (0.0, 390.0, 1.0, 0.001, True)) == 2


@example([(0.0, 401.0, 4.0, 0.0, True)])
@given(
    st.lists(
        st.tuples(st.floats(-900, 0), st.floats(100, 3_000), st.floats(0.1, 200), st.floats(0, 0.2), st.booleans()),
        max_size=12,
    )
)
def test_what_stays_is_not_due_or_is_worth_a_start(rows: list[tuple[float, float, float, float, bool]]) -> None:
    """Nobody who stays has to be begun before the next look, unless a start pays or has to come."""
    waiting = Listed(rows)
    hand_on_due(0.0, LOOK, waiting, ENDPOINT, START_USD)
    assert sorted(waiting.rows + waiting.gone) == sorted(rows)
    assert all(row[4] for row in waiting.gone)
    due = [DueWork(latest, work) for _, latest, work, _, _ in waiting.rows]
    if decide_start(LOOK, due, (), ENDPOINT).start and waiting.rows[0][4]:
        first, starts = waiting.rows[0], max(1, decide_start(0.0, due, (), ENDPOINT).start)
        counted = waiting.saved_until(first[1] - first[0])
        anyway = needed_anyway(0.0, waiting.patient_after(first[1] - first[0]), ENDPOINT, START_USD)
        assert counted >= START_USD * starts * (1 - anyway) - 1e-9
