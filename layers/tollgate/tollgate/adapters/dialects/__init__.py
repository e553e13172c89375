"""How model containers want to be spoken to, one file each."""

from collections.abc import Mapping
from functools import cache

from tollgate.adapters.dialects.inputs import InputsDialect
from tollgate.adapters.dialects.messages import MessagesDialect
from tollgate.adapters.dialects.openai import OpenAIDialect
from tollgate.adapters.dialects.tgi import TgiDialect
from tollgate.domain.catalogue import Deployment
from tollgate.domain.errors import CatalogueError
from tollgate.ports.dialects import Dialect

_BY_NAME: Mapping[str, Dialect] = {
    d.name: d for d in (InputsDialect(), MessagesDialect(), OpenAIDialect(), TgiDialect())
}


@cache
def _rare(name: str) -> Dialect | None:
    # Few deployments speak it, and every cold start would pay for the import.
    from tollgate.adapters.dialects.sagemaker_openai import SageMakerOpenAIDialect  # noqa: PLC0415 -- see above

    rare = SageMakerOpenAIDialect()
    return rare if name == rare.name else None


class ContainerDialects:
    """All dialects by the name that the catalogue uses."""

    def of(self, deployment: Deployment) -> Dialect:
        """The dialect of a deployment.

        Raises:
            CatalogueError: the catalogue names one that this version does not know.
        """
        found = _BY_NAME.get(deployment.dialect) or _rare(deployment.dialect)
        if found is None:
            raise CatalogueError(f"Deployment '{deployment.resource}' has the unknown dialect '{deployment.dialect}'.")
        return found
