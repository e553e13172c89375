"""Models that a multi-model endpoint reads from S3 when a request names them with `TargetModel`.

An archive below the endpoint's model prefix is a `.tar.gz` with a `model.json` that names the container which answers
for it: `{"image": "tollgate/langid"}`. It is read once; what was read stays loaded, as on AWS.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoints.html
"""

import asyncio
import io
import json
import tarfile
from typing import Any

from local.sagemaker.aws import FAILED, Aws, Location, is_transient
from local.sagemaker.models import container_for
from local.sagemaker.models.base import Container, ContainerError
from local.sagemaker.wire import ServiceError, validation_error

_MEMBER = "model.json"


class Artefacts:
    """Archives, loaded.

    Args:
        aws: whose S3 holds them.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._loaded: dict[str, Container] = {}

    async def container(self, prefix: str, target_model: str) -> Container:
        """The container of an archive.

        Args:
            prefix: `ModelDataUrl` of the multi-model endpoint's model.
            target_model: key of the archive below it.

        Raises:
            ServiceError: there is no such archive, or S3 does not answer.
            ContainerError: it holds no model that is known here.
        """
        place = Location.parse(prefix).under(target_model)
        if place.uri not in self._loaded:
            self._loaded[place.uri] = _read(await asyncio.to_thread(self._bytes, place), place)
        return self._loaded[place.uri]

    def _bytes(self, place: Location) -> bytes:
        try:
            return self._aws.read(place)
        except FAILED as error:
            if is_transient(error):
                raise ServiceError(503, "ServiceUnavailable", f"{place.uri} cannot be read now.") from error
            raise validation_error(
                f"Failed to download model data(bucket: {place.bucket}, key: {place.key}). "
                "Please ensure that there is an object located at the URL."
            ) from error


def _read(archive: bytes, place: Location) -> Container:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
            member = files.extractfile(_MEMBER)
            document: Any = json.loads(member.read()) if member is not None else None
        found = container_for(document["image"])
    except (tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise ContainerError(500, f"{place.uri} is no archive with a {_MEMBER} that names an image") from error
    if found is None:
        raise ContainerError(500, f"{place.uri} names an image that does not exist: {document['image']!r}")
    return found
