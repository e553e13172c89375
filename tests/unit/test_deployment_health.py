"""What an environment makes of errors, and of what others have found out about a deployment."""

from datetime import UTC, datetime

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.gateway import RecordingHealth
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
    OversizedAnswerError,
)
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.health import CallOutcome, HealthPolicy
from tollgate.services.requests.deployment_health import DeploymentHealth, outcome_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE, LATER = InferenceType.REALTIME, InferenceType.ASYNC


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (BackendError("no access"), CallOutcome.FAILED),
        (ModelFailedError("bad input", original_status=400), CallOutcome.OK),
        (ModelFailedError("bad input", original_status=499), CallOutcome.OK),
        (ModelFailedError("broken", original_status=500), CallOutcome.FAILED),
        (ModelFailedError("odd", original_status=399), CallOutcome.FAILED),
        (OversizedAnswerError("endless"), CallOutcome.OK),
        (BackendTimeoutError("late"), CallOutcome.TIMED_OUT),
        (BackendThrottledError("busy"), CallOutcome.THROTTLED),
        (CapacityError("full"), CallOutcome.NO_CAPACITY),
    ],
)
def test_what_an_error_says_about_the_deployment(error: BackendError, outcome: CallOutcome) -> None:
    """Nothing bad, where the input is to blame."""
    assert outcome_of(error) is outcome


def _state_after(shared: Capacity, *, failures: int = 1) -> RoadState:
    """How a deployment is seen that others saw so, after calls that failed here."""
    health = DeploymentHealth(clock=ManualClock(NOW), recorder=RecordingHealth())
    health.seen_by(shared)
    for _ in range(failures):
        health.failed("m/d", BackendError("no access"), HealthPolicy())
    return health.seen_by(Capacity()).of("m/d", HERE).state


def test_only_what_others_found_broken_is_broken_again_at_the_first_failure() -> None:
    """A deployment that slept, or whose other road failed, gets as many tries as any."""
    broken = RoadCapacity(state=RoadState.BROKEN)
    assert _state_after(Capacity({("m/d", HERE): broken})) is RoadState.BROKEN
    unknown = _state_after(Capacity())
    assert unknown is not RoadState.BROKEN
    assert _state_after(Capacity({("m/d", LATER): broken})) is unknown
    assert _state_after(Capacity({("m/d", HERE): RoadCapacity(state=RoadState.ASLEEP)})) is unknown
