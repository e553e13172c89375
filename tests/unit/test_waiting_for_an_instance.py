"""An asynchronous endpoint at zero instances, or at more than the catalogue expects: what is work, and what is waiting.

At zero, no place is taken, and none is there. Nobody pays for more than the container may work, which is what was held
for it, and who was thrown away after hours pays for no instance at all.
"""

from copy import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.fakes.async_endpoint import RUN_SECONDS, put_as_another
from tests.fakes.budgeted_gateway import DAY
from tests.fakes.money_house import MoneyHouse
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.jobs.job import JobState
from tollgate.domain.money import ZERO
from tollgate.domain.roads.capacity import Capacity, RoadCapacity
from tollgate.services.jobs.async_notice import AsyncNotice

_SMALL = "0.01"


def _submitted(count: int, *, together: bool = False) -> MoneyHouse:
    """Jobs that SageMaker has, in a budget of a cent."""
    house = MoneyHouse(together=together, limit=_SMALL, busy=1_000)
    house.accept(count, "medium")
    house.step()
    return house


def _over(house: MoneyHouse) -> Decimal:
    counter = house.ledger.counters[DAY]
    assert counter.spent <= Decimal(_SMALL)
    assert counter.spent + counter.overrun == house.charged
    return counter.overrun


@pytest.mark.parametrize("together", [False, True])
def test_the_start_of_an_endpoint_takes_no_budget_over_its_limit(*, together: bool) -> None:
    """It took ten minutes, and cost more than the whole budget; the call itself may take half a minute."""
    house = _submitted(2, together=together)
    house.endpoint.free_at = house.clock.now() + timedelta(minutes=10)
    for notice in house.endpoint.work():
        house.completion.notice(notice)
    for job in house.jobs.jobs.values():
        assert job.reservation is not None
        assert job.bill is not None
        assert job.state is JobState.COMPLETED
        assert ZERO < job.bill.charged <= job.reservation.amount
    assert _over(house) == ZERO


@pytest.mark.parametrize("together", [False, True])
def test_what_ran_side_by_side_did_not_wait(*, together: bool) -> None:
    """The catalogue expects one instance, and the keeper has counted three: each call held a place of its own."""
    house = _submitted(2, together=together)
    road = ("echo/small", InferenceType.ASYNC)
    house.capacities.capacity = Capacity({road: RoadCapacity(instances=3)})
    (notice, *others) = house.endpoint.work()
    for one in (notice, *(replace(other, finished_at=notice.finished_at) for other in others)):
        house.completion.notice(one)
    held = sum(job.held_seconds or ZERO for job in house.jobs.jobs.values())
    assert held == RUN_SECONDS * len(house.endpoint.runs)


@pytest.mark.parametrize("told", [True, False])
def test_a_request_that_was_thrown_away_held_no_instance(*, told: bool) -> None:
    """SageMaker says so without an output, after its time to live; a failure of its container has one."""
    house = _submitted(1)
    (job,) = house.jobs.jobs.values()
    received = house.clock.now()
    ended = received + timedelta(seconds=house.catalogues.catalogue.models["echo"].asynchronous.request_ttl_seconds)
    where = None if told else "s3://tollgate-test/async-output/x-error.out"
    house.completion.notice(AsyncNotice(job.job_id, False, received, ended, where, "It waited too long."))  # noqa: FBT003 -- a field
    (job,) = house.jobs.jobs.values()
    assert job.state is JobState.FAILED
    assert job.held_seconds == (0 if told else 30)
    assert _over(house) == ZERO


def test_a_failure_that_only_the_bucket_tells_of_is_paid() -> None:
    """Its notice was lost, and it is older than the time to live: something worked on it all the same."""
    house = _submitted(1)
    (job,) = house.jobs.jobs.values()
    ((_, _, name, _),) = house.endpoint.waiting
    key = house.objects.key_of(f"{name}-error.out")
    assert key is not None
    house.clock.advance(house.catalogues.catalogue.models["echo"].asynchronous.request_ttl_seconds)
    put_as_another(house.objects, key, b"out of memory")
    assert house.completion.found_in_bucket(job)
    (job,) = house.jobs.jobs.values()
    assert (job.state, job.held_seconds) == (JobState.FAILED, Decimal(30))
    assert job.failure is not None
    assert job.failure.message == "out of memory"


def test_a_group_that_was_thrown_away_held_no_instance() -> None:
    """Its jobs go again, and cannot be called off for nothing: the gateway's parts of the group are on them."""
    house = _submitted(2, together=True)
    (group,) = house.endpoint.runs
    received = house.clock.now()
    house.completion.notice(AsyncNotice(group, False, received, received + timedelta(hours=6), None, "Too long."))  # noqa: FBT003 -- a field
    house.cancel(0)
    rates = gateway_rates(house.catalogues.catalogue.gateway_prices)
    waiting = list(house.jobs.jobs.values())
    assert [(job.state, job.held_seconds) for job in waiting] == [(JobState.QUEUED, ZERO)] * 2
    assert sum(job.earlier_parts or ZERO for job in waiting) == rates.invocation(2)
