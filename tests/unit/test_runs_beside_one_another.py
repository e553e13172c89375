"""Several invocations for one job, because the submitter of the first died or was slow: each is paid, once.

What a job was told stays: who is charged for what ran beside it gets a record of its own.
"""

from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.async_endpoint import RUN_SECONDS
from tests.fakes.budgeted_gateway import DAY
from tests.fakes.crashes import CrashPoint
from tests.fakes.examples import make_job
from tests.fakes.groups import group_road, waiting_ids
from tests.fakes.money_house import MoneyHouse
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.jobs.job import JobState
from tollgate.ports.backends import AsyncSubmission
from tollgate.services.jobs.async_notice import AsyncNotice
from tollgate.services.jobs.claim_job import LEASE_SECONDS, claim_job
from tollgate.services.jobs.groups import ALONE


def _twice(count: int, *, together: bool) -> tuple[MoneyHouse, list[AsyncNotice]]:
    """Jobs whose first submitter has died, and the notices of the first and the second invocation."""
    house = MoneyHouse(together=together, busy=5)
    house.endpoint.deaths = 1
    house.accept(count, "medium")
    while len(house.endpoint.runs) < 2:
        house.step()
    return house, house.endpoint.work()


def _seconds(house: MoneyHouse) -> list[Decimal]:
    """Paid by the jobs themselves, and beside them."""
    records = house.jobs.jobs.values(), house.jobs.late.values()
    return [sum((job.held_seconds or Decimal(0) for job in jobs), Decimal(0)) for jobs in records]


@pytest.mark.parametrize("order", [(0, 0, 1, 1), (1, 1, 0, 0), (0, 1, 0, 1), (1, 0, 1, 0)])
def test_a_failed_group_is_paid_while_its_jobs_run_in_another(order: tuple[int, ...]) -> None:
    """Nobody had written down that they were in it. Both groups fail, then the jobs are answered alone."""
    house, notices = _twice(3, together=True)
    failed = [replace(notice, completed=False) for notice in notices]
    for number in order:
        house.completion.notice(failed[number])
    house.settle_down()
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.COMPLETED}
    assert len(house.jobs.late) == 3
    assert sum(_seconds(house)) == len(house.endpoint.runs) * RUN_SECONDS
    assert house.charged == house.ledger.counters[DAY].spent


def test_a_group_that_failed_beside_its_jobs_is_paid_with_its_queue_event_and_calls() -> None:
    """As it would be by jobs that were still in it: the invocation that they end with has its own."""
    house, (first, second) = _twice(3, together=True)
    house.completion.notice(replace(first, completed=False))
    parts = Decimal(0)
    for late in house.jobs.late.values():
        assert late.bill is not None
        assert late.effective_cost == late.bill.charged
        parts += late.bill.charged - (late.bill.instance or 0)
    rates = gateway_rates(house.catalogues.current().gateway_prices)
    assert parts == pytest.approx(rates.invocation(3), abs=Decimal("1E-8"))
    house.completion.notice(second)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.COMPLETED}


def test_an_answer_does_not_forget_what_another_group_has_held() -> None:
    """The second group has failed, and its share is on the jobs; then the first one answers."""
    house, (first, second) = _twice(2, together=True)
    house.completion.notice(replace(second, completed=False))
    house.completion.notice(first)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.COMPLETED}
    assert _seconds(house) == [2 * RUN_SECONDS, 0]
    house.settle_down()
    assert house.charged == house.ledger.counters[DAY].spent


@pytest.mark.parametrize("expires", [False, True])
def test_a_failure_that_is_told_again_after_another_groups_answer_costs_nothing_more(*, expires: bool) -> None:
    """One of its jobs could not be put back, so all of it comes again; meanwhile the first group has answered."""
    house, (first, second) = _twice(2, together=True)
    failed = replace(second, completed=False)
    house.completion.notice(failed)
    if expires:
        for job in list(house.jobs.jobs.values()):
            assert house.completer(CrashPoint(0)).expire(job, "No endpoint took the request in time.")
    for notice in (first, failed, first, failed):
        house.completion.notice(notice)
    assert sum(_seconds(house)) == 2 * RUN_SECONDS
    house.settle_down()
    assert house.charged == house.ledger.counters[DAY].spent


def test_a_share_that_an_earlier_release_wrote_down_is_not_charged_again() -> None:
    """It did not say in which group."""
    house, (first, second) = _twice(2, together=True)
    house.completion.notice(replace(second, completed=False))
    for name, job in house.jobs.jobs.items():
        house.jobs.jobs[name] = job._replace(batch_id=ALONE)
    house.completion.notice(replace(first, completed=False))
    assert house.jobs.late == {}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_notices_at_the_same_time_pay_for_two_runs(order: tuple[int, int], *, together: bool) -> None:
    """The one that comes second has read the job before it ended."""
    house, notices = _twice(2 if together else 1, together=together)
    one, other = (notices[number] for number in order)
    change = house.jobs.change

    def meanwhile(*values: object, **named: object) -> bool:
        house.jobs.change = change  # type: ignore[method-assign]  # only the first time
        house.completion.notice(other)
        return change(*values, **named)  # type: ignore[arg-type]

    house.jobs.change = meanwhile  # type: ignore[method-assign]
    for notice in (one, one, other):
        house.completion.notice(notice)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.COMPLETED}
    assert sum(_seconds(house)) == 2 * RUN_SECONDS
    assert house.charged == house.ledger.counters[DAY].spent


def test_a_lost_notice_of_a_group_brings_nobody_the_answer_of_another() -> None:
    """The submission of one member was not written down, so it runs in a later group, where its record points to."""
    road = group_road(2)
    queued = road.jobs.jobs["inf_0"]
    assert road.group_submitter().submit_all(waiting_ids(road)) == {}
    road.jobs.jobs["inf_0"] = queued
    road.jobs.add(make_job("inf_9", input=queued.input))
    assert road.group_submitter().submit_all(waiting_ids(road)) == {}
    (first, *_), (second, *_) = road.backend.submitted
    for group, answers in ((first, b'["A", "B"]'), (second, b'["C", "D"]')):
        road.answer(group, answers)
    assert road.completion().found_in_bucket(road.jobs.jobs["inf_1"])
    assert road.jobs.jobs["inf_1"].output.inline == ["B"]


def test_who_was_too_slow_writes_over_nothing() -> None:
    """Its lease was over: others submitted the job, its group failed, and it waits to go alone."""
    road = group_road(1)
    slow = claim_job(road.jobs, road.jobs.jobs["inf_0"], road.clock.now())
    assert slow is not None
    road.clock.advance(LEASE_SECONDS)
    alone = slow._replace(submit_lease_until=None, batch_id=f"{ALONE} mb_1", held_seconds=Decimal(1))
    road.jobs.jobs["inf_0"] = alone
    hand_over = road.hand_over(CrashPoint(0))
    hand_over.record(slow, AsyncSubmission("s3://a.out", "s3://a-error.out"), road.clock.now())
    hand_over.give_back(slow)
    assert road.jobs.jobs["inf_0"] == alone
