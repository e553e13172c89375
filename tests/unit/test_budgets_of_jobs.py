"""A job's hold ends with the job: once, whatever is repeated, late or lost."""

from copy import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.fakes.async_road import AsyncRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import OWNER, make_job
from tollgate.domain.budgets.ledger import Counter, Hold, Reservation, WorkflowCall, releases, reserve, shared_slot
from tollgate.domain.jobs.job import FINAL_STATES, JobState
from tollgate.services.jobs.async_notice import AsyncNotice
from tollgate.services.jobs.price_job import Work
from tollgate.services.jobs.queries import JobQueries

_START = make_job().created_at
_RECEIVED = _START + timedelta(seconds=1)
_DAY, _TEAM = "gateway#day#2026-03-01", "team:acme/search#day#2026-03-01"


def _reservation(amount: str = "0.001", *, ceiling: str = "1", call: WorkflowCall | None = None) -> Reservation:
    holds = (Hold(_DAY, Decimal(ceiling)), Hold(_TEAM, Decimal(ceiling)))
    return Reservation(shared_slot(_START + timedelta(days=8)), Decimal(amount), holds, 40.0, call)


def _road(reservation: Reservation) -> AsyncRoad:
    road = AsyncRoad()
    road.jobs.add(make_job(reservation=reservation), [reserve(reservation, hold) for hold in reservation.holds])
    return road


def _notice(road: AsyncRoad) -> AsyncNotice:
    return AsyncNotice(
        inference_id="inf_1",
        completed=True,
        received_at=_RECEIVED,
        finished_at=_RECEIVED + timedelta(seconds=2),
        output_location=road.answer("inf_1", b'{"text": "hi"}'),
    )


def _counter(road: AsyncRoad, name: str = _DAY) -> Counter:
    return road.jobs.ledger.counters[name]


def _cost(road: AsyncRoad) -> Decimal:
    job = road.jobs.get("inf_1")
    assert job is not None
    assert job.state in FINAL_STATES
    assert job.effective_cost is not None
    return job.effective_cost


def test_a_completed_job_has_spent_its_cost_in_every_counter() -> None:
    """An event that comes twice changes nothing."""
    road = _road(_reservation())
    for _ in range(3):
        road.completion().notice(_notice(road))
    for name in (_DAY, _TEAM):
        assert _counter(road, name).spent == _counter(road, name).committed == _cost(road)


@pytest.mark.parametrize("effect", range(1, 5))
@pytest.mark.parametrize("before", [True, False])
def test_a_function_that_dies_anywhere_settles_once(effect: int, before: bool) -> None:
    """The event comes again, and the sum is the same."""
    road = _road(_reservation())
    try:
        road.completion(CrashPoint(effect, before=before)).notice(_notice(road))
    except CrashError:
        road.completion().notice(_notice(road))
    assert _counter(road).spent == _counter(road).committed == _cost(road)


def test_the_answer_after_the_hold_ran_out_is_counted_late() -> None:
    """Released first, so that others could use the room, then spent after all."""
    road = _road(_reservation())
    for name in (_DAY, _TEAM):
        for release in releases(name, _counter(road, name), _START + timedelta(days=10)):
            road.jobs.ledger.write([release])
    assert _counter(road).committed == 0
    road.completion().notice(_notice(road))
    assert _counter(road).spent == _counter(road).committed == _cost(road)
    assert _counter(road).released == 0


def test_what_no_longer_fits_stands_beside_the_limit() -> None:
    """Dearer than held, with nothing left: the limit holds, and the rest is written as overrun."""
    road = _road(_reservation("0.00001", ceiling="0.00001"))
    road.completion().notice(_notice(road))
    counter = _counter(road)
    assert counter.spent == Decimal("0.00001")
    assert counter.spent + counter.overrun == _cost(road)


def test_a_job_ends_although_its_counters_are_gone() -> None:
    """They are deleted long after their period; the answer must not be lost for it."""
    road = _road(_reservation())
    road.jobs.ledger.counters.clear()
    road.completion().notice(_notice(road))
    assert _cost(road) > 0


def test_a_cost_that_nobody_knows_is_what_was_held() -> None:
    """The deployment has left the catalogue: never nothing."""
    road = _road(_reservation())
    road.catalogues.catalogue = replace(road.catalogues.catalogue, models={})
    failure = replace(_notice(road), completed=False, failure_reason="x")
    road.completion().notice(failure)
    assert _counter(road).spent == Decimal("0.001")


def test_a_cancelled_job_gives_everything_back() -> None:
    """Nothing was run; cancelling again changes nothing."""
    road = _road(_reservation())
    queries = JobQueries(jobs=road.jobs, objects=road.objects, clock=road.clock)
    for _ in range(2):
        assert queries.cancel(OWNER, "inf_1").state is JobState.CANCELLED
    assert _counter(road).committed == _counter(road).spent == 0


def test_the_container_may_work_as_long_as_was_paid_for() -> None:
    """And never longer than the catalogue allows."""
    road = _road(_reservation())
    road.submitter().submit("inf_1")
    assert road.backend.submitted[0][3] == 40
    long = _road(_reservation()._replace(seconds=9_999.0))
    long.submitter().submit("inf_1")
    assert long.backend.submitted[0][3] == 600


def test_the_call_of_a_run_gets_its_cost() -> None:
    """In the same write as the job's end."""
    job = make_job()
    call = WorkflowCall("acme", "run", "inf_1", "", 1, "echo", job.inference_type, "queued", _START)
    road = _road(_reservation(call=call))
    road.completion().notice(_notice(road))
    (found,) = road.jobs.ledger.calls_of("acme", "run", limit=9)
    assert (found.status, found.effective_cost) == ("completed", _cost(road))


def _expired(road: AsyncRoad) -> Decimal:
    """Let the job expire; what it cost then."""
    job = road.jobs.get("inf_1")
    assert job is not None
    assert road.completer().expire(job, "No answer in time.")
    return _cost(road)


@pytest.mark.parametrize("ceiling", ["1", "0.00001"])
def test_an_answer_after_the_job_expired_is_charged_once(ceiling: str) -> None:
    """As spend where it fits, as overrun where nothing is left; the job stays as its caller was told."""
    road = _road(_reservation(amount="0.00001", ceiling=ceiling))
    before = _expired(road)
    for _ in range(3):
        road.completion().notice(_notice(road))
    (late,) = road.jobs.late.values()
    assert late.bill is not None
    assert late.bill.charged == late.effective_cost
    assert late.bill.charged > 0
    for name in (_DAY, _TEAM):
        counter = _counter(road, name)
        assert counter.spent + counter.overrun == before + late.bill.charged
        assert counter.spent <= Decimal(ceiling)
        assert (counter.overrun > 0) == (ceiling != "1")
        assert counter.held == 0
    job = road.jobs.get("inf_1")
    assert job is not None
    assert (job.state, job.effective_cost) == (JobState.EXPIRED, before)


def test_a_late_answer_of_a_run_is_in_its_cost_tree() -> None:
    """With what the call cost in all."""
    call = WorkflowCall("acme", "run-7", "inf_1", "", 1, "echo", make_job().inference_type, "queued", _START)
    road = _road(_reservation(call=call))
    before = _expired(road)
    road.completion().notice(_notice(road))
    (late,) = road.jobs.late.values()
    found = road.jobs.ledger.call("acme", "run-7", "inf_1")
    assert found is not None
    assert late.effective_cost is not None
    assert (found.status, found.effective_cost) == ("expired", before + late.effective_cost)


def test_a_late_answer_without_budgets_is_a_record_all_the_same() -> None:
    """Usage knows it; a job of an earlier version, which has no bill, is left alone."""
    road = AsyncRoad()
    road.jobs.add(make_job())
    _expired(road)
    road.completion().notice(_notice(road))
    (late,) = road.jobs.late.values()
    assert late.held_seconds == 2
    old = AsyncRoad()
    old.jobs.add(make_job(state=JobState.EXPIRED))
    old.completion().notice(_notice(old))
    assert old.jobs.late == {}


def test_work_that_went_on_while_its_job_was_declared_expired_is_charged() -> None:
    """Whoever did it has an older copy of the record, and may tell of it twice; the caller is told what it was."""
    road = _road(_reservation())
    begun = make_job(reservation=_reservation())
    assert road.completer().expire(begun, "No endpoint took the request in time.")
    assert _counter(road).committed == _cost(road)
    for _ in range(2):
        work = Work(held_seconds=Decimal(2), finished_at=_RECEIVED)
        assert not road.completer().complete(begun, b'{"text": "hi"}', work)
    bill = road.jobs.late["inf_1#late"].bill
    assert bill is not None
    assert bill.charged > 2 * Decimal("0.115") / 3600
    assert _counter(road).spent == _counter(road).committed == _cost(road) + bill.charged
