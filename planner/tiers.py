"""How much faster the smallest tier of a model in the catalogue is than its largest."""

from planner.trace import Trace
from tollgate.domain.catalogue import Model, Tier

_ORDER = list(Tier)


def small_speed(model: Model, trace: Trace) -> float | None:
    """For the trace's mean request, by the timings in the catalogue; None where the model has one tier only.

    Args:
        model: with its deployments.
        trace: not empty.
    """
    by_size = sorted(model.deployments, key=lambda deployment: _ORDER.index(deployment.tier))
    small, large = by_size[0], by_size[-1]
    if small.tier is large.tier:
        return None
    read, written = (sum(column) // len(trace) for column in (trace.input_tokens, trace.output_tokens))
    return large.timing.expected_seconds(read, written) / small.timing.expected_seconds(read, written)
