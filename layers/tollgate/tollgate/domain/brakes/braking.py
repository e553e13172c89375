"""What a brake level means for one request."""

from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, critical_part
from tollgate.domain.budgets.pressure import NO_PRESSURE, Pressure
from tollgate.domain.catalogue import Model


def braked(model: Model, level: BrakeLevel, policy: BrakePolicy) -> tuple[Model | None, Pressure]:
    """The model with the deployments still available, and what the brake asks of routing.

    A model whose deployments are all critical is left alone. Otherwise its critical deployments are slowed down with
    the others until `STOP`, when only they are left.

    Returns:
        None for the model when new work for it is refused.
    """
    serving = [d for d in model.deployments if d.weight > 0]
    if level <= BrakeLevel.WARN or (serving and all(policy.is_critical(d) for d in serving)):
        return model, NO_PRESSURE
    if level is BrakeLevel.STOP:
        return critical_part(model, policy), Pressure(brake=level.word)
    return model, Pressure(downgrade=True, defer=level >= BrakeLevel.DEFER, brake=level.word)
