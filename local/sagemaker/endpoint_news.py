"""Endpoint state changes, told to EventBridge in the order they happened, as well as may be."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from local.sagemaker.aws import FAILED
from local.sagemaker.bus import ENDPOINT_CHANGE, EventBus
from local.sagemaker.faults import Faults
from local.sagemaker.fleet import Fleet
from local.sagemaker.notices import endpoint_detail
from local.sagemaker.store import Store

if TYPE_CHECKING:
    from local.sagemaker.wire import Json

_log = logging.getLogger(__name__)


class EndpointNews:
    """Sends one event for each change of an endpoint's status.

    Unlike a transform job's, these events are not kept for later when the bus is away: whoever waits for an endpoint
    asks DescribeEndpoint too, on AWS as here.

    Args:
        fleet: whose changes are told.
        store: the endpoints' tags.
        bus: where they are told.
        faults: failures to inject (`eventbridge`, by the endpoint's name).
    """

    def __init__(self, fleet: Fleet, store: Store, bus: EventBus, faults: Faults) -> None:
        self._fleet = fleet
        self._store = store
        self._bus = bus
        self._faults = faults
        self._waiting: asyncio.Queue[Json] = asyncio.Queue()
        fleet.on_status(self._note)

    def _note(self, name: str) -> None:
        described = self._fleet.describe(name)
        tags = (self._store.get("tags", described["EndpointArn"]) or {}).get("tags", {})
        self._waiting.put_nowait(endpoint_detail(described, dict(tags)))

    async def work(self) -> None:
        """Run for ever."""
        while True:
            detail = await self._waiting.get()
            arn, copies = detail["EndpointArn"], 1
            if self._faults.take("eventbridge", detail["EndpointName"], "drop"):
                copies = 0
            elif self._faults.take("eventbridge", detail["EndpointName"], "duplicate"):
                copies = 2
            try:
                for _ in range(copies):
                    await asyncio.to_thread(self._bus.send, ENDPOINT_CHANGE, detail, arn, time.time())
            except FAILED as error:
                _log.info("nobody was told that %s is %s: %s", arn, detail["EndpointStatus"], error)
