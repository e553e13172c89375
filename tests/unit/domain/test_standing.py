"""What stands behind a road, and how many instances of it are wanted."""

from copy import replace

import pytest

from tollgate.domain.catalogue import InferenceType, Road
from tollgate.domain.places.standing import (
    Place,
    PlaceKind,
    ScalingTarget,
    Standing,
    StandStatus,
    VariantStanding,
    place_of,
)

PLACE = Place(PlaceKind.ASYNC, "e")
TWO = Standing(PLACE, StandStatus.UP, variants=(VariantStanding("a", 1, 2, 0.7), VariantStanding("b", 1, 1, 0.3)))
NOTHING = Standing(PLACE, StandStatus.ABSENT)


@pytest.mark.parametrize(
    ("inference_type", "component", "place"),
    [
        (InferenceType.REALTIME, None, Place(PlaceKind.REALTIME, "target")),
        (InferenceType.REALTIME, "part", Place(PlaceKind.COMPONENT, "part")),
        (InferenceType.ASYNC, None, Place(PlaceKind.ASYNC, "target")),
        (InferenceType.BATCH, None, Place(PlaceKind.BATCH, "target")),
    ],
)
def test_what_serves_a_road(inference_type: InferenceType, component: str | None, place: Place) -> None:
    """A component is a place of its own on its endpoint; its key leads back to it."""
    road = Road(inference_type, "target", "ml.m5.large", None, inference_component=component)
    assert place_of(road) == place
    assert Place.from_key(place.key) == place


def _wanted(standing: Standing) -> list[int]:
    return [variant.desired for variant in standing.variants]


def test_at_least_so_many() -> None:
    """The first variant grows, the others stay; what has enough, or has nothing to grow, stays as it is."""
    assert _wanted(TWO.wanting(5)) == [4, 1]
    assert TWO.wanting(5).variants[0] == replace(TWO.variants[0], desired=4)
    assert TWO.wanting(3) == TWO.wanting(1) == TWO
    assert NOTHING.wanting(5) == NOTHING


def test_exactly_so_many() -> None:
    """The first variant makes up the difference, and keeps one instance."""
    assert [_wanted(TWO.with_instances(n)) for n in (1, 2, 3, 5)] == [[1, 1], [1, 1], [2, 1], [4, 1]]
    assert NOTHING.with_instances(2) == NOTHING


def test_scaling_is_suspended_and_comes_back_as_it_was() -> None:
    """A schedule goes on; a target that was not there before stays as it is."""
    plain, half = (ScalingTarget(name, "d", 0, 4, (False, name == "half", True)) for name in ("plain", "half"))
    before = replace(TWO, scaling=(plain, half))
    steered = before.steered()
    assert [target.suspended for target in steered.scaling] == [(True, True, True)] * 2
    assert steered.suspended_as(before) == before
    assert steered.suspended_as(TWO) == steered
    scheduled = replace(TWO, scaling=(replace(plain, suspended=(False, False, False)),))
    assert scheduled.steered().scaling[0].suspended == (True, True, False)
