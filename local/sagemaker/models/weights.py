"""Where the model files are: inside packages whose own code is never run."""

from importlib.util import find_spec
from pathlib import Path

from local.sagemaker.models.base import ContainerError


def package_file(package: str, *parts: str) -> Path:
    """Return the path of a file that a package carries, without importing the package.

    Raises:
        ContainerError: 500, the package is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ContainerError(500, f"The package {package}, which carries the model, is not installed")
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)
