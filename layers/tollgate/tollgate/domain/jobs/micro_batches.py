"""Several small requests in one invocation: how many, which ones, and what each of them pays.

A container that takes a list of inputs works on several requests in little more time than on one. How much more is
measured for each size; sizes are powers of two, so that few have to be measured. Requests are never kept waiting for
others: only those that wait anyway are grouped.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

NANOSECOND = Decimal("1E-9")
_NEAR = 1.05
"""Largest ratio of time per input at which two sizes count as equally quick; then fewer invocations are better."""


class MicroBatchPolicy(NamedTuple):
    """Limits of one deployment.

    Attributes:
        max_requests: inputs in one invocation.
        max_bytes: of the merged body.
        max_seconds: longest expected duration of an invocation, and so the longest that a request waits for the
            others in its group.
    """

    max_requests: int = 16
    max_bytes: int = 100_000
    max_seconds: float = 10.0


class Mergeable(NamedTuple):
    """What forming groups needs to know of a request.

    Attributes:
        key: requests with the same key can go together.
        inputs: number of inputs; its answer has as many entries.
        size: bytes.
    """

    key: str
    inputs: int
    size: int


def measured_as(resource: str, inputs: int) -> str:
    """The name under which invocations of this many inputs are measured: the next power of two."""
    return f"{resource}@{1 << max(0, inputs - 1).bit_length()}"


def group_size(
    policy: MicroBatchPolicy, *, waiting: int, places: int, one: float, measured: Callable[[int], float | None]
) -> int:
    """How many inputs an invocation should have so that the waiting work finishes soonest; of equals, the most.

    Sizes that were never measured are assumed to save nothing over the largest measured one below them; a size is tried
    as soon as the time limit allows, since being wrong costs one invocation of at most `max_seconds`.

    Args:
        policy: of the deployment.
        waiting: inputs that wait now, at least 1.
        places: invocations that the endpoint works on at the same time.
        one: expected seconds of a single input.
        measured: mean seconds of an invocation of this many inputs, None if unknown.
    """
    known, known_size = measured(1) or one, 1
    best, best_each = 1, known
    size = 2
    while size <= policy.max_requests and _fills(waiting, places, size):
        seconds = measured(size)
        if seconds is None:
            seconds = known * size / known_size
        else:
            known, known_size = seconds, size
        if seconds > policy.max_seconds:
            break
        if seconds / size <= best_each * _NEAR:
            best, best_each = size, min(seconds / size, best_each)
        size *= 2
    return best


def _fills(waiting: int, places: int, size: int) -> bool:
    """Whether groups of this size still keep every place busy; fewer, larger ones would leave some idle."""
    return size // 2 * max(1, places) < waiting


def groups_of(requests: Sequence[Mergeable], policy: MicroBatchPolicy, size: int) -> list[list[int]]:
    """Positions of the requests that go together, in their order; each of them in one group.

    Args:
        requests: in the order in which they came.
        policy: for the limit of bytes.
        size: inputs in a group at most, unless a single request brings more.
    """
    groups: list[list[int]] = []
    open_groups: dict[str, tuple[list[int], int, int]] = {}
    for position, request in enumerate(requests):
        found = open_groups.get(request.key)
        if found is not None:
            members, inputs, used = found
            if inputs + request.inputs <= size and used + request.size <= policy.max_bytes:
                members.append(position)
                open_groups[request.key] = (members, inputs + request.inputs, used + request.size)
                continue
        members = [position]
        groups.append(members)
        open_groups[request.key] = (members, request.inputs, request.size)
    return groups


def shares_of(total: Decimal, weights: Sequence[int], *, quantum: Decimal = NANOSECOND) -> list[Decimal]:
    """A total in parts by weight, to a multiple of `quantum`; they add up to it exactly."""
    parts: list[Decimal] = []
    given, done, whole = Decimal(0), 0, sum(weights)
    for weight in weights:
        done += weight
        upto = total if done == whole else (total * done / whole).quantize(quantum)
        parts.append(upto - given)
        given = upto
    return parts
