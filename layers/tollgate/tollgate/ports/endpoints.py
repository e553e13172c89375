"""Ports of everything that starts and stops what stands behind the roads."""

from typing import Protocol

from tollgate.domain.standing import Place, Standing, Step


class EndpointControl(Protocol):
    """Looks at places, takes them down and puts them back.

    Nothing here waits: SageMaker takes minutes. `take_down` and `bring_up` start what can be started now and are called
    again, with the same standing, until the step is settled. Calling one again when it is settled changes nothing.

    Every method may raise:
        BackendThrottledError, CapacityError: not now; the same call may work later.
        BackendError: refused, and always will be.
    """

    def describe(self, place: Place) -> Standing:
        """What stands there now; a place that does not exist is `StandStatus.ABSENT`."""

    def take_down(self, before: Standing, *, pinned: bool = True) -> Step:
        """One step towards nothing running at the place; settled when nothing runs.

        Never touches model artefacts, SageMaker Models or endpoint configurations.

        Args:
            before: how it was found and will be put back; store it before the first call.
            pinned: whether autoscaling is kept from starting it again (targets at 0..0). Otherwise only the lower
                bound goes to 0, so that a policy that starts from zero still may.
        """

    def bring_up(self, before: Standing) -> Step:
        """One step towards what `before` says: configuration, tags, counts, weights, scaling targets and policies.

        Settled when that is how it stands. An endpoint that failed to start is deleted and made again. Transform jobs
        cannot be brought back; their requests are still in the job table.
        """
