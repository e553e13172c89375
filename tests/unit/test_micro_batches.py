"""Several waiting requests in one invocation: when, which, and that answers and costs come apart again."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.async_road import AsyncRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import make_job
from tests.fakes.groups import POLICY, group_catalogue, group_road, run_groups, waiting_ids
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates, invocation_usage
from tollgate.domain.errors import BackendError, CapacityError, StorageError, TollgateError
from tollgate.domain.jobs.job import JobState, Payload
from tollgate.domain.jobs.micro_batches import (
    Mergeable,
    group_size,
    groups_of,
    measured_as,
    shares_of,
)
from tollgate.domain.roads.capacity import Capacity, RoadCapacity
from tollgate.ports.dialects import RenderedRequest
from tollgate.services.jobs.async_notice import AsyncNotice
from tollgate.services.jobs.groups import ALONE, GROUP_PREFIX


def test_what_waits_together_goes_together_and_comes_apart() -> None:
    """One invocation for all; each job has its own answer and an equal share of the seconds."""
    road = group_road(8)
    assert road.group_submitter().submit_all(waiting_ids(road)) == {}
    ((group, body, _, timeout),) = road.backend.submitted
    assert group.startswith(GROUP_PREFIX)
    assert json.loads(body)["inputs"] == [f"text {n}" for n in range(8)]
    assert timeout == 600
    run_groups(road)
    jobs = list(road.jobs.jobs.values())
    assert [job.output.inline for job in jobs] == [[f"TEXT {n}"] for n in range(8)]
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    assert sum(job.held_seconds or 0 for job in jobs) == 2
    assert {job.held_seconds for job in jobs} == {Decimal("0.25")}
    times = {(job.started_at, job.finished_at) for job in jobs}
    assert [finished - started for started, finished in times if started and finished] == [timedelta(seconds=2)]
    assert all(job.effective_cost and job.effective_cost > 0 for job in jobs)
    assert (measured_as("echo/small", 8), InferenceType.ASYNC, 2.0) in road.measurements.durations


def _own_parts(road: AsyncRoad) -> Decimal:
    """Dollars of the gateway's parts that all jobs together were charged with."""
    bills = [(job.effective_cost, job.bill) for job in road.jobs.jobs.values()]
    return sum(
        (cost - (bill.instance or 0) for cost, bill in bills if cost is not None and bill is not None), Decimal(0)
    )


@pytest.mark.parametrize("count", [2, 3, 7, 16])
def test_the_parts_that_are_shared_add_up_to_the_whole(count: int) -> None:
    """To the last digit: each pays its own steps, and all of them together one invocation, one event, one list."""
    road = group_road(count)
    road.group_submitter().submit_all(waiting_ids(road))
    groups = len(road.backend.submitted)
    run_groups(road)
    prices = group_catalogue().gateway_prices
    rates = gateway_rates(prices)
    each = rates.by_road[InferenceType.ASYNC] - rates.invocation(1)
    assert groups == 1
    assert _own_parts(road) == count * each + rates.invocation(count)
    assert _own_parts(road) < count * rates.by_road[InferenceType.ASYNC]


def test_an_event_and_a_list_are_counted_once_for_an_invocation() -> None:
    """One completion however many jobs; the queue's event in tenths up to a whole one; the list only where it is."""
    one, many, most = (invocation_usage(members) for members in (1, 5, 40))
    assert one.bucket_puts == 1
    assert many.bucket_puts == 2
    assert (one.lambda_requests, many.lambda_requests) == (Decimal("1.1"), Decimal("1.5"))
    assert most.lambda_requests == 2
    assert one.topic_requests == most.topic_requests == 1


def test_what_a_failed_invocation_took_is_paid_by_those_that_went_in_it() -> None:
    """Beside an invocation of its own for each: nothing is lost, nothing counted twice."""
    road = group_road(3)
    road.group_submitter().submit_all(waiting_ids(road))
    run_groups(road, poison="text 2")
    road.group_submitter().submit_all(waiting_ids(road))
    run_groups(road, poison="text 2")
    rates = gateway_rates(group_catalogue().gateway_prices)
    assert _own_parts(road) == 3 * rates.by_road[InferenceType.ASYNC] + rates.invocation(3)


def test_without_a_policy_every_request_goes_alone() -> None:
    """As do a single message, and jobs that have gone in the meantime."""
    road = group_road(3, policy=None)
    road.group_submitter().submit_all(waiting_ids(road))
    assert [entry[0] for entry in road.backend.submitted] == ["inf_0", "inf_1", "inf_2"]
    road = group_road(1)
    assert road.group_submitter().submit_all(["inf_0", "inf_none"]) == {}
    assert [entry[0] for entry in road.backend.submitted] == ["inf_0"]


def test_a_poisoned_request_is_isolated() -> None:
    """The group fails, its members go again alone, and one fails; what the group held is paid by all of them."""
    road = group_road(4)
    road.group_submitter().submit_all(waiting_ids(road))
    run_groups(road, poison="text 2")
    assert {job.batch_id for job in road.jobs.jobs.values()} == {f"{ALONE} mb_00000001"}
    assert [message["job_id"] for message in road.queue.bodies] == [f"inf_{n}" for n in range(4)]
    road.group_submitter().submit_all(waiting_ids(road))
    assert len(road.backend.submitted) == 4
    run_groups(road, poison="text 2")
    states = {job_id: job.state for job_id, job in road.jobs.jobs.items()}
    assert states == dict.fromkeys(states, JobState.COMPLETED) | {"inf_2": JobState.FAILED}
    assert {job.held_seconds for job in road.jobs.jobs.values()} == {Decimal("2.5")}


def test_an_answer_that_cannot_be_taken_apart_is_no_answer() -> None:
    """A container that knows no lists is asked again, one by one."""
    road = group_road(2)
    road.group_submitter().submit_all(waiting_ids(road))
    group = road.backend.submitted.pop()[0]
    location = road.answer(group, b'{"one": "object"}')
    now = road.clock.now()
    road.completion().notice(AsyncNotice(group, True, now, now, location))  # noqa: FBT003 -- a field, named in its class
    assert len(road.queue.bodies) == 2


def test_other_parameters_go_in_other_groups() -> None:
    """What differs in anything but the inputs cannot share a body; what is no text goes alone."""
    road = group_road(4)
    for number in (0, 1):
        job = road.jobs.jobs[f"inf_{number}"]
        road.jobs.jobs[job.job_id] = job._replace(parameters={"truncate": True})
    road.jobs.add(make_job("inf_4", input=Payload(inline={"inputs": {"a": 1}})))
    road.group_submitter().submit_all(waiting_ids(road))
    sizes = sorted(
        len(json.loads(body)["inputs"]) if isinstance(json.loads(body)["inputs"], list) else 1
        for _, body, *_ in road.backend.submitted
    )
    assert sizes == [1, 2, 2]


def test_an_endpoint_that_takes_nothing_now_gets_all_of_them_later() -> None:
    """Every message comes back, and no lease is in the way."""
    road = group_road(3)
    road.backend.errors = [CapacityError("full")]
    failures = road.group_submitter().submit_all(waiting_ids(road))
    assert set(failures) == {"inf_0", "inf_1", "inf_2"}
    assert road.group_submitter().submit_all(waiting_ids(road)) == {}
    assert len(road.backend.submitted) == 1


def test_a_group_that_is_refused_is_tried_one_by_one() -> None:
    """One of them may be at fault."""
    road = group_road(3)
    road.backend.errors = [BackendError("no")]
    assert road.group_submitter().submit_all(waiting_ids(road)) == {}
    assert [entry[0] for entry in road.backend.submitted] == ["inf_0", "inf_1", "inf_2"]


def test_a_claim_by_others_brings_one_message_back() -> None:
    """The others go."""
    road = group_road(3)
    lease = road.clock.now() + timedelta(seconds=60)
    road.jobs.jobs["inf_1"] = road.jobs.jobs["inf_1"]._replace(submit_lease_until=lease)
    assert set(road.group_submitter().submit_all(waiting_ids(road))) == {"inf_1"}
    assert len(road.backend.submitted) == 1


def test_the_sweeper_finds_a_groups_answer() -> None:
    """From any of its jobs, for all of them."""
    road = group_road(3)
    road.group_submitter().submit_all(waiting_ids(road))
    group = road.backend.submitted.pop()[0]
    job = road.jobs.jobs["inf_1"]
    assert job.output_location is not None
    key = road.objects.key_of(job.output_location)
    assert key is not None
    road.objects.put(key, b'["A", "B", "C"]')
    assert road.completion().found_in_bucket(job)
    assert [job.output.inline for job in road.jobs.jobs.values()] == [["A"], ["B"], ["C"]]
    assert group == job.batch_id


def test_a_group_nobody_knows_is_counted() -> None:
    """The endpoint may serve others as well; an answer that is announced and missing is looked for again."""
    road = group_road(2)
    now = road.clock.now()
    road.completion().notice(AsyncNotice("mb_other", False, now, now))  # noqa: FBT003 -- a field, named in its class
    assert road.telemetry.counts["UnknownAsyncResult"] == 1
    road.group_submitter().submit_all(waiting_ids(road))
    group = road.backend.submitted.pop()[0]
    with pytest.raises(StorageError):
        road.completion().notice(AsyncNotice(group, True, now, now))  # noqa: FBT003 -- as above


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_every_job_ends_once_whatever_dies(data: st.DataObject) -> None:
    """A process dies after any effect; in the end every job has its own answer, and the poisoned one has failed."""
    road = group_road(5)
    poison = data.draw(st.sampled_from(["", "text 3"]), "poison")
    for _ in range(data.draw(st.integers(1, 6), "crashes")):
        point = CrashPoint(data.draw(st.integers(1, 14), "dies after"), before=data.draw(st.booleans(), "before"))
        try:
            road.group_submitter(point).submit_all(waiting_ids(road))
            run_groups(road, poison=poison, point=point)
        except (CrashError, TollgateError):
            pass
        road.clock.advance(200)
    for _ in range(6):
        road.clock.advance(200)
        for job in list(road.jobs.jobs.values()):
            if job.state is JobState.SUBMITTED:
                # Its notice was lost with the process, so the request is taken as never answered and queued anew.
                road.jobs.jobs[job.job_id] = job._replace(state=JobState.QUEUED, batch_id=ALONE, submitted_at=None)
        road.group_submitter().submit_all(waiting_ids(road))
        run_groups(road, poison=poison)
    for number, job in enumerate(road.jobs.jobs.values()):
        if poison and number == 3:
            assert job.state is JobState.FAILED
        else:
            assert (job.state, job.output.inline) == (JobState.COMPLETED, [f"TEXT {number}"])


# -- the pure parts


def _unmeasured(_size: int) -> float | None:
    return None


@pytest.mark.parametrize(
    ("waiting", "places", "measured", "expected"),
    [
        (1, 4, {}, 1),
        (4, 4, {}, 1),
        (8, 4, {}, 2),
        (64, 1, {}, 16),
        (2_000, 4, {}, 16),
        (64, 1, {1: 1.0, 2: 1.1, 4: 1.3, 8: 4.0, 16: 9.0}, 4),
        (64, 1, {1: 1.0, 16: 11.0}, 8),
        (64, 1, {1: 1.0, 16: 10.0}, 16),
        (64, 1, {1: 1.0, 2: 1.2, 4: 2.5}, 16),
        (64, 1, {1: 1.0, 2: 3.0, 4: 6.0, 8: 8.0, 16: 9.9}, 16),
    ],
)
def test_the_size_follows_queue_and_measurements(
    waiting: int, places: int, measured: dict[int, float], expected: int
) -> None:
    """Idle places are used first; then sizes that were measured to empty the queue sooner."""
    found = group_size(POLICY, waiting=waiting, places=places, one=0.5, measured=measured.get)
    assert found == expected


@given(st.integers(1, 5_000), st.integers(1, 64), st.floats(0.001, 9.0))
def test_a_size_is_a_power_of_two_within_the_limits(waiting: int, places: int, one: float) -> None:
    """And no group is expected to take longer than it may."""
    size = group_size(POLICY, waiting=waiting, places=places, one=one, measured=_unmeasured)
    assert size & (size - 1) == 0
    assert 1 <= size <= POLICY.max_requests
    assert size * one <= POLICY.max_seconds or size == 1


@given(
    st.lists(st.builds(Mergeable, st.sampled_from("ab"), st.integers(1, 20), st.integers(1, 12_000)), max_size=60),
    st.integers(1, 16),
)
def test_groups_hold_every_request_once(requests: list[Mergeable], size: int) -> None:
    """Alike, in their order, and within the limits unless one alone is beyond them."""
    groups = groups_of(requests, POLICY, size)
    assert sorted(position for group in groups for position in group) == list(range(len(requests)))
    for group in groups:
        members = [requests[position] for position in group]
        assert len({member.key for member in members}) == 1
        assert group == sorted(group)
        if len(group) > 1:
            assert sum(member.inputs for member in members) <= size
            assert sum(member.size for member in members) <= POLICY.max_bytes


def test_a_group_is_filled_to_the_last_byte_and_input() -> None:
    """What is beyond begins the next one."""
    half = POLICY.max_bytes // 2
    requests = [Mergeable("a", 2, half), Mergeable("a", 2, half), Mergeable("a", 2, 1), Mergeable("a", 3, 1)]
    assert groups_of(requests, POLICY, 4) == [[0, 1], [2], [3]]
    assert groups_of([requests[0], Mergeable("a", 2, half + 1)], POLICY, 4) == [[0], [1]]


def test_shares_go_by_weight() -> None:
    """The last takes what rounding leaves."""
    assert shares_of(Decimal(8), [1, 3]) == [2, 6]
    third = Decimal("0.333333333")
    assert shares_of(Decimal(1), [1, 1, 1]) == [
        third,
        Decimal("0.666666667") - third,
        Decimal(1) - Decimal("0.666666667"),
    ]


@given(st.decimals(0, 10_000, places=6), st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_shares_add_up_exactly(total: Decimal, weights: list[int]) -> None:
    """To the last billionth, and none is negative."""
    shares = shares_of(total, weights)
    assert sum(shares) == total
    assert all(share >= 0 for share in shares)


@given(st.lists(st.one_of(st.text(), st.lists(st.text(), min_size=1, max_size=4)), min_size=1, max_size=8))
def test_bodies_come_apart_as_they_were_put_together(inputs: list[Any]) -> None:
    """Every request gets the entries of its own inputs."""
    merger = InputsMerger()
    requests = [RenderedRequest(json.dumps({"inputs": value, "x": 1}).encode(), "application/json") for value in inputs]
    read = [merger.mergeable(request) for request in requests]
    counts = [entry.inputs for entry in read if entry is not None]
    assert len(counts) == len(inputs)
    body = json.loads(merger.merge(requests).body)
    assert body["x"] == 1
    parts = merger.split(json.dumps(body["inputs"]).encode(), counts)
    assert parts is not None
    assert [json.loads(part) for part in parts] == [[v] if isinstance(v, str) else v for v in inputs]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"inputs": []}', b'{"inputs": [1]}', b'{"messages": []}'])
def test_other_bodies_go_alone(body: bytes) -> None:
    """Nothing is guessed about them."""
    assert InputsMerger().mergeable(RenderedRequest(body, "application/json")) is None


@pytest.mark.parametrize("answer", [b"{", b"{}", b'["a"]', b'["a", "b", "c"]'])
def test_other_answers_cannot_be_split(answer: bytes) -> None:
    """Neither too many nor too few."""
    assert InputsMerger().split(answer, [1, 1]) is None


def test_measured_sizes_are_read_by_power_of_two() -> None:
    """An invocation of five inputs counts as one of eight."""
    assert [measured_as("m/d", n) for n in (1, 2, 3, 4, 5, 8, 9)] == [f"m/d@{n}" for n in (1, 2, 4, 4, 8, 8, 16)]
    road = group_road(20)
    seconds = {1: 1.0, 2: 1.05, 4: 1.1, 8: 9.5, 16: 9.9}
    observed = {
        (measured_as("echo/small", size), InferenceType.ASYNC): RoadCapacity(measured_seconds=taken)
        for size, taken in seconds.items()
    }
    road.capacities.capacity = Capacity(observed)
    road.group_submitter().submit_all(waiting_ids(road))
    assert len(road.backend.submitted) == 5
