"""A night of the deployed stack, over HTTP: idle endpoints fall asleep, a storm wakes each once, nothing is lost.

The night is spent once, for every kind of place and every way in which waking fails side by side; the tests then look
at what came of it.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from local.launch.layout import aws_environment
from tests.integration.capacity.nappers import Bedroom, Napper, until
from tests.integration.gateway.conftest import FINAL, Client, Reply
from tests.local_stack import LocalStack
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import PlaceKind

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1000)]

# The clients are what comes at once; each of them is there several times.
_STORM, _WAITERS, _FEW, _CLIENTS = 32, 3, 3, 8
_WAIT_SECONDS = 26
# For falling asleep, for the last answer, and for being awake; on a quiet machine each takes half a minute.
_NIGHT_SECONDS = 300

BUSY = Napper("nap-busy")
STORMED = Napper("nap-stormed")
REFUSED = Napper("nap-refused")
LOST = Napper("nap-lost")
FULL = Napper("nap-full")
ASYNC = Napper("nap-async", PlaceKind.ASYNC)
COMPONENT = Napper("nap-component", PlaceKind.COMPONENT)
SLEEPERS = (STORMED, REFUSED, LOST, FULL, ASYNC, COMPONENT)
TROUBLED = (REFUSED, LOST, FULL, ASYNC, COMPONENT)
FAULTS = [
    # One call of boto3 tries four times.
    {"op": "CreateEndpoint", "endpoint": REFUSED.place.name, "kind": "error", "status": 500, "count": 4},
    {"op": "CreateEndpoint", "endpoint": LOST.place.name, "kind": "timeout_after_work"},
    *({"op": "start", "endpoint": napper.place.name, "kind": "capacity"} for napper in (FULL, ASYNC, COMPONENT)),
]


@dataclass
class Night:
    """What was seen; `asleep` are the standings while all slept, by name, and `replies` the answers to requests."""

    bedroom: Bedroom
    before: Mapping[str, str]
    asleep: Mapping[str, str] = field(default_factory=dict)
    busy_phase: Phase | None = None
    ordered: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    waited: Sequence[Reply] = ()
    jobs: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def bedroom(local_stack: LocalStack) -> Iterator[Bedroom]:
    """The places, up and idle, and in the catalogue."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_environment(local_stack.layout).items():
            patch.setenv(name, value)
        made = Bedroom(local_stack, (BUSY, *SLEEPERS))
        made.tell_standin("PUT", "config", {"metrics_seconds": 1})
        made.furnish()
        try:
            yield made
        finally:
            made.tell_standin("DELETE", "faults")
            made.tell_standin("PUT", "config", {"metrics_seconds": 60})
            made.clear()


@pytest.fixture(scope="module")
def night(bedroom: Bedroom, local_stack: LocalStack) -> Night:
    """From falling asleep to the last answer."""
    client = Client(local_stack, local_stack.key)
    night = Night(bedroom, before={napper.name: bedroom.standing(napper) for napper in SLEEPERS})
    runtime = local_stack.aws("sagemaker-runtime")

    def asleep() -> bool:
        runtime.invoke_endpoint(EndpointName=BUSY.place.name, Body=b'{"inputs": "still here"}')
        return bedroom.all_are(Phase.ASLEEP, SLEEPERS)

    runtime.invoke_endpoint(EndpointName=BUSY.place.name, Body=b'{"inputs": "here"}')
    time.sleep(2.5)  # until its metric is with CloudWatch
    bedroom.idle_since_an_hour(bedroom.nappers)
    bedroom.apply_catalogue()
    with bedroom.looked_at_often(), ThreadPoolExecutor(_CLIENTS) as pool:
        # The emulator starts a process for each request at a time, slowly: they are there before the storm.
        warmed = pool.map(lambda _: client.send("GET", "/v1/models").status, range(2 * _CLIENTS))
        until(asleep, _NIGHT_SECONDS, pause=2)
        list(warmed)  # whatever they were answered
        night.busy_phase = bedroom.phases()[BUSY.name]
        night.asleep = {napper.name: bedroom.standing(napper) for napper in SLEEPERS}
        slept = {napper.name: Counter(bedroom.ordered(napper)) for napper in SLEEPERS}
        bedroom.tell_standin("PUT", "faults", {"faults": FAULTS})
        _storm(night, client)
        replies = [*night.waited, *(reply for replies in night.replies.values() for reply in replies)]
        accepted = [reply.body["id"] for reply in replies if reply.status == 202]
        night.jobs = _ended(client, accepted)
        until(lambda: bedroom.all_are(Phase.AWAKE, SLEEPERS), _NIGHT_SECONDS)
    night.ordered = {napper.name: Counter(bedroom.ordered(napper)) - slept[napper.name] for napper in SLEEPERS}
    night.after = {napper.name: bedroom.standing(napper) for napper in SLEEPERS}
    control = client.send("GET", "/v1/control").body
    night.records = {record["place"]: record for record in control["places"]}
    return night


def _storm(night: Night, client: Client) -> None:
    """Some requests for each place whose start will fail, then everybody at once for the one whose start will not."""
    night.replies = {n.name: [client.infer(n.name, f"few {k}") for k in range(_FEW)] for n in TROUBLED}
    night.replies[STORMED.name] = [client.infer(STORMED.name, "first")]
    with ThreadPoolExecutor(_CLIENTS) as pool:
        wish = {"Prefer": f"wait={_WAIT_SECONDS}"}
        waiting = [pool.submit(client.infer, STORMED.name, "I wait", headers=wish) for _ in range(_WAITERS)]
        many = [pool.submit(client.infer, STORMED.name, f"storm {number}") for number in range(_STORM)]
        night.replies[STORMED.name] += [reply.result() for reply in many]
        night.waited = [reply.result() for reply in waiting]


def _ended(client: Client, job_ids: Sequence[str]) -> dict[str, Any]:
    """The jobs' documents, once all are final."""
    jobs: dict[str, Any] = {}
    end = time.monotonic() + _NIGHT_SECONDS
    while missing := [job_id for job_id in job_ids if job_id not in jobs]:
        assert time.monotonic() < end, [client.job(job_id) for job_id in missing]
        looks = {job_id: client.send("GET", f"/v1/inferences/{job_id}") for job_id in missing}
        # A look that a slow machine did not answer is no lost request; it is taken again.
        jobs |= {
            job_id: look.body for job_id, look in looks.items() if look.status == 200 and look.body["status"] in FINAL
        }
        time.sleep(1)
    return jobs


def test_idle_places_fall_asleep_by_their_metrics_and_used_ones_do_not(night: Night) -> None:
    """An endpoint is deleted, an asynchronous one has no instance, a component no copy; the used one stays awake."""
    assert night.busy_phase is Phase.AWAKE
    for napper in SLEEPERS:
        asleep = json.loads(night.asleep[napper.name])
        assert asleep["status"] == ("absent" if napper.kind is PlaceKind.REALTIME else "down")
        assert [variant["desired"] for variant in asleep["variants"]] in ([], [0])
        told = [line["reason"] for line in night.records[napper.place.key]["history"]]
        assert "no invocation for 5 min" in told


def test_the_first_request_is_accepted_with_the_reason(night: Night) -> None:
    """202, on the road that was asked for; the answer and the job's record say why it waits."""
    for napper in SLEEPERS:
        first = night.replies[napper.name][0]
        assert first.status == 202, first.text
        if napper.kind is not PlaceKind.ASYNC:
            assert "asleep" in first.headers["x-tollgate-route-reason"]
            assert "asleep" in night.jobs[first.body["id"]]["route_reason"]


def test_a_storm_wakes_once(night: Night) -> None:
    """Of all the requests at all the gateways' environments one wake is left: one CreateEndpoint, one wake recorded."""
    replies = night.replies[STORMED.name]
    assert len(replies) == _STORM + 1
    assert {reply.status for reply in replies} <= {200, 202}
    assert night.ordered[STORMED.name] == {"CreateEndpoint": 1}
    phases = [line["phase"] for line in night.records[STORMED.place.key]["history"]]
    assert phases.count("waking") == 1


def test_who_waits_gets_the_answer_in_the_call(night: Night) -> None:
    """`Prefer: wait` turns an accepted request into an answered one, if the endpoint is up in time on this machine."""
    answered = [reply for reply in night.waited if reply.status == 200]
    # Who came when it was up already had nothing to wait for.
    waited = [reply for reply in night.waited if "asleep" in reply.headers["x-tollgate-route-reason"]]
    assert waited
    assert all(reply in waited or reply in answered for reply in night.waited)
    assert all(reply.body["status"] == "completed" for reply in answered)
    for reply in night.waited:
        if reply not in answered:
            job = night.jobs[reply.body["id"]]
            took = datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["created_at"])
            assert took.total_seconds() > _WAIT_SECONDS - 2


def test_no_request_is_lost_or_stuck(night: Night) -> None:
    """Whatever went wrong with the start of its place, every request of every caller was answered."""
    assert Counter(job["status"] for job in night.jobs.values()) == {"completed": len(night.jobs)}
    statuses = Counter(reply.status for replies in night.replies.values() for reply in replies)
    assert statuses.keys() <= {200, 202}
    assert statuses.total() == _STORM + 1 + len(TROUBLED) * _FEW


@pytest.mark.parametrize(
    ("napper", "orders"),
    [
        pytest.param(REFUSED, {"CreateEndpoint": 1}, id="creation fails"),
        pytest.param(LOST, {"CreateEndpoint": 1}, id="creation times out after it worked"),
        pytest.param(FULL, {"CreateEndpoint": 2, "DeleteEndpoint": 1}, id="instances do not come"),
    ],
)
def test_an_endpoint_is_made_as_often_as_it_must_be(night: Night, napper: Napper, orders: Mapping[str, int]) -> None:
    """What SageMaker took is not ordered again, and what failed to start is cleared away and made once more."""
    assert night.ordered[napper.name] == orders


@pytest.mark.parametrize(
    ("napper", "told"),
    [
        pytest.param(REFUSED, {"InternalFailure"}, id="creation fails"),
        pytest.param(LOST, set(), id="creation times out after it worked"),
        pytest.param(FULL, {"InsufficientInstanceCapacity"}, id="an endpoint's instances do not come"),
        pytest.param(ASYNC, {"InsufficientInstanceCapacity"}, id="an asynchronous endpoint's instances do not come"),
        pytest.param(COMPONENT, {"Insufficient capacity"}, id="a component's copies do not come"),
    ],
)
def test_a_failed_start_is_explained(night: Night, napper: Napper, told: set[str]) -> None:
    """`GET /v1/control` has one wake, and SageMaker's reason for each try that failed."""
    history = night.records[napper.place.key]["history"]
    failures = [line["reason"] for line in history if line["reason"].startswith("failed: ")]
    assert [line["phase"] for line in history if line["reason"] not in failures].count("waking") == 1
    assert bool(failures) == bool(told)
    assert all(word in reason for reason in failures for word in told)


def test_everything_stands_as_before_the_night(night: Night) -> None:
    """Configuration, tags, counts, weights, scaling targets and policies, byte for byte."""
    assert night.after == night.before
