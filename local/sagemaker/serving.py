"""Running a model for a request: the gate, the time limit, the count of inferences."""

import asyncio
from collections.abc import AsyncGenerator

from local.sagemaker.counting import counted
from local.sagemaker.fleet import Target
from local.sagemaker.gate import SaturatedError
from local.sagemaker.models.base import Answer, Call
from local.sagemaker.store import Store
from local.sagemaker.wire import ServiceError


class Serving:
    """Passes calls to containers.

    Args:
        store: where inferences are counted.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def serve(self, target: Target, call: Call, *, road: str, inference_id: str, limit_seconds: float) -> Answer:
        """Wait for a place, then run the model; waiting counts towards the limit.

        Raises:
            ContainerError: the container answered with an error.
            TimeoutError: it did not answer in time.
            ServiceError: 503, too many wait already.
        """
        async with asyncio.timeout(limit_seconds):
            await enter(target)
            try:
                return await self.run(target, call, road=road, inference_id=inference_id)
            finally:
                target.gate.leave()

    async def run(self, target: Target, call: Call, *, road: str, inference_id: str) -> Answer:
        """Run the model; the caller holds a place.

        Raises:
            ContainerError: the container answered with an error.
        """
        with counted(self._store, target.endpoint, target.variant, road, inference_id, cut="timeout"):
            return await target.container.invoke(call)

    async def stream(self, target: Target, call: Call, *, inference_id: str) -> AsyncGenerator[bytes]:
        """Wait for a place, then yield the answer piece by piece.

        Raises:
            ContainerError: the container answered with an error, possibly after some pieces.
            ServiceError: 503, too many wait already.
        """
        await enter(target)
        try:
            with counted(self._store, target.endpoint, target.variant, "stream", inference_id, cut="abandoned"):
                async for piece in target.container.stream(call):
                    yield piece
        finally:
            target.gate.leave()


async def enter(target: Target) -> None:
    """Take a place before a variant.

    Raises:
        ServiceError: 503, too many wait already.
    """
    try:
        await target.gate.enter()
    except SaturatedError as error:
        raise ServiceError(503, "ServiceUnavailable", f"Endpoint {target.endpoint} is saturated. Try again.") from error
