"""What an execution environment knows about how deployments are doing, and what it tells the others.

A Lambda environment serves one request at a time, so each sees little. One that finds a deployment broken writes so
into the deployment's capacity record, which the others read every few seconds anyway.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import (
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
    OversizedAnswerError,
    StorageError,
)
from tollgate.domain.roads.capacity import Capacity, RoadState
from tollgate.domain.roads.health import CLOSED, CallOutcome, Circuit, Fitness, HealthPolicy, RetryTokens, warned

if TYPE_CHECKING:
    from tollgate.domain.errors import BackendError
    from tollgate.ports.registry import HealthRecorder
    from tollgate.ports.system import Clock

_ROAD = InferenceType.REALTIME
_STATES = {Fitness.SLOW: RoadState.SLOW, Fitness.BROKEN: RoadState.BROKEN}


class DeploymentHealth:
    """Circuits of the deployments that this environment calls, and its budget for second tries.

    Args:
        recorder: tells the other environments.
    """

    def __init__(self, *, clock: Clock, recorder: HealthRecorder) -> None:
        self._clock = clock
        self._recorder = recorder
        self._circuits: dict[str, Circuit] = {}
        self._open: set[str] = set()
        self._shared: Capacity | None = None
        self.tokens = RetryTokens()

    def seen_by(self, shared: Capacity) -> Capacity:
        """The shared observations, corrected by what this environment knows. The same object while all is well."""
        if shared is not self._shared:
            self._shared = shared
            self._hear(shared)
        if not self._open:
            return shared
        now = self._clock.monotonic()
        roads = dict(shared.roads)
        for resource in self._open:
            state = _STATES.get(self._circuits[resource].fitness(now))
            if state is not None:
                roads[resource, _ROAD] = shared.of(resource, _ROAD)._replace(state=state)
        return Capacity(roads)

    def answered(self, resource: str, held_seconds: float, policy: HealthPolicy) -> None:
        """Note that a call was answered."""
        slow = policy.slow_seconds is not None and held_seconds > policy.slow_seconds
        self._note(resource, CallOutcome.SLOW if slow else CallOutcome.OK, policy)

    def failed(self, resource: str, error: BackendError, policy: HealthPolicy) -> None:
        """Note that a call failed."""
        self._note(resource, outcome_of(error), policy)

    def _note(self, resource: str, outcome: CallOutcome, policy: HealthPolicy) -> None:
        before = self._circuits.get(resource, CLOSED)
        after = self._circuits[resource] = before.after(outcome, self._clock.monotonic(), policy)
        if after.openings == before.openings:
            return
        if after.openings:
            self._open.add(resource)
        else:
            self._open.discard(resource)
        self._tell(resource, after)

    def _tell(self, resource: str, circuit: Circuit) -> None:
        now = self._clock.monotonic()
        state = _STATES.get(circuit.fitness(now), RoadState.AWAKE)
        # Here routing goes by what this environment knows anyway, and the others will find out by themselves.
        with suppress(StorageError):
            self._recorder.record_health(resource, _ROAD, state, seconds=max(0.0, circuit.open_until - now))

    def _hear(self, shared: Capacity) -> None:
        """Where others found a deployment broken, the first call after the pause decides here as well."""
        for (resource, inference_type), road in shared.roads.items():
            if road.state is RoadState.BROKEN and inference_type is _ROAD and resource not in self._open:
                self._circuits[resource] = warned(self._circuits.get(resource, CLOSED), self._clock.monotonic())
                self._open.add(resource)


def outcome_of(error: BackendError) -> CallOutcome:
    """What an error says about the deployment; one that is the input's doing says that it works."""
    match error:
        case OversizedAnswerError():
            return CallOutcome.OK
        case ModelFailedError():
            return CallOutcome.OK if 400 <= error.original_status < 500 else CallOutcome.FAILED
        case BackendTimeoutError():
            return CallOutcome.TIMED_OUT
        case BackendThrottledError():
            return CallOutcome.THROTTLED
        case CapacityError():
            return CallOutcome.NO_CAPACITY
        case _:
            return CallOutcome.FAILED
