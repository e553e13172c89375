"""What the gateway and the function that streams need besides what runs requests."""

from __future__ import annotations

import os
import time
from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.adapters.dynamodb.cache.idempotency import DynamoDBIdempotency
from tollgate.api.gateway_routes import GatewayApi, RoutesOnDemand
from tollgate.api.rendering import RateLimits
from tollgate.services.jobs.wait import JobWaiter
from tollgate.services.requests.idempotency import Idempotency
from tollgate.wiring.inference import ServingParts

if TYPE_CHECKING:
    from collections.abc import Callable


class GatewayParts(ServingParts):
    """The routes that run requests, and what these share."""

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
        """The routes; those that not every function or caller needs are given.

        Args:
            openai: OpenAI's routes, made when the first call for them comes.
            feedback: the route of feedback, likewise.
            check_webhook: raises `InvalidRequestError` for a URL that may not be called.
        """
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
