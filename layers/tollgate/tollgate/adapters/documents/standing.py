"""A standing as a JSON document, for the record of what was taken down, and back. Nothing is lost on the way."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tollgate.domain.places.standing import (
    Place,
    ScalingPolicy,
    ScalingTarget,
    Standing,
    StandStatus,
    VariantStanding,
)


def standing_document(standing: Standing) -> dict[str, Any]:
    """The document of a standing."""
    document = asdict(standing)
    return document | {"place": standing.place.key, "status": standing.status.value}


def standing_from(document: Mapping[str, Any]) -> Standing:
    """The standing of a document that `standing_document` made.

    Raises:
        KeyError, ValueError, TypeError: it is another kind of document.
    """
    return Standing(
        place=Place.from_key(document["place"]),
        status=StandStatus(document["status"]),
        configuration=document["configuration"],
        variants=tuple(VariantStanding(**variant) for variant in document["variants"]),
        scaling=tuple(_target(target) for target in document["scaling"]),
        tags=tuple((key, value) for key, value in document["tags"]),
        jobs=tuple(document["jobs"]),
        problem=document["problem"],
    )


def _target(document: Mapping[str, Any]) -> ScalingTarget:
    first, second, third = document["suspended"]
    policies = tuple(ScalingPolicy(**policy) for policy in document["policies"])
    return ScalingTarget(**{**document, "suspended": (first, second, third), "policies": policies})
