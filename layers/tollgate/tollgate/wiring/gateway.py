"""What the gateway and its twin that streams need beside what runs requests."""

from __future__ import annotations

import os
import time
from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.adapters.dynamodb_idempotency import DynamoDBIdempotency
from tollgate.api.gateway_routes import GatewayApi, RoutesOnDemand
from tollgate.api.rendering import RateLimits
from tollgate.services.jobs.wait import JobWaiter
from tollgate.services.requests.idempotency import Idempotency
from tollgate.wiring.inference import ServingParts

if TYPE_CHECKING:
    from collections.abc import Callable


class GatewayParts(ServingParts):
    """The routes that run requests, and what they have in common."""

    @cached_property
    def idempotency(self) -> Idempotency:
        """Runs a request once for each idempotency key."""
        store = DynamoDBIdempotency(self.tables, self._settings.table_cache, self.objects)
        # Longer than Lambda lets the function run, so that a live request never loses its claim.
        return Idempotency(store, self.clock, lease_seconds=int(self.time_limit_seconds) + 6)

    @cached_property
    def waiter(self) -> JobWaiter:
        """Waits for jobs on behalf of callers who want their answer now."""
        return JobWaiter(jobs=self.jobs, objects=self.objects, clock=self.clock, pause=time.sleep)

    @cached_property
    def limits(self) -> RateLimits:
        """What answers say of rate limits."""
        return RateLimits(
            plan_rate=self._settings.plan_rate,
            plan_burst=self._settings.plan_burst,
            call_limit=self.admission.call_limit,
        )

    def gateway_api(
        self,
        *,
        openai: Callable[[], RoutesOnDemand],
        feedback: Callable[[], RoutesOnDemand],
        check_webhook: Callable[[str], object],
    ) -> GatewayApi:
        """The routes, with those that not every function or caller needs as given."""
        return GatewayApi(
            inference=self.inference,
            idempotency=self.idempotency,
            telemetry=self.telemetry,
            clock=self.clock,
            random_hex=lambda: os.urandom(24).hex(),
            check_webhook=check_webhook,
            openai=openai,
            waiter=self.waiter,
            feedback=feedback,
            limits=self.limits,
        )
