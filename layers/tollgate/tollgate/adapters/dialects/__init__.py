"""How model containers want to be spoken to, one file each."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from tollgate.adapters.dialects.inputs import InputsDialect
from tollgate.adapters.dialects.messages import MessagesDialect
from tollgate.adapters.dialects.openai import OpenAIDialect
from tollgate.adapters.dialects.tgi import TgiDialect
from tollgate.domain.catalogue import Deployment
from tollgate.domain.errors import CatalogueError
from tollgate.ports.dialects import Dialect

if TYPE_CHECKING:
    from tollgate.domain.providers.backend import TokenBackend

_BY_NAME: Mapping[str, Dialect] = {
    d.name: d for d in (InputsDialect(), MessagesDialect(), OpenAIDialect(), TgiDialect())
}


@cache
def _rare(name: str) -> Dialect | None:
    # Few deployments speak it, and every cold start would pay for the import.
    from tollgate.adapters.dialects.sagemaker_openai import SageMakerOpenAIDialect  # noqa: PLC0415 -- see above

    rare = SageMakerOpenAIDialect()
    return rare if name == rare.name else None


@lru_cache(maxsize=64)
def _bounded(backend: "TokenBackend", name: str) -> Dialect:
    # As above.
    from tollgate.adapters.dialects.token_priced import TokenPricedDialect  # noqa: PLC0415 -- see above

    if name == "converse":
        from tollgate.adapters.dialects.converse import ConverseDialect  # noqa: PLC0415 -- see above

        return TokenPricedDialect(backend, ConverseDialect())
    return TokenPricedDialect(backend, _BY_NAME[name])


class ContainerDialects:
    """All dialects by the name that the catalogue uses."""

    def of(self, deployment: Deployment) -> Dialect:
        """The dialect of a deployment.

        Raises:
            CatalogueError: the catalogue names one that this version does not know.
        """
        if deployment.tokens is not None:
            return _bounded(deployment.tokens, deployment.dialect)
        found = _BY_NAME.get(deployment.dialect) or _rare(deployment.dialect)
        if found is None:
            raise CatalogueError(f"Deployment '{deployment.resource}' has the unknown dialect '{deployment.dialect}'.")
        return found
