"""Every call of a road to the outside fails, dies or loses its answer, one after the other, and the books are right.

A house of fakes numbers the calls to its stores, queues and backends. Each test walks over the calls of one way that
requests take, brings a fault at each in turn, and lets time pass, with every event delivered twice, until all is quiet.
Then everything that was accepted has ended, what the budgets spent is what usage says, nothing stays held, and every
second that an instance worked has been paid for. The same where other functions work between two calls: they get every
message and event once more, at once or when all leases have run out.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.faults import Fault, Faults
from tests.fakes.money_house import MoneyHouse
from tollgate.domain.errors import CapacityError
from tollgate.domain.jobs.file_batches import FileBatchStatus
from tollgate.domain.jobs.job import JobState
from tollgate.services.jobs.claim_job import LEASE_SECONDS

Way = Callable[[Faults], MoneyHouse]


def _jobs(faults: Faults) -> MoneyHouse:
    house = MoneyHouse(faults)
    house.accept(2, "medium")
    return house


def _late_jobs(faults: Faults) -> MoneyHouse:
    """The endpoint is busy: leases run out before anything is known of what they were taken for."""
    house = MoneyHouse(faults, busy=5)
    house.accept(2, "medium")
    return house


def _together(faults: Faults) -> MoneyHouse:
    house = MoneyHouse(faults, together=True, busy=5)
    house.accept(2, "medium")
    return house


def _broken_group(faults: Faults) -> MoneyHouse:
    """One input breaks what it comes with, and nothing else."""
    house = MoneyHouse(faults, together=True)
    house.endpoint.poison = "text 1"
    house.accept(3, "medium")
    return house


def _twice(faults: Faults) -> MoneyHouse:
    """Two submitters have died: two jobs run a second time."""
    house = MoneyHouse(faults, busy=5)
    house.endpoint.deaths = 2
    house.accept(2, "medium")
    return house


def _group_twice(faults: Faults, poison: str = "") -> MoneyHouse:
    """The submitter of a group has died."""
    house = MoneyHouse(faults, together=True, busy=5)
    house.endpoint.poison = poison
    house.endpoint.deaths = 1
    house.accept(2, "medium")
    return house


def _broken_group_twice(faults: Faults) -> MoneyHouse:
    """The same, and both groups fail."""
    return _group_twice(faults, "text 1")


def _pool(faults: Faults) -> MoneyHouse:
    house = MoneyHouse(faults)
    house.accept(4, "low")
    return house


def _dropped_file(faults: Faults) -> MoneyHouse:
    house = MoneyHouse(faults)
    house.drop("a", "b", "c")
    return house


def _file_batch(faults: Faults) -> MoneyHouse:
    house = MoneyHouse(faults)
    house.begin_batch("a", "b", "c")
    return house


def _at_once(faults: Faults) -> MoneyHouse:
    house = MoneyHouse(faults)
    house.accept(2, "high")
    return house


def _deferred(faults: Faults) -> MoneyHouse:
    """The endpoint has no room at first, so the request waits for it."""
    house = MoneyHouse(faults)
    full = iter([CapacityError("full")])
    house.gateway.realtime.script = lambda: next(full, b'{"label": "en"}')
    house.accept(1, "high")
    return house


def _by_token(faults: Faults) -> MoneyHouse:
    house = MoneyHouse(faults)
    house.accept(2, "medium", model="chat")
    return house


WAYS: list[Way] = [
    _jobs,
    _late_jobs,
    _together,
    _broken_group,
    _twice,
    _group_twice,
    _broken_group_twice,
    _pool,
    _dropped_file,
    _file_batch,
    _at_once,
    _deferred,
    _by_token,
]


def _wrong(house: MoneyHouse) -> list[str]:
    """What is wrong when all is quiet."""
    found = house.faults_in_the_books()
    if house.worked_seconds != tuple(round(paid, 6) for paid in house.paid_seconds):
        found.append(f"{house.worked_seconds} seconds worked, {house.paid_seconds} paid")
    by_token = [job.bill.charged for job in house.jobs.jobs.values() if job.model == "chat" and job.bill is not None]
    if sum(by_token) < house.provider_bill:
        found.append(f"{house.provider_bill} billed by the provider, {by_token} paid")
    for job in house.jobs.jobs.values():
        poisoned = house.endpoint.poison and house.endpoint.poison in str(job.input.inline)
        # Whether a provider was asked, nobody knows who did not hear the answer: the amount held is charged.
        unknown = job.model == "chat" and job.failure is not None
        wanted = JobState.FAILED if poisoned or unknown else JobState.COMPLETED
        if job.state not in {wanted, JobState.CANCELLED}:
            found.append(f"{job.job_id} has {job.state}: {job.failure}")
    for batch in house.file_batches.batches.values():
        if (batch.status, batch.completed, batch.failed) != (FileBatchStatus.COMPLETED, batch.total, 0):
            found.append(f"batch {batch.status}, {batch.completed} of {batch.total}")
    return found


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_no_single_fault_gets_the_books_wrong(way: Way, fault: Fault) -> None:
    """At any call, on any way."""
    calm = way(Faults())
    calm.settle_down()
    assert _wrong(calm) == []
    for number in range(1, len(calm.faults.calls) + 1):
        house = way(Faults({number: fault}))
        house.settle_down()
        assert _wrong(house) == [], f"{fault.value} at call {number}, {house.faults.struck}"


def _again(seconds: int) -> Callable[[MoneyHouse], None]:
    def act(house: MoneyHouse) -> None:
        house.clock.advance(seconds)
        house.everything_again()

    return act


_AT_ONCE, _LEASE_OVER = _again(0), _again(LEASE_SECONDS + 10)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_nothing_that_others_do_in_between_gets_the_books_wrong(way: Way) -> None:
    """Before any call, on any way."""
    calm = way(Faults())
    calm.settle_down()
    for number in range(1, len(calm.faults.calls) + 1):
        house = way(Faults(meanwhile={number: _LEASE_OVER if number % 2 else _AT_ONCE}))
        house.settle_down()
        assert _wrong(house) == [], f"at call {number}, {house.faults.struck}"


FAULTS = st.dictionaries(st.integers(1, 250), st.sampled_from(Fault), max_size=8)
OTHERS = st.dictionaries(st.integers(1, 250), st.sampled_from([_AT_ONCE, _LEASE_OVER]), max_size=3)


@given(
    planned=st.tuples(FAULTS, OTHERS),
    style=st.tuples(st.booleans(), st.sampled_from([1, 3, 5])),
    seconds_to_midnight=st.integers(0, 1_500),
    cancelled=st.lists(st.integers(0, 20), max_size=4),
    dearer=st.integers(0, 6),
)
@settings(max_examples=60, deadline=None)
def test_several_faults_on_all_roads_get_no_books_wrong(
    planned: tuple[dict[int, Fault], dict[int, Callable[[MoneyHouse], None]]],
    style: tuple[bool, int],
    seconds_to_midnight: int,
    cancelled: list[int],
    dearer: int,
) -> None:
    """Budgets begin anew, owners change their minds, and another price list comes into force in between."""
    together, busy = style
    faults, others = planned
    house = MoneyHouse(Faults(faults, meanwhile=others), together=together, busy=busy)
    house.clock.advance(12 * 3_600 - seconds_to_midnight)
    house.accept(3, "medium")
    house.accept(2, "medium", model="chat")
    house.accept(3, "low")
    house.drop("a", "b", "c")
    house.begin_batch("d", "e")
    for number in cancelled:
        house.cancel(number)
        house.step()
    for _ in range(dearer):
        house.step()
    house.raise_prices()
    house.settle_down()
    assert _wrong(house) == [], house.faults.struck
