"""The local models by the names of their SageMaker Models: what a provider paid by the token has."""

import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from local.sagemaker.models import container_for
from local.sagemaker.models.base import Answer, Call, Container, ContainerError
from local.sagemaker.store import Store


class HostedModels:
    """Runs them and counts what they did, in the same list as the endpoints'.

    Args:
        store: has the models.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def container(self, model: str) -> Container | None:
        """What runs a model; None for an unknown one."""
        document = self._store.get("model", model) or {}
        image = document.get("PrimaryContainer", {}).get("Image")
        return container_for(image) if image else None

    async def run(self, model: str, container: Container, call: Call, *, road: str) -> Answer:
        """The whole answer.

        Raises:
            ContainerError: the model failed.
        """
        with self._counted(model, road):
            return await container.invoke(call)

    async def stream(self, model: str, container: Container, call: Call, *, road: str) -> AsyncGenerator[bytes]:
        """The answer piece by piece. Raises as `run`, possibly after some pieces."""
        with self._counted(model, road):
            async for piece in container.stream(call):
                yield piece

    @contextmanager
    def _counted(self, model: str, road: str) -> Iterator[None]:
        seq = self._store.begin_inference(time.time(), model, "", road, str(uuid.uuid4()))
        outcome = "abandoned"
        try:
            yield
            outcome = "ok"
        except ContainerError as error:
            outcome = str(error.status)
            raise
        finally:
            self._store.end_inference(time.time(), seq, outcome)
