"""Several requests that are one call: every one is planned and paid for by itself, and all of them or none are begun.

What all of them may cost is held before the first is run, in one write, and settled after the last; so a budget that
has not enough for all refuses the call before anything is spent. Imported only when a call has several requests.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs import Usage
from tollgate.domain.settlement import sum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tollgate.domain.ledger import Reservation
    from tollgate.services.admission import Admission
    from tollgate.services.inference import Accepted, Completed, InferenceRequest, Plan
    from tollgate.services.run_realtime import RealtimeRun
    from tollgate.services.trail import Trail


class Part(NamedTuple):
    """What became of one of the requests, with a trail of its own."""

    result: Completed | Accepted
    trail: Trail


class InferAll:
    """Runs requests one after the other, since they share one caller's time.

    Args:
        plan: of one request; writes what it finds on the trail.
        infer: answers one request, or accepts it as a job.
    """

    def __init__(
        self,
        *,
        plan: Callable[[InferenceRequest, Trail], Plan],
        infer: Callable[[InferenceRequest, Trail], Completed | Accepted],
        admission: Admission,
        realtime: RealtimeRun,
    ) -> None:
        self._plan = plan
        self._infer = infer
        self._admission = admission
        self._realtime = realtime

    def run(self, requests: Sequence[InferenceRequest], trail: Trail) -> Sequence[Part]:
        """The answers in the order of the requests; the trail has the sum of their costs.

        Raises:
            TollgateError: of the first request that cannot be answered. Before anything was run, if it cannot be
                planned or paid for; otherwise what was run until then is charged.
        """
        # A request that nobody can serve is found before any other is run.
        plans = [self._plan(request, replace(trail)) for request in requests]
        held = self._held(plans, trail)
        parts: list[Part] = []
        status = "failed"
        try:
            for request in requests:
                # The gateway's own time and writes are counted once.
                part = replace(
                    trail,
                    covered=held is not None,
                    reservation=None if parts else held,
                    own_parts=(parts[-1].trail if parts else trail).own_parts,
                )
                try:
                    parts.append(Part(self._infer(request, part), part))
                except Exception:
                    _sum_up([*(done.trail for done in parts), part], trail)
                    raise
            status = "completed"
            _sum_up([done.trail for done in parts], trail)
        finally:
            if held is not None:
                self._admission.settle(held, trail.charged or Decimal(0), status)
        return parts

    def _held(self, plans: Sequence[Plan], trail: Trail) -> Reservation | None:
        """Money for all that will run now. Jobs hold theirs by themselves, until they end."""
        now = [
            plan
            for plan in plans
            if plan.decision.inference_type is InferenceType.REALTIME and not plan.decision.deferred
        ]
        return self._realtime.hold_for(now, trail) if now else None


def _sum_up(parts: Sequence[Trail], trail: Trail) -> None:
    """Put the parts' costs and tokens on the call's trail; where they went differently, the last one's way."""
    last = parts[-1]
    settled = [part.settlement for part in parts if part.settlement is not None]
    charged = [part.charged for part in parts if part.charged is not None]
    trail.settlement = sum_of(settled) if settled else None
    trail.charged = sum(charged, Decimal(0)) if charged else None
    trail.usage = sum_of_usage([part.usage for part in parts])
    for name in ("estimated_cost", "estimated_avoided"):
        amounts = [getattr(part, name) for part in parts]
        setattr(trail, name, None if None in amounts else sum(amounts, Decimal(0)))
    for name in ("catalogue", "admitted", "inference_type", "resource", "route_reason", "variant", "own_parts"):
        setattr(trail, name, getattr(last, name))
    trail.job_id = next((part.job_id for part in parts if part.job_id), "")
    outcomes = {part.cache for part in parts}
    trail.cache = outcomes.pop() if len(outcomes) == 1 else "miss"
    remaining = [part.budget_remaining for part in parts if part.budget_remaining is not None]
    trail.budget_remaining = min(remaining, default=None)


def sum_of_usage(usages: Sequence[Usage]) -> Usage:
    """Tokens of all, None where one is not known."""
    read = [usage.input_tokens for usage in usages]
    made = [usage.output_tokens for usage in usages]
    return Usage(
        None if None in read else sum(filter(None, read)),
        None if None in made else sum(filter(None, made)),
    )
