"""The local models by the names of their SageMaker Models: what a provider paid by the token has."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager

from local.sagemaker.counting import counted
from local.sagemaker.models import container_for
from local.sagemaker.models.base import Answer, Call, Container
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

    def _counted(self, model: str, road: str) -> AbstractContextManager[None]:
        return counted(self._store, model, "", road, str(uuid.uuid4()), cut="abandoned")
