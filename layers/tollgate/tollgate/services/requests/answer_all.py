"""Several requests that arrive as one API call: each is planned and priced by itself, but none begins unless all may.

What all of them may cost is held in one write before the first runs, and settled after the last, so a budget that
cannot pay for all of them refuses the call before anything is spent. Where an instance serves several requests, their
model calls are made at the same time (`concurrent_calls`). Requests that become jobs each hold their own money. When
one request fails, the jobs of the others are called off, since nobody would ever see their answers, and model calls
that have not begun are never made. Imported only when a call has several requests.
"""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.settlement import sum_of
from tollgate.domain.errors import TollgateError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO
from tollgate.services.requests.concurrent_calls import ConcurrentCalls
from tollgate.services.requests.plan import Accepted
from tollgate.services.requests.trail import Cover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from tollgate.domain.budgets.ledger import Reservation
    from tollgate.domain.jobs.job import Job
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.plan import Completed, InferenceRequest, Plan
    from tollgate.services.requests.run_realtime import RealtimeRun
    from tollgate.services.requests.trail import Trail


class Part(NamedTuple):
    """What became of one of the requests, with a trail of its own."""

    result: Completed | Accepted
    trail: Trail


class AnswerAll:
    """Answers requests that share one caller's time.

    Args:
        plan: plans one request, noting on its trail what it finds.
        carry_out: answers a planned request, or accepts it as a job.
        call_off: ends a job unless it has begun, and says whether it did.
    """

    def __init__(
        self,
        *,
        plan: Callable[[InferenceRequest, Trail], Plan],
        carry_out: Callable[[Plan, Trail], Completed | Accepted],
        call_off: Callable[[Job], bool],
        admission: Admission,
        realtime: RealtimeRun,
    ) -> None:
        self._plan = plan
        self._carry_out = carry_out
        self._call_off = call_off
        self._admission = admission
        self._realtime = realtime

    def run(self, requests: Sequence[InferenceRequest], trail: Trail) -> Sequence[Part]:
        """Answer them, in their order; the trail gets the sum of their costs.

        Raises:
            TollgateError: the first request that cannot be answered. If it cannot be planned or paid for, nothing was
                run. Otherwise what was begun by then is charged, and jobs that have not begun are called off.
        """
        trails = [copy(trail) for _ in requests]
        for number, part in enumerate(trails):
            # Each may become a job, and they must not be taken for the same.
            part.once = trail.once and f"{trail.once[:-3]}{number:03x}"
        # A request that nobody can serve is found before any other is run.
        plans = [self._planned(request, part, trail) for request, part in zip(requests, trails, strict=True)]
        held = self._held(plans, trail)
        for part in trails:
            part.cover = None if held is None else Cover()
        done: list[Part] = []
        ran, own_parts, status = trails, trail.own_parts, "failed"
        calls = ConcurrentCalls(self._realtime, plans, trails)
        try:
            calls.begin()
            for plan, part in zip(plans, trails, strict=True):
                # The gateway's own time and writes are counted once.
                part.own_parts, part.reservation = own_parts, None if done else held
                done.append(Part(self._carry_out(plan, part), part))
                own_parts = part.own_parts
            status = "completed"
        finally:
            if status == "failed":
                self._withdraw(done)
                failed = trails[len(done)]
                begun = self._begun(plans, trails, failed.own_parts)
                # The call ends as the one that failed.
                ran = [*trails[: len(done)], *(part for part in begun if part is not failed), failed]
            calls.close()
            _sum_up(ran, trail)
            if held is not None:
                spent = sum((part.cover.spent for part in trails if part.cover is not None), ZERO)
                self._admission.settle(held, spent, status)
                # Of the same owner and model, they all have the same budgets.
                admitted = plans[0].admitted
                trail.budget_remaining = None if admitted is None else self._admission.remaining(admitted)
        return done

    def _begun(self, plans: Sequence[Plan], trails: Sequence[Trail], own_parts: Decimal) -> Sequence[Trail]:
        """Wait for calls that had begun when an earlier one failed: nobody sees the answers, but they are charged."""
        both = zip(plans, trails, strict=True)
        begun = [(plan, part) for plan, part in both if part.under_way is not None and not part.under_way.call_off()]
        for plan, part in begun:
            part.own_parts = own_parts
            with suppress(TollgateError):
                self._realtime.run(plan, part)
            own_parts = part.own_parts
        return [part for _, part in begun]

    def _withdraw(self, done: Sequence[Part]) -> None:
        for result, part in done:
            if isinstance(result, Accepted) and self._call_off(result.job):
                part.job_id, part.estimated_cost, part.estimated_avoided = "", ZERO, ZERO

    def _planned(self, request: InferenceRequest, part: Trail, trail: Trail) -> Plan:
        try:
            return self._plan(request, part)
        except TollgateError:
            _sum_up([part], trail)
            raise

    def _held(self, plans: Sequence[Plan], trail: Trail) -> Reservation | None:
        """Hold money for all that will run now. Jobs hold their own until they end."""
        now = [
            plan
            for plan in plans
            if plan.decision.inference_type is InferenceType.REALTIME and not plan.decision.deferred
        ]
        return self._realtime.hold_for(now, trail) if now else None


def _sum_up(parts: Sequence[Trail], trail: Trail) -> None:
    """Put the sums of the parts' costs and tokens on the call's trail; what cannot be summed is the last part's."""
    last = parts[-1]
    settled = [part.settlement for part in parts if part.settlement is not None]
    charged = [part.charged for part in parts if part.charged is not None]
    trail.settlement = sum_of(settled) if settled else None
    trail.charged = sum(charged, ZERO) if charged else None
    trail.usage = sum_of_usage([part.usage for part in parts])
    for name in ("estimated_cost", "estimated_avoided"):
        amounts = [getattr(part, name) for part in parts]
        setattr(trail, name, None if None in amounts else sum(amounts, ZERO))
    for name in ("catalogue", "admitted", "inference_type", "resource", "route_reason", "variant", "own_parts"):
        setattr(trail, name, getattr(last, name))
    trail.job_id = next((part.job_id for part in parts if part.job_id), "")
    outcomes = {part.cache for part in parts}
    trail.cache = outcomes.pop() if len(outcomes) == 1 else "miss"
    remaining = [part.budget_remaining for part in parts if part.budget_remaining is not None]
    trail.budget_remaining = min(remaining, default=None)


def sum_of_usage(usages: Sequence[Usage]) -> Usage:
    """Tokens of all requests: input and output are None if one is unknown; of the details, what is known is summed."""
    read, made, cached, thought = zip(*usages, strict=True)
    return Usage(
        None if None in read else sum(filter(None, read)),
        None if None in made else sum(filter(None, made)),
        _told(cached),
        _told(thought),
    )


def _told(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
