"""Has stale answers made anew in the background: one order for each, sent as an event to the cache function.

Whoever finds a stale answer takes the key's lease and sends an order that names the lease. An order that comes twice,
or late, finds the lease gone and does nothing. If an order is lost, its lease ends and the next reader orders again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tollgate.domain.cache.control import CacheControl
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.catalogue import ModelKind, Priority
from tollgate.domain.errors import BackendError, InvalidRequestError, StorageError, TollgateError
from tollgate.domain.jobs.job import Owner
from tollgate.domain.json_values import json_text
from tollgate.domain.records import REFRESH_MARK
from tollgate.domain.roads.capabilities import Needs
from tollgate.services.requests.plan import InferenceRequest
from tollgate.services.requests.trail import Trail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.jobs import FunctionEvents
    from tollgate.ports.objects import WholeObjectStore
    from tollgate.ports.system import Clock, Telemetry
    from tollgate.services.cache.cached_run import CachedRun
    from tollgate.services.requests.answer_request import InferenceService

INLINE_BYTES = 100_000
"""Larger orders go to the bucket; an event holds at most 256 KB where the quota was never raised.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_PREFIX = "cache/refresh/"


class RefreshOrders:
    """Sends orders."""

    def __init__(self, events: FunctionEvents, objects: WholeObjectStore) -> None:
        self._events = events
        self._objects = objects

    def order(self, run: CachedRun, ticket: CacheTicket, against: Mapping[str, Any] | None = None) -> None:
        """Order that the request is run again, under the ticket's lease.

        Args:
            run: the request.
            ticket: of its key.
            against: the near match that was served instead, to compare the new answer with; see `near_upkeep`.

        Raises:
            StorageError: it could not be ordered.
        """
        document = {"kind": "refresh", "ticket": ticket._asdict(), **_document(run)}
        if against is not None:
            document["against"] = dict(against)
        text = json_text(document).encode()
        if len(text) > INLINE_BYTES:
            key = f"{_PREFIX}{ticket.key}-{ticket.fence}.json"
            self._objects.put(key, text)
            document = {"kind": "refresh", "stored": key}
        self._events.send(document)

    def file(self, run: CachedRun, order: Mapping[str, Any]) -> None:
        """Order that an answer's prompt is filed; see `NearUpkeep.file`.

        Raises:
            StorageError: it could not be ordered.
        """
        self._events.send({**order, "traceparent": run.trail.traceparent})


def _document(run: CachedRun) -> dict[str, Any]:
    request, owner = run.request, run.trail.owner
    needs = request.needs
    return {
        "request_id": run.trail.request_id,
        "traceparent": run.trail.traceparent,
        "owner": {"tenant": owner.tenant, "key_id": owner.key_id, "team": owner.team, "scopes": sorted(owner.scopes)},
        "model": request.model,
        "input": request.input,
        "parameters": dict(request.parameters),
        "needs": None if needs is None else {"kind": needs.kind.value, "parameters": dict(needs.parameters)},
        "cache": {
            "ttl_seconds": run.control.ttl_seconds,
            "namespace": run.control.namespace,
            "always": run.control.always,
        },
    }


class AnswerRefresher:
    """Carries orders out, at the cost of the caller whose request found the answer stale.

    `compare` takes an order that names a near match, once the request has been run.
    """

    def __init__(
        self,
        *,
        inference: InferenceService,
        store: AnswerStore,
        objects: WholeObjectStore,
        telemetry: Telemetry,
        clock: Clock,
        compare: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._inference = inference
        self._store = store
        self._objects = objects
        self.telemetry = telemetry
        self._clock = clock
        self._compare = compare

    def carry_out(self, order: Mapping[str, Any]) -> None:
        """Run the ordered request and keep its answer; does nothing if the order is out of date.

        A failed run is not repeated: the stale answer is still there, and its next reader orders again.

        Raises:
            InvalidRequestError: it is no valid order; after the retries it becomes a dead letter with this reason.
            StorageError: before anything was run; try again.
        """
        if "stored" in order:
            body = self._objects.get(order["stored"])
            if body is None:
                return
            order = json.loads(body)
        ticket, trail, request = self._read(order)
        if self._run(ticket, trail, request) and "against" in order:
            try:
                self._compare(order)
            except StorageError:
                # It was run and paid for; running it again only to count it would cost twice.
                self.telemetry.count("CacheNearDown")

    def _run(self, ticket: CacheTicket, trail: Trail, request: InferenceRequest) -> bool:
        """Whether it was run and answered."""
        outcome, code = "completed", ""
        try:
            if not self._inference.refresh(request, trail, ticket):
                return False
        except TollgateError as error:
            if isinstance(error, StorageError) and trail.settlement is None:
                raise
            ran = isinstance(error, BackendError | StorageError)
            outcome, code = "failed" if ran else "rejected", type(error).__name__
            with suppress(StorageError):  # The lease ends by itself; what was run must be recorded, and not run again.
                self._store.release(ticket)
        record = trail.record(outcome=outcome, status=0, ended=self._clock.monotonic(), error_code=code)
        # A refresh is no request of the caller whose request found the answer stale, but its cost is that caller's.
        # One API call may find several answers stale.
        name = f"{record.request_id}.{ticket.key[:16]}.{ticket.fence}{REFRESH_MARK}"
        self.telemetry.request(record._replace(request_id=name))
        return outcome == "completed"

    def _read(self, order: Mapping[str, Any]) -> tuple[CacheTicket, Trail, InferenceRequest]:
        try:
            trail = Trail(
                request_id=order["request_id"],
                owner=Owner(**{**order["owner"], "scopes": frozenset(order["owner"]["scopes"])}),
                started=self._clock.monotonic(),
                traceparent=order["traceparent"],
            )
            return CacheTicket(**order["ticket"]), trail, _request(order)
        except (KeyError, TypeError, ValueError) as error:
            self.telemetry.log("ERROR", "order not understood", problem=f"{type(error).__name__}: {error}")
            raise InvalidRequestError(f"No order to make an answer anew: {type(error).__name__} {error}.") from error


def _request(order: Mapping[str, Any]) -> InferenceRequest:
    needs = order["needs"]
    return InferenceRequest(
        model=order["model"],
        input=order["input"],
        priority=Priority.HIGH,
        parameters=order["parameters"],
        needs=None if needs is None else Needs(ModelKind(needs["kind"]), needs["parameters"]),
        cache=CacheControl(**order["cache"]),
    )
