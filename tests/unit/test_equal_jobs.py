"""Equal asynchronous jobs: one runs, each gets an answer and an end of its own, whatever fails on the way."""

from collections.abc import Iterable
from copy import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.fakes.async_road import AsyncRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import make_catalogue, make_job
from tollgate.domain.cache.entry import CacheSlot
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import FINAL_STATES, Job, JobState
from tollgate.services.jobs.answers import LONGEST_FOLLOWING
from tollgate.services.jobs.async_notice import AsyncNotice

KEY = "k" * 64
JOBS = ("inf_1", "inf_2", "inf_3")
TICKET = CacheTicket(KEY, 0, ttl_seconds=600, kept_seconds=0, began_ms=0, scope="private#acme")


@pytest.fixture
def road() -> AsyncRoad:
    return make_road()


def make_road(utilisation: str = "1") -> AsyncRoad:
    """Equal jobs wait; their road's endpoint is as busy as that."""
    catalogue = make_catalogue()
    (deployment,) = catalogue.models["echo"].deployments
    later = replace(deployment.roads[InferenceType.ASYNC], utilisation=Decimal(utilisation))
    deployment = replace(deployment, roads={**deployment.roads, InferenceType.ASYNC: later})
    model = replace(catalogue.models["echo"], cache=CachePolicy(), deployments=(deployment,))
    made = AsyncRoad(replace(catalogue, models={"echo": model}))
    for job_id in JOBS:
        made.jobs.add(make_job(job_id, cache=TICKET, created_at=made.clock.now(), webhook_url="https://example.org"))
    return made


def submit(road: AsyncRoad, job_ids: Iterable[str] = JOBS, point: CrashPoint | None = None) -> None:
    for job_id in job_ids:
        road.submitter(point).submit(job_id)


def job(road: AsyncRoad, job_id: str) -> Job:
    found = road.jobs.get(job_id)
    assert found is not None
    return found


def notice(road: AsyncRoad, job_id: str, *, completed: bool = True) -> AsyncNotice:
    """SageMaker is done with the job."""
    now = road.clock.now()
    location = road.answer(job_id, b'{"label": "en"}') if completed else None
    return AsyncNotice(job_id, completed, now, now + timedelta(seconds=2), location, None if completed else "no memory")


def submitted(road: AsyncRoad) -> list[str]:
    return [entry[0] for entry in road.backend.submitted]


def test_one_of_equal_jobs_runs_and_the_others_wait(road: AsyncRoad) -> None:
    """The followers stay queued, and their messages come back later and later."""
    submit(road)
    assert submitted(road) == ["inf_1"]
    assert [message.body["job_id"] for message in road.queue.sent] == ["inf_2", "inf_3"]
    assert {message.delay_seconds for message in road.queue.sent} == {2}
    road.clock.advance(60)
    submit(road, ["inf_2"])
    assert road.queue.sent[-1].delay_seconds == 30


def test_followers_get_the_leaders_answer_at_no_cost(road: AsyncRoad) -> None:
    """Each has its own record, output and webhook; they cost 0 and say what they avoided."""
    submit(road)
    road.completion().notice(notice(road, "inf_1"))
    submit(road, ["inf_2", "inf_3"])
    assert submitted(road) == ["inf_1"]
    leader = job(road, "inf_1")
    for job_id in ("inf_2", "inf_3"):
        follower = job(road, job_id)
        assert follower.state is JobState.COMPLETED
        assert follower.output == leader.output
        assert follower.effective_cost == Decimal(0)
        assert follower.avoided_cost is not None
        assert follower.avoided_cost > 0
        assert follower.webhook_pending
    assert leader.effective_cost is not None
    assert leader.effective_cost > 0
    assert sorted(body["job_id"] for body in road.webhooks.bodies) == list(JOBS)


def test_followers_say_nothing_about_how_long_the_model_takes(road: AsyncRoad) -> None:
    """Estimates and holds are made of these times; an answer that was there already took none."""
    submit(road)
    road.completion().notice(notice(road, "inf_1"))
    submit(road, ["inf_2", "inf_3"])
    assert job(road, "inf_3").state is JobState.COMPLETED
    assert [taken for _, _, taken in road.measurements.durations] == [2.0]


def test_a_follower_takes_the_place_of_a_leader_that_failed(road: AsyncRoad) -> None:
    """The failure is the leader's own; the next one runs, and the last one follows it."""
    submit(road)
    road.completion().notice(notice(road, "inf_1", completed=False))
    submit(road, ["inf_2", "inf_3"])
    assert submitted(road) == ["inf_1", "inf_2"]
    assert job(road, "inf_1").state is JobState.FAILED
    assert job(road, "inf_3").state is JobState.QUEUED


def test_a_cancelled_leader_is_replaced(road: AsyncRoad) -> None:
    """Nobody gave its lease back, but its record says that it has ended."""
    submit(road)
    road.jobs.change(job(road, "inf_1")._replace(state=JobState.CANCELLED), expected=frozenset(JobState))
    submit(road, ["inf_2"])
    assert submitted(road) == ["inf_1", "inf_2"]


def test_a_leader_that_died_after_its_end_still_answers_the_others(road: AsyncRoad) -> None:
    """It ended, and the process was killed before it kept the answer: its own record has it."""
    submit(road)
    with pytest.raises(CrashError):
        road.completion(_dies_at(road, "store")).notice(notice(road, "inf_1"))
    assert job(road, "inf_1").state is JobState.COMPLETED
    submit(road, ["inf_2", "inf_3"])
    assert submitted(road) == ["inf_1"]
    assert job(road, "inf_3").output.inline == {"label": "en"}


def test_a_follower_avoids_the_same_wherever_it_finds_the_answer() -> None:
    """What it costs on the baseline road, whether that was kept with the answer or is worked out from the record."""
    kept, died = make_road("0.5"), make_road("0.5")
    for road in (kept, died):
        submit(road)
    kept.completion().notice(notice(kept, "inf_1"))
    with pytest.raises(CrashError):
        died.completion(_dies_at(died, "store")).notice(notice(died, "inf_1"))
    for road in (kept, died):
        submit(road, ["inf_2"])
    avoided = job(kept, "inf_2").avoided_cost
    assert avoided
    assert job(died, "inf_2").avoided_cost == avoided


def test_what_was_forgotten_since_is_no_answer_to_a_follower(road: AsyncRoad) -> None:
    """Also while only the record of the job that led has it."""
    submit(road)
    with pytest.raises(CrashError):
        road.completion(_dies_at(road, "store")).notice(notice(road, "inf_1"))
    road.clock.advance(1)
    road.answers.forget_all(TICKET.scope, "all", int(road.clock.now().timestamp() * 1000))
    submit(road, ["inf_2"])
    assert submitted(road) == ["inf_1", "inf_2"]


def _dies_at(road: AsyncRoad, operation: str) -> CrashPoint:
    """A crash just before the cache's operation."""

    def down(name: str) -> bool:
        if name == operation:
            road.answers.fails = lambda _name: False
            raise CrashError
        return False

    road.answers.fails = down
    return CrashPoint(0)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("step", range(1, 9))
def test_a_death_at_any_step_loses_nothing_and_runs_no_more_than_twice(
    road: AsyncRoad, step: int, before: bool
) -> None:
    """Messages come again, SageMaker's notices too: all three end well."""
    point = CrashPoint(step, before=before)
    for job_id in JOBS:
        try:
            submit(road, [job_id], point)
        except CrashError:
            break
    for _ in range(4):
        road.clock.advance(130)
        submit(road, JOBS)
        for job_id in dict.fromkeys(submitted(road)):
            try:
                road.completion(point).notice(notice(road, job_id))
            except CrashError:
                road.completion().notice(notice(road, job_id))
    assert {job(road, job_id).state for job_id in JOBS} == {JobState.COMPLETED}
    assert len(submitted(road)) <= 2


def test_a_message_that_comes_twice_changes_nothing(road: AsyncRoad) -> None:
    """Neither a second submission nor a second end."""
    submit(road, ["inf_1", "inf_1"])
    road.completion().notice(notice(road, "inf_1"))
    submit(road, [*JOBS, *JOBS])
    assert submitted(road) == ["inf_1"]
    assert all(job(road, job_id).state in FINAL_STATES for job_id in JOBS)
    assert len(road.webhooks.sent) == 3


def test_when_the_table_is_down_jobs_wait(road: AsyncRoad) -> None:
    """They have time; none runs without looking, until an hour has passed."""
    road.answers.fails = lambda _operation: True
    submit(road)
    assert not submitted(road)
    assert len(road.queue.sent) == 3
    road.clock.advance(LONGEST_FOLLOWING.total_seconds())
    submit(road)
    assert submitted(road) == list(JOBS)


def test_an_answer_that_is_there_ends_a_job_without_a_run(road: AsyncRoad) -> None:
    """Also one that a real-time request left, but not an expired one."""
    submit(road, ["inf_1"])
    road.completion().notice(notice(road, "inf_1"))
    submit(road, ["inf_2"])
    road.clock.advance(601)
    submit(road, ["inf_3"])
    assert submitted(road) == ["inf_1", "inf_3"]


def test_a_job_waits_while_a_caller_runs_the_same(road: AsyncRoad) -> None:
    """A real-time leader has a lease and no record; it ends with its lease at the latest."""
    now_ms = int(road.clock.now().timestamp() * 1000)
    road.answers.lead(KEY, CacheSlot(), scope=TICKET.scope, now_ms=now_ms, until_ms=now_ms + 10_000)
    submit(road, ["inf_1"])
    assert not submitted(road)
    road.clock.advance(10)
    submit(road, ["inf_1"])
    assert submitted(road) == ["inf_1"]


def test_jobs_that_want_a_new_answer_do_not_take_an_old_one(road: AsyncRoad) -> None:
    """`no-cache` on the asynchronous road: it runs, and what it brings is kept."""
    submit(road, ["inf_1"])
    road.completion().notice(notice(road, "inf_1"))
    fresh = make_job("inf_9", cache=replace(TICKET, reads=False), created_at=road.clock.now())
    road.jobs.add(fresh)
    submit(road, ["inf_9"])
    assert submitted(road) == ["inf_1", "inf_9"]
    road.completion().notice(notice(road, "inf_9"))
    slot, _ = road.answers.read(KEY)
    assert slot.answer is not None
    assert slot.fence == 2


def test_jobs_that_want_a_new_answer_wait_for_nobody(road: AsyncRoad) -> None:
    """`no-cache` beside an equal leader: both run, and only the leader's answer is kept."""
    submit(road, ["inf_1"])
    road.jobs.add(make_job("inf_9", cache=replace(TICKET, reads=False), created_at=road.clock.now()))
    submit(road, ["inf_9"])
    assert submitted(road) == ["inf_1", "inf_9"]
    road.completion().notice(notice(road, "inf_9"))
    assert road.answers.read(KEY)[0].answer is None
    road.completion().notice(notice(road, "inf_1"))
    assert road.answers.read(KEY)[0].answer is not None


def test_jobs_that_want_a_new_answer_wait_for_the_table(road: AsyncRoad) -> None:
    """`no-cache` while the table is down: nobody knows who leads, so the job comes back later."""
    road.jobs.add(make_job("inf_9", cache=replace(TICKET, reads=False), created_at=road.clock.now()))
    road.answers.fails = lambda _operation: True
    submit(road, ["inf_9"])
    assert not submitted(road)
    assert [message.body["job_id"] for message in road.queue.sent] == ["inf_9"]
