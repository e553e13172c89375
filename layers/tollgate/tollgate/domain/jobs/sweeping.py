"""When to look again at something that has not ended: often at first, then less and less, without keeping count.

A look is due when the age has passed one of the marks ``first * factor ** n`` since the last sweep. So something that
takes six hours is looked at some twenty times instead of 360.
"""

import math

SWEEP_SECONDS = 60.0
"""How often the sweeper runs."""

_SLACK = 1.5
"""Schedules are late at times; a mark passed up to this many sweeps ago still counts."""


def look_due(age: float, *, first: float, factor: float) -> bool:
    """Whether to look now at something that is `age` seconds old.

    Args:
        age: seconds since it was last acted on.
        first: age of the first look.
        factor: of each further mark to the one before it, above 1.
    """
    if age < first:
        return False
    before = age - SWEEP_SECONDS * _SLACK
    return before < first or math.floor(math.log(age / first, factor)) > math.floor(math.log(before / first, factor))
