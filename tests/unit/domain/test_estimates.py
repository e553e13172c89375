"""What each road is expected to take and to cost, and what rules it out, with figures that can be reckoned by hand."""

from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.examples import PRICES, make_catalogue
from tollgate.domain.catalogue import Deployment, InferenceType, Model, Road, Timing
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.money import usd
from tollgate.domain.places.sleeping import SleepPolicy
from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.providers.prices import BucketRates
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.estimates import Blocker, RequestSize, RoadEstimate, RoadEstimates, output_limit

_REALTIME, _ASYNC, _BATCH = InferenceType
_TIMING = Timing(1.0, seconds_per_input_token=0.5, seconds_per_output_token=2.0, expected_output_tokens=4)
_LIMITS = {_REALTIME: 6 * 1024**2, _ASYNC: 1024**3, _BATCH: 100 * 1024**2}
# A dollar for each million input tokens, two for each million output tokens.
_BACKEND = TokenBackend(Provider.BEDROCK, BucketRates(Decimal(1), Decimal(2)), 10)
_RATES = gateway_rates(PRICES)


def _model(**road_changes: Any) -> tuple[Model, Deployment]:
    """At $3600 an hour, so that a second of a whole instance costs a dollar."""
    model = make_catalogue().model("echo")
    changes = {"usd_per_hour": Decimal(3600), "utilisation": Decimal(1)} | road_changes
    (deployment,) = model.deployments
    roads = {kind: replace(road, **changes) for kind, road in deployment.roads.items()}
    deployment = replace(deployment, timing=_TIMING, roads=roads)
    return replace(model, deployments=(deployment,)), deployment


def _estimates(
    size: RequestSize, observed: RoadCapacity | None = None, of: tuple[Model, Deployment] | None = None, **changes: Any
) -> RoadEstimates:
    model, deployment = of or _model(**changes)
    seen = {(deployment.resource, kind): observed for kind in InferenceType} if observed else {}
    return RoadEstimates(size, model, deployment, Capacity(seen), PRICES)


def _by_tokens() -> tuple[Model, Deployment]:
    model, deployment = _model()
    roads = {kind: Road(kind, "", "", usd_per_hour=None, tokens=_BACKEND) for kind in (_REALTIME, _ASYNC)}
    return model, replace(deployment, roads=roads)


def _own(kind: InferenceType, held: float) -> Decimal:
    return _RATES.expected(kind, 10, held)


def test_the_callers_limit_decides_before_what_was_measured() -> None:
    """And what was measured before what the catalogue says."""
    measured = RoadCapacity(measured_seconds=7.0)
    assert _estimates(RequestSize(10, 6))[_REALTIME].held_seconds == 1 + 6 * 0.5 + 4 * 2
    assert _estimates(RequestSize(10, 6), measured)[_REALTIME].held_seconds == 7
    assert _estimates(RequestSize(10, 6, 1), measured)[_REALTIME].held_seconds == 1 + 6 * 0.5 + 2
    assert _estimates(RequestSize(10), measured)[_REALTIME] == _estimates(RequestSize(99, 5), measured)[_REALTIME]


@pytest.mark.parametrize("kind", [_REALTIME, _ASYNC])
def test_a_request_costs_its_share_of_an_instance(kind: InferenceType) -> None:
    """Roads are compared by it with the idle time that comes with it."""
    found = _estimates(RequestSize(10), concurrency=4, utilisation=Decimal("0.5"))[kind]
    assert found.estimated_cost == usd(Decimal(9) / 4 + _own(kind, 9.0))
    assert found.loaded_cost == usd(Decimal(9) / 2 + _own(kind, 9.0))


def test_a_record_bears_its_part_of_the_start_of_a_transform_job() -> None:
    """Of all its instances, divided among as many records as a job may have."""
    found = _estimates(RequestSize(10), startup_seconds=300.0, instance_count=2)[_BATCH]
    assert found.estimated_cost == usd(9 + _own(_BATCH, 9.0))
    assert found.loaded_cost == usd(9 + Decimal(300) / 4 * 2 + _own(_BATCH, 9.0))


def test_a_road_without_a_price_costs_its_ceiling_or_nobody_knows() -> None:
    """It has no start-up that could be priced either."""
    unpriced = _estimates(RequestSize(10), usd_per_hour=None, startup_seconds=300.0)[_BATCH]
    assert (unpriced.estimated_cost, unpriced.loaded_cost) == (None, None)
    capped = _estimates(RequestSize(10), usd_per_hour=None, startup_seconds=300.0, ceiling_usd=Decimal(5))[_BATCH]
    assert capped.estimated_cost == capped.loaded_cost == usd(5 + _own(_BATCH, 9.0))


def test_a_provider_is_paid_for_what_it_is_expected_to_write() -> None:
    """No more than it may; the function that waits for a job's answer is paid for too."""
    usual = _estimates(RequestSize(10, 1_000_000), of=_by_tokens())
    held = 1 + 500_000 + 8.0
    assert usual[_REALTIME].estimated_cost == usd(1 + Decimal("0.000008") + _own(_REALTIME, held))
    assert usual[_ASYNC].estimated_cost == usd(1 + Decimal("0.000008") + _own(_ASYNC, held) + _RATES.waiting(held))
    limited = _estimates(RequestSize(10, 0, 2), of=_by_tokens())[_REALTIME]
    assert (limited.estimated_cost, limited.held_seconds) == (usd(Decimal("0.000004") + _own(_REALTIME, 5.0)), 5)
    most = _estimates(RequestSize(10, 0, 999), of=_by_tokens())[_REALTIME]
    assert (most.estimated_cost, most.held_seconds) == (usd(Decimal("0.00002") + _own(_REALTIME, 21.0)), 21)


def _waiting(kind: InferenceType, observed: RoadCapacity | None = None, **changes: Any) -> float:
    found = _estimates(RequestSize(10), observed, startup_seconds=300.0, concurrency=2, **changes)[kind]
    return found.expected_seconds - found.held_seconds


def test_jobs_wait_for_those_before_them() -> None:
    """At as many places as the instances that run have, or would have if nobody has looked; one at least."""
    busy = RoadCapacity(backlog=12)
    assert _waiting(_ASYNC) == 1
    assert _waiting(_ASYNC, busy) == 1 + 12 * 9 / 2
    assert _waiting(_ASYNC, busy, instance_count=3) == 1 + 12 * 9 / 6
    assert _waiting(_ASYNC, busy._replace(instances=2), instance_count=3) == 1 + 12 * 9 / 4
    assert _waiting(_BATCH, busy, instance_count=3) == 300 + 300 + 12 * 9 / 6
    assert _waiting(_REALTIME, busy) == 0


def test_who_sleeps_has_to_start_first() -> None:
    """An asynchronous endpoint also where it has no instance; a transform job always starts."""
    asleep = RoadCapacity(RoadState.ASLEEP)
    assert _waiting(_REALTIME, asleep) == 300
    assert _waiting(_ASYNC, asleep) == 301
    assert _waiting(_ASYNC, RoadCapacity(instances=0)) == 301
    assert _waiting(_REALTIME, RoadCapacity(instances=0)) == 0
    model, deployment = _model()
    for policy, wakes in ((None, False), (SleepPolicy(30), True)):
        of = model, replace(deployment, sleep=policy)
        assert _estimates(RequestSize(10), asleep, of)[_ASYNC].wakes is wakes
        assert not _estimates(RequestSize(10), None, of)[_ASYNC].wakes


@pytest.mark.parametrize("kind", InferenceType)
def test_a_body_may_be_as_large_as_sagemaker_takes(kind: InferenceType) -> None:
    """And not a byte larger."""
    measured = RoadCapacity(measured_seconds=1.0)
    assert _estimates(RequestSize(_LIMITS[kind]), measured)[kind].blocker is None
    assert _estimates(RequestSize(_LIMITS[kind] + 1), measured)[kind].blocker is Blocker.BODY


def test_an_answer_may_take_as_long_as_its_road_waits() -> None:
    """A provider's a minute even on the asynchronous road, since a function waits; an endpoint's there any time."""
    limit = make_catalogue().model("echo").realtime_seconds_limit
    for seconds, blocker in ((limit, None), (limit + 0.1, Blocker.DURATION)):
        assert _estimates(RequestSize(10), RoadCapacity(measured_seconds=seconds))[_REALTIME].blocker is blocker
    for seconds, blocker in ((60.0, None), (60.1, Blocker.DURATION)):
        observed = RoadCapacity(measured_seconds=seconds)
        assert _estimates(RequestSize(10), observed, _by_tokens())[_ASYNC].blocker is blocker
        assert _estimates(RequestSize(10), observed)[_ASYNC].blocker is None


@pytest.mark.parametrize(
    ("kind", "state", "blocker"),
    [
        *((kind, RoadState.BROKEN, Blocker.BROKEN) for kind in InferenceType),
        (_REALTIME, RoadState.ASLEEP, Blocker.ASLEEP),
        (_ASYNC, RoadState.ASLEEP, None),
        (_REALTIME, RoadState.SLOW, None),
    ],
)
def test_a_road_is_ruled_out_by_its_state(kind: InferenceType, state: RoadState, blocker: Blocker | None) -> None:
    """Who sleeps can still take jobs, and who is slow can take everything."""
    assert _estimates(RequestSize(10), RoadCapacity(state))[kind].blocker is blocker


def test_only_roads_of_the_deployment_are_estimated() -> None:
    """Quickest first; the others are none."""
    model, deployment = _model()
    of = model, replace(deployment, roads={kind: deployment.roads[kind] for kind in (_BATCH, _ASYNC)})
    estimates = _estimates(RequestSize(10), of=of)
    found: list[RoadEstimate] = list(estimates)
    assert [each.inference_type for each in found] == [_ASYNC, _BATCH]
    assert estimates.get(_REALTIME) is None
    assert estimates[_ASYNC] is estimates[_ASYNC]
    with pytest.raises(KeyError):
        estimates[_REALTIME]


@pytest.mark.parametrize(
    ("changes", "carried"),
    [
        ({}, True),
        ({"usd_per_hour": None}, False),
        ({"usd_per_hour": None, "ceiling_usd": Decimal(1)}, True),
        ({"usd_per_hour": None, "tokens": _BACKEND}, True),
    ],
)
def test_a_job_is_carried_at_a_known_price(changes: dict[str, Any], carried: bool) -> None:
    """On a road that is there and can take its body."""
    assert _estimates(RequestSize(10), **changes).carries_later(_ASYNC) is carried
    assert not _estimates(RequestSize(_LIMITS[_ASYNC] + 1), **changes).carries_later(_ASYNC)
    assert not _estimates(RequestSize(10), RoadCapacity(RoadState.BROKEN), **changes).carries_later(_ASYNC)
    model, deployment = _model(**changes)
    without = replace(deployment, roads={_REALTIME: deployment.roads[_REALTIME]})
    assert not _estimates(RequestSize(10), of=(model, without)).carries_later(_ASYNC)


@pytest.mark.parametrize(
    ("parameters", "limit"),
    [
        ({}, None),
        ({"max_tokens": 1}, 1),
        ({"max_completion_tokens": 7}, 7),
        ({"max_new_tokens": 8}, 8),
        ({"max_tokens": 0, "max_new_tokens": 8}, 8),
        ({"max_tokens": True}, None),
        ({"max_tokens": "5"}, None),
        ({"max_tokens": 2.5}, None),
    ],
)
def test_the_callers_limit_has_several_names(parameters: dict[str, Any], limit: int | None) -> None:
    """Only a whole number above nothing is one."""
    assert output_limit(parameters) == limit
