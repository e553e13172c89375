"""What the brakes leave on offer for a request, and which accepted work they hold back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.domain.budgets.pressure import NO_PRESSURE, Pressure
from tollgate.domain.errors import SpendStoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.catalogue import Catalogue, Model
    from tollgate.ports.control import BrakeSource
    from tollgate.ports.system import Clock, Telemetry

_NO_END_SECONDS = 86_400


class BrakeGate:
    """Lets through what the brakes leave on offer.

    Args:
        brakes: asked only when the catalogue has brakes; the others pay nothing.
    """

    def __init__(self, *, brakes: Callable[[], BrakeSource], telemetry: Telemetry, clock: Clock) -> None:
        self._brakes = brakes
        self._telemetry = telemetry
        self._clock = clock

    def offered(self, catalogue: Catalogue, model: Model) -> tuple[Model, Pressure]:
        """The model with what is still on offer of it, and what the brakes ask of routing.

        Raises:
            SpendStoppedError: nothing of it is on offer.
            StorageError: the brakes cannot be read.
        """
        if catalogue.brakes is None:
            return model, NO_PRESSURE
        # Few catalogues have brakes, and the others need not pay for the import.
        from tollgate.domain.brakes.braking import braked  # noqa: PLC0415 -- see above

        control = self._brakes().in_force()
        offered, pressure = braked(model, control.level, catalogue.brakes)
        if offered is not None:
            return offered, pressure
        self._telemetry.count("BrakeRefused")
        wait, until = _NO_END_SECONDS, ""
        if control.until is not None:
            wait = max(1, int((control.until - self._clock.now()).total_seconds()))
            until = f" Work goes on at {control.until:%Y-%m-%dT%H:%MZ}, or when somebody resumes."
        raise SpendStoppedError(f"Spending is stopped: {control.reason}.{until}", retry_after=wait)

    def holds_back(self, catalogue: Catalogue, resource: str) -> bool:
        """Whether accepted work for a deployment has to wait.

        Raises:
            StorageError: the brakes cannot be read.
        """
        if catalogue.brakes is None:
            return False
        from tollgate.domain.brakes.level import stops  # noqa: PLC0415 -- as above

        return stops(self._brakes().in_force().level, catalogue, resource)
