"""The model containers, by the name of their image."""

from functools import cache

from local.sagemaker.models.base import Container
from local.sagemaker.models.echo import Echo
from local.sagemaker.models.langid import LanguageId
from local.sagemaker.models.minilm import MiniLM
from local.sagemaker.models.smollm2 import SmolLM2

_IMAGES: dict[str, type[Container]] = {
    "echo": Echo,
    "langid": LanguageId,
    "minilm": MiniLM,
    "smollm2": SmolLM2,
}


def container_for(image: str) -> Container | None:
    """Return the container of an image such as `tollgate/echo:1`; None when it is unknown."""
    repository, _, name = image.partition("@")[0].rpartition("/")
    name = name.partition(":")[0]
    if not (repository == "tollgate" or repository.endswith("/tollgate")) or name not in _IMAGES:
        return None
    return _shared(name)


@cache
def _shared(name: str) -> Container:
    # One object per process: the weights are read once, whatever number of endpoints uses them.
    return _IMAGES[name]()
